//! POSIX and flock locks, offered only when a layer keeps them (see [`super::options::Offers`]).
//!
//! Both kinds come as byte ranges: the kernel gives a flock the whole file and an owner of its own.

use kiln_uring::Errno;

use super::door::Door;
use super::wire::FileLock;
use crate::error::FopResult;
use crate::fd::FdRef;
use crate::fop::{Fop, request};
use crate::types::{Flock, LkCmd, LockOwner, LockType, Xdata};

/// The kernel's last byte of a lock that reaches to the end of the file.
const END_OF_FILE: u64 = i64::MAX as u64;

/// Numbers of Linux's `l_type`.
const KINDS: [(u32, LockType); 3] = [(0, LockType::Read), (1, LockType::Write), (2, LockType::Unlock)];

/// For a fop.
fn to_flock(range: FileLock, owner: LockOwner) -> Result<Flock, Errno> {
    let kind = KINDS.iter().find(|(number, _)| *number == range.kind).ok_or(Errno::INVAL)?.1;
    let start = i64::try_from(range.start).map_err(|_| Errno::INVAL)?;
    let len = match range.end {
        END_OF_FILE.. => 0,
        end => {
            let len = end.checked_sub(range.start).ok_or(Errno::INVAL)? + 1;
            i64::try_from(len).map_err(|_| Errno::OVERFLOW)?
        }
    };
    Ok(Flock { kind, start, len, pid: i32::try_from(range.pid).unwrap_or(0), owner })
}

/// From a fop's reply.
pub(super) fn from_flock(flock: &Flock) -> FileLock {
    let start = u64::try_from(flock.start).unwrap_or(0);
    let end = match u64::try_from(flock.len) {
        Ok(0) | Err(_) => END_OF_FILE,
        Ok(len) => start.saturating_add(len - 1).min(END_OF_FILE),
    };
    let kind = KINDS.iter().find(|(_, kind)| *kind == flock.kind).map_or(2, |(number, _)| *number);
    FileLock { start, end, kind, pid: u32::try_from(flock.pid).unwrap_or(0) }
}

/// Asks or sets.
pub(super) async fn lock(door: &Door, fd: FdRef, cmd: LkCmd, range: FileLock) -> FopResult<Flock> {
    let flock = to_flock(range, door.caller().lock_owner.clone())?;
    let call = door.begin(Fop::Lk, fd.gfid());
    Ok(door.top().lk(&call, request::Lk { fd, cmd, flock, xdata: Xdata::NONE }).await?.flock)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(start: u64, end: u64) -> (i64, i64, FileLock) {
        let range = FileLock { start, end, kind: 1, pid: 9 };
        let flock = to_flock(range, LockOwner::default()).unwrap();
        (flock.start, flock.len, from_flock(&flock))
    }

    #[test]
    fn ranges_map_both_ways() {
        for (start, end, len) in
            [(0, 0, 1), (5, 9, 5), (0, END_OF_FILE, 0), (7, END_OF_FILE, 0), (0, END_OF_FILE - 1, i64::MAX)]
        {
            let (first, count, back) = round(start, end);
            assert_eq!((first, count), (start as i64, len));
            assert_eq!((back.start, back.end, back.kind, back.pid), (start, end, 1, 9));
        }
    }

    #[test]
    fn weird_ranges_are_refused() {
        let refused = |start, end, kind| {
            to_flock(FileLock { start, end, kind, pid: 0 }, LockOwner::default()).unwrap_err()
        };
        assert_eq!(refused(9, 5, 0), Errno::INVAL);
        assert_eq!(refused(u64::MAX, u64::MAX, 0), Errno::INVAL);
        assert_eq!(refused(0, 1, 77), Errno::INVAL);
    }
}
