//! Replies, as far as a load looks at them.

use kiln_xlators::protocol::rpc::programs::fops::{
    AttrRsp, ChangedRsp, CommonRsp, CreateRsp, DictRsp, MadeRsp, OpenRsp, ReadRsp, RenameRsp,
};
use kiln_xlators::protocol::xdr::{DirEntryPlus, Reader, Wire, XdrError};
use kiln_xlators::types::{Gfid, Iatt, Xdata};

use crate::load::blocks::{self, Stamp, Verdict};

/// What kind of reply a call gets, and what is to be checked in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Expect {
    /// Only how it went: FLUSH, RELEASE, SETXATTR.
    Common,
    /// Attributes before and after: WRITE, FSYNC, UNLINK, RMDIR; LOOKUP, whose first are those of the object.
    Changed,
    /// STAT, FSTAT.
    Attributes,
    /// MKDIR.
    Made,
    /// CREATE.
    Created,
    /// OPEN, OPENDIR.
    Opened,
    /// RENAME.
    Renamed,
    /// READ, whose bytes are checked against the stamp.
    Data(Option<Stamp>),
    /// READDIRP.
    Entries,
    /// GETXATTR.
    Xattrs,
}

/// What a reply says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Answer {
    /// What the fop returned: a number of bytes or entries, or -1.
    pub ret: i32,
    /// The errno, with some successes too.
    pub errno: i32,
    /// The object that was found or made.
    pub gfid: Gfid,
    /// Its size.
    pub size: u64,
    /// The descriptor that was opened.
    pub fd: i64,
    /// Where a listing goes on.
    pub next: u64,
    /// What came of the check of the data.
    pub verdict: Verdict,
}

impl Answer {
    fn of(ret: i32, errno: i32) -> Self {
        Self { ret, errno, ..Self::default() }
    }

    fn object(ret: i32, errno: i32, stat: &Iatt) -> Self {
        Self { gfid: stat.gfid, size: stat.size, ..Self::of(ret, errno) }
    }

    /// Reads the body of a reply.
    ///
    /// # Errors
    /// When it is not of the form that is expected.
    pub fn read(expect: Expect, body: &[u8]) -> Result<Self, XdrError> {
        let from = &mut Reader::new(body);
        Ok(match expect {
            Expect::Common => {
                let rsp = CommonRsp::get(from)?;
                Self::of(rsp.op_ret, rsp.op_errno)
            }
            Expect::Changed => {
                let rsp = ChangedRsp::get(from)?;
                Self::object(rsp.op_ret, rsp.op_errno, &rsp.prestat)
            }
            Expect::Attributes => {
                let rsp = AttrRsp::get(from)?;
                Self::object(rsp.op_ret, rsp.op_errno, &rsp.stat)
            }
            Expect::Made => {
                let rsp = MadeRsp::get(from)?;
                Self::object(rsp.op_ret, rsp.op_errno, &rsp.stat)
            }
            Expect::Created => {
                let rsp = CreateRsp::get(from)?;
                Self { fd: rsp.fd.cast_signed(), ..Self::object(rsp.op_ret, rsp.op_errno, &rsp.stat) }
            }
            Expect::Opened => {
                let rsp = OpenRsp::get(from)?;
                Self { fd: rsp.fd, ..Self::of(rsp.op_ret, rsp.op_errno) }
            }
            Expect::Renamed => {
                let rsp = RenameRsp::get(from)?;
                Self::object(rsp.op_ret, rsp.op_errno, &rsp.stat)
            }
            Expect::Data(stamp) => {
                let rsp = ReadRsp::get(from)?;
                let mut this = Self::of(rsp.op_ret, rsp.op_errno);
                if let Ok(len) = usize::try_from(rsp.op_ret) {
                    let data = from.take(len)?;
                    this.verdict = stamp.map_or(Verdict::Unchecked, |stamp| blocks::check(data, &stamp));
                }
                this
            }
            Expect::Entries => Self::entries(from)?,
            Expect::Xattrs => {
                let rsp = DictRsp::get(from)?;
                Self::of(rsp.op_ret, rsp.op_errno)
            }
        })
    }

    /// A listing, entry by entry: nothing is gathered.
    fn entries(from: &mut Reader<'_>) -> Result<Self, XdrError> {
        let mut this = Self::of(i32::get(from)?, i32::get(from)?);
        let _ = <Xdata as Wire>::get(from)?;
        while from.more()? {
            let entry = DirEntryPlus::get(from)?;
            this.next = entry.offset;
            this.size += u64::from(!matches!(entry.name, b"." | b".."));
        }
        Ok(this)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln_xlators::protocol::xdr::to_vec;
    use kiln_xlators::types::IaType;

    #[test]
    fn replies_are_read_as_servers_write_them() {
        let stat = Iatt { gfid: Gfid::ROOT, kind: IaType::Directory, size: 9, ..Iatt::default() };
        let found = ChangedRsp { prestat: stat, ..ChangedRsp::default() };
        let answer = Answer::read(Expect::Changed, &to_vec(&found)).unwrap();
        assert_eq!((answer.gfid, answer.size), (Gfid::ROOT, 9));

        let mut read = to_vec(&ReadRsp { op_ret: 5, size: 5, ..ReadRsp::default() });
        assert!(Answer::read(Expect::Data(None), &read).is_err());
        read.extend(b"hello");
        assert_eq!(Answer::read(Expect::Data(None), &read).unwrap().ret, 5);

        let entry = |name: &'static [u8], offset| DirEntryPlus { name, offset, ..DirEntryPlus::default() };
        let entries = vec![entry(b".", 1), entry(b"..", 2), entry(b"a", 3), entry(b"b", 7)];
        let listed = kiln_xlators::protocol::rpc::programs::fops::ReaddirpRsp {
            op_ret: 4,
            op_errno: 2,
            entries,
            ..Default::default()
        };
        let answer = Answer::read(Expect::Entries, &to_vec(&listed)).unwrap();
        assert_eq!((answer.ret, answer.errno, answer.size, answer.next), (4, 2, 2, 7));
    }
}
