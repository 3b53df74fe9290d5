//! Fops in a line: requests by their [`Describe`], replies by what matters of them.

use std::fmt::{self, Display, Formatter, Write};

use crate::errno;
use crate::error::FopError;
use crate::fop::reply;
use crate::fop::request::Describe;
use crate::types::{Dict, Iatt, Xdata};

/// The longest line, in bytes; extended attributes and file lists can be much longer.
const LONGEST: usize = 1024;

/// A reply in a few words.
pub(super) trait Summary {
    fn summary(&self, f: &mut Formatter<'_>) -> fmt::Result;
}

/// An object: who, what, whose.
struct Short<'a>(&'a Iatt);

impl Display for Short<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Iatt { gfid, kind, prot, uid, gid, size, nlink, .. } = self.0;
        write!(f, "{gfid} {kind:?} {prot:04o} {uid}:{gid} size {size} nlink {nlink}")
    }
}

/// The names in a dictionary.
struct Keys<'a>(&'a Dict);

impl Display for Keys<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(key, _)| key.to_string_lossy())).finish()
    }
}

macro_rules! summaries {
    ($($reply:ident($it:ident, $f:ident) $body:expr;)*) => {
        $(impl Summary for reply::$reply {
            fn summary(&self, $f: &mut Formatter<'_>) -> fmt::Result {
                let $it = self;
                $body?;
                xdata(&self.xdata, $f)
            }
        })*
    };
}

fn xdata(xdata: &Xdata, f: &mut Formatter<'_>) -> fmt::Result {
    xdata.dict().map_or(Ok(()), |dict| write!(f, " xdata {}", Keys(dict)))
}

summaries! {
    Attr(it, f) write!(f, "{}", Short(&it.iatt));
    Lookup(it, f) write!(f, "{}", Short(&it.iatt));
    Readlink(it, f) write!(f, "-> {:?}", String::from_utf8_lossy(&it.target));
    Made(it, f) write!(f, "{}", Short(&it.iatt));
    Removed(it, f) write!(f, "parent nlink {} -> {}", it.preparent.nlink, it.postparent.nlink);
    Renamed(it, f) write!(f, "{}", Short(&it.iatt));
    Changed(it, f) write!(f, "size {} -> {}, now {}", it.pre.size, it.post.size, Short(&it.post));
    Written(it, f) write!(f, "{} bytes, size {} -> {}", it.count, it.pre.size, it.post.size);
    Read(it, f) write!(f, "{} bytes{}", it.data.len(), if it.eof { ", end of file" } else { "" });
    Done(it, f) { let _ = it; f.write_str("ok") };
    Xattrs(it, f) write!(f, "{}", Keys(&it.dict));
    Entries(it, f) write!(f, "{} entries{}", it.entries.len(), if it.eof { ", the end" } else { "" });
    Statfs(it, f) write!(f, "{} of {} blocks free", it.statfs.bfree, it.statfs.blocks);
    Lk(it, f) write!(f, "{:?}", it.flock);
    Rchecksum(it, f) write!(f, "weak {:08x}", it.weak);
    Seek(it, f) write!(f, "offset {}", it.offset);
    Leased(it, f) write!(f, "{:?}", it.lease);
    ActiveLocks(it, f) write!(f, "{} locks", it.locks.len());
    Copied(it, f) write!(f, "{} bytes, size {} -> {}", it.count, it.pre.size, it.post.size);
}

/// A line under construction, which stops growing at [`LONGEST`].
struct Line {
    text: String,
    full: bool,
}

impl Write for Line {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        if self.full {
            return Ok(());
        }
        let room = LONGEST - self.text.len();
        if more.len() <= room {
            self.text.push_str(more);
        } else {
            let cut = (0..=room).rev().find(|at| more.is_char_boundary(*at)).unwrap_or(0);
            self.text.push_str(&more[..cut]);
            self.text.push('…');
            self.full = true;
        }
        Ok(())
    }
}

fn line(write: impl Fn(&mut Formatter<'_>) -> fmt::Result) -> String {
    struct By<F>(F);

    impl<F: Fn(&mut Formatter<'_>) -> fmt::Result> Display for By<F> {
        fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
            (self.0)(f)
        }
    }

    let mut line = Line { text: String::new(), full: false };
    // Writing to a line does not fail.
    let _ = write!(line, "{}", By(write));
    line.text
}

/// A request in a line.
pub(super) fn request<R: Describe>(req: &R) -> String {
    line(|f| req.describe(f))
}

/// An answer in a line.
pub(super) fn answer<R: Summary>(answer: &Result<R, FopError>) -> String {
    line(|f| match answer {
        Ok(reply) => reply.summary(f),
        Err(error) => f.write_str(&errno::label(error.errno)),
    })
}

#[cfg(test)]
mod tests {
    use kiln_uring::Errno;

    use super::*;
    use crate::fop::request::Setxattr;
    use crate::types::{Gfid, Loc, Value};

    #[test]
    fn lines_are_short() {
        let dict = Dict::from_iter([(c"user.name", Value::Str("ä".repeat(60_000)))]);
        let req = Setxattr { loc: Loc::object(Gfid::ROOT), dict, flags: 0, xdata: Xdata::NONE };
        let text = request(&req);
        assert!(text.len() <= LONGEST + '…'.len_utf8() && text.ends_with('…'), "{}", text.len());
        assert!(text.starts_with("setxattr"), "{text}");
    }

    #[test]
    fn answers_tell_what_matters() {
        let entries = reply::Entries { eof: true, ..reply::Entries::default() };
        assert_eq!(answer(&Ok(entries)), "0 entries, the end");
        assert_eq!(answer::<reply::Done>(&Err(Errno::NOENT.into())), "ENOENT");
        let xdata = Dict::from_iter([(c"trusted.x", Value::Int(1))]).into();
        assert_eq!(answer(&Ok(reply::Done { xdata })), "ok xdata [\"trusted.x\"]");
    }
}
