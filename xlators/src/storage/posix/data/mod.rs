//! Open files and their data.
//!
//! Every change is bracketed by the attributes before and after it; the client's times are read once, and moved in what was
//! read. A change that suspends in the middle reads them again, because others may have moved them meanwhile.

mod checksum;
mod copy;
pub mod fd;
pub mod looks;
mod open;
mod read;
#[cfg(test)]
mod ring_tests;
mod seek;
mod space;
mod sync;
#[cfg(test)]
pub(super) mod tests;
#[cfg(test)]
mod times_tests;
pub mod together;
mod write;

use std::sync::Arc;

use kiln_uring::sys::{SeekFrom, Stat, XattrTarget};
use kiln_uring::{Errno, File, SysResult};

use super::mdata::Role;
use super::{Attrs, Brick};
use crate::call::{Call, CallTimes};
use crate::fop::reply;
use crate::keys;
use crate::types::{Gfid, Xdata};

/// An open file that is about to change, and the clock to note it by.
#[derive(Clone, Debug)]
struct Site {
    gfid: Gfid,
    file: Arc<File>,
    times: CallTimes,
}

impl Site {
    fn target(&self) -> XattrTarget<'_> {
        XattrTarget::Fd(self.file.fd())
    }

    /// The attributes before.
    fn before(&self, brick: &Brick) -> SysResult<Attrs> {
        brick.attrs_of_fd(self.gfid, &self.file)
    }

    /// The attributes after, with the times moved; `pre` is from a moment ago.
    fn after(&self, brick: &Brick, pre: &Attrs) -> SysResult<Attrs> {
        brick.attrs_after(self.target(), pre, &self.times, Role::Own, || brick.sys.stat(self.file.fd()))
    }

    /// The same when others may have had the file meanwhile.
    fn after_pause(&self, brick: &Brick) -> SysResult<Attrs> {
        let now = brick.attrs_of_fd(self.gfid, &self.file)?;
        if self.times.flags.is_empty() { Ok(now) } else { self.after(brick, &now) }
    }

    /// One blocking change between both.
    fn change(
        &self,
        brick: &Brick,
        change: impl FnOnce(&Attrs) -> SysResult<()>,
    ) -> SysResult<reply::Changed> {
        let pre = self.before(brick)?;
        change(&pre)?;
        let post = self.after(brick, &pre)?;
        Ok(reply::Changed { pre: pre.iatt, post: post.iatt, xdata: Xdata::NONE })
    }
}

/// Whether data can be there at all. The ring takes the offset -1 for "where the descriptor stands", so no such number may
/// get so far.
///
/// # Errors
/// `EINVAL` for an offset beyond the largest file, `EFBIG` when only the end of the range is.
fn check_offset(offset: u64, len: u64) -> SysResult<()> {
    const LARGEST: u64 = i64::MAX as u64;
    match offset.checked_add(len) {
        Some(end) if end <= LARGEST => Ok(()),
        _ if offset <= LARGEST => Err(Errno::FBIG),
        _ => Err(Errno::INVAL),
    }
}

/// Whether the caller must leave the reserve alone, and it is reached.
fn is_short_of_space(brick: &Brick, call: &Call, xdata: &Xdata) -> bool {
    brick.check_space(call.caller(), xdata).is_err()
}

/// With the reserve reached, only what is there already may be written again.
///
/// # Errors
/// `ENOSPC` when the range goes beyond the end of the file, or has a hole.
fn check_allocated(brick: &Brick, file: &File, stat: &Stat, offset: u64, len: u64) -> SysResult<()> {
    let end = offset.checked_add(len).ok_or(Errno::FBIG)?;
    if end > stat.size {
        return Err(Errno::NOSPC);
    }
    match brick.sys.seek(file.fd(), SeekFrom::Hole(offset)) {
        Ok(hole) if hole < end => Err(Errno::NOSPC),
        // A file system that knows no holes has none.
        _ => Ok(()),
    }
}

/// Answers to the questions about open descriptors in `request`.
fn count_opens(brick: &Brick, gfid: Gfid, request: &Xdata, reply: &mut Xdata) {
    let keys = [keys::OPEN_FD_COUNT, keys::OPEN_ACTIVE_FD_COUNT];
    if !keys.iter().any(|key| request.contains(key)) {
        return;
    }
    let count = brick.opens.get(gfid);
    for (key, count) in keys.into_iter().zip([count.total, count.active]) {
        if request.contains(key) {
            reply.make().set(key, crate::types::Value::Uint(u64::from(count)));
        }
    }
}
