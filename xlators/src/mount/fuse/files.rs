//! Requests about open files.

use kiln_uring::{Buf, Errno};

use super::door::Door;
use super::open_files::Reserved;
use crate::error::FopResult;
use crate::fd::{Fd, FdRef};
use crate::fop::request::SeekWhat;
use crate::fop::{Fop, request};
use crate::types::{Iatt, Loc, Xdata};

/// Modes of fallocate(2).
pub(super) mod mode {
    pub(in super::super) const KEEP_SIZE: u32 = 0x01;
    pub(in super::super) const PUNCH_HOLE: u32 = 0x02;
    pub(in super::super) const ZERO_RANGE: u32 = 0x10;
}

/// `SEEK_DATA` and `SEEK_HOLE` of lseek(2).
const SEEK_DATA: u32 = 3;
const SEEK_HOLE: u32 = 4;

/// Most bytes of one copy: the reply counts in 32 bits.
const COPY_MAX: u64 = 1 << 30;

/// The answer is the kernel's handle.
pub(super) async fn open(door: &Door, loc: Loc, flags: u32) -> FopResult<u64> {
    let fd = Fd::file(loc.gfid, flags, door.caller().pid);
    let number = reserve(door, &fd)?;
    let call = door.begin(Fop::Open, loc.gfid);
    door.top().open(&call, request::Open { loc, flags, fd: FdRef::clone(&fd), xdata: Xdata::NONE }).await?;
    Ok(number.keep(&fd))
}

/// Makes and opens. The answer has the kernel's handle.
pub(super) async fn create(
    door: &Door,
    loc: Loc,
    flags: u32,
    mode: u32,
    umask: u32,
) -> FopResult<(Iatt, u64)> {
    let fd = Fd::file(loc.gfid, flags, door.caller().pid);
    let number = reserve(door, &fd)?;
    let call = door.begin(Fop::Create, loc.parent);
    let mode = mode & 0o7777;
    let req = request::Create { loc, flags, mode, umask, fd: FdRef::clone(&fd), xdata: door.gfid_request() };
    let made = door.top().create(&call, req).await?;
    fd.bind(made.iatt.gfid);
    Ok((made.iatt, number.keep(&fd)))
}

pub(super) async fn opendir(door: &Door, loc: Loc) -> FopResult<u64> {
    let fd = Fd::directory(loc.gfid, door.caller().pid);
    let number = reserve(door, &fd)?;
    let call = door.begin(Fop::Opendir, loc.gfid);
    door.top().opendir(&call, request::Opendir { loc, fd: FdRef::clone(&fd), xdata: Xdata::NONE }).await?;
    Ok(number.keep(&fd))
}

fn reserve<'a>(door: &'a Door, fd: &FdRef) -> FopResult<Reserved<'a>> {
    Ok(door.front().files.reserve(fd)?)
}

/// The last holder of a handle is gone.
pub(super) fn release(door: &Door, handle: u64) -> FopResult<()> {
    let fd = door.front().files.remove(handle).ok_or(Errno::BADF)?;
    door.graph.release(&fd);
    Ok(())
}

pub(super) async fn read(door: &Door, fd: FdRef, size: u32, offset: u64, flags: u32) -> FopResult<Buf> {
    let call = door.begin(Fop::Readv, fd.gfid());
    Ok(door.top().readv(&call, request::Readv { fd, size, offset, flags, xdata: Xdata::NONE }).await?.data)
}

pub(super) async fn write(door: &Door, fd: FdRef, data: Buf, offset: u64, flags: u32) -> FopResult<usize> {
    let call = door.begin(Fop::Writev, fd.gfid());
    let req = request::Writev { fd, data, offset, flags, xdata: Xdata::NONE };
    Ok(door.top().writev(&call, req).await?.count)
}

pub(super) async fn flush(door: &Door, fd: FdRef) -> FopResult<()> {
    let call = door.begin(Fop::Flush, fd.gfid());
    door.top().flush(&call, request::Flush { fd, xdata: Xdata::NONE }).await?;
    Ok(())
}

pub(super) async fn fsync(door: &Door, fd: FdRef, data_only: bool) -> FopResult<()> {
    let call = door.begin(Fop::Fsync, fd.gfid());
    door.top().fsync(&call, request::Fsync { fd, data_only, xdata: Xdata::NONE }).await?;
    Ok(())
}

pub(super) async fn fsyncdir(door: &Door, fd: FdRef, data_only: bool) -> FopResult<()> {
    let call = door.begin(Fop::Fsyncdir, fd.gfid());
    door.top().fsyncdir(&call, request::Fsyncdir { fd, data_only, xdata: Xdata::NONE }).await?;
    Ok(())
}

/// What fallocate(2) with a mode means as a fop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Space {
    Reserve { mode: u32 },
    Punch,
    Zero { keep_size: bool },
}

fn space(mode: u32) -> Option<Space> {
    const PUNCH: u32 = mode::PUNCH_HOLE | mode::KEEP_SIZE;
    const ZERO_KEEP: u32 = mode::ZERO_RANGE | mode::KEEP_SIZE;
    Some(match mode {
        0 | mode::KEEP_SIZE => Space::Reserve { mode },
        PUNCH => Space::Punch,
        mode::ZERO_RANGE => Space::Zero { keep_size: false },
        ZERO_KEEP => Space::Zero { keep_size: true },
        _ => return None,
    })
}

pub(super) async fn fallocate(door: &Door, fd: FdRef, offset: u64, len: u64, mode: u32) -> FopResult<()> {
    match space(mode).ok_or(Errno::OPNOTSUPP)? {
        Space::Reserve { mode } => {
            let call = door.begin(Fop::Fallocate, fd.gfid());
            let req = request::Fallocate { fd, mode, offset, len, xdata: Xdata::NONE };
            door.top().fallocate(&call, req).await?;
        }
        Space::Punch => {
            let call = door.begin(Fop::Discard, fd.gfid());
            door.top().discard(&call, request::Discard { fd, offset, len, xdata: Xdata::NONE }).await?;
        }
        Space::Zero { keep_size } => {
            let mut len = len;
            if keep_size {
                // The fop would make the file longer; what is beyond its end reads as zeros anyway.
                let call = door.begin(Fop::Fstat, fd.gfid());
                let req = request::Fstat { fd: FdRef::clone(&fd), xdata: Xdata::NONE };
                let size = door.top().fstat(&call, req).await?.iatt.size;
                len = len.min(size.saturating_sub(offset));
                if len == 0 {
                    return Ok(());
                }
            }
            let call = door.begin(Fop::Zerofill, fd.gfid());
            door.top().zerofill(&call, request::Zerofill { fd, offset, len, xdata: Xdata::NONE }).await?;
        }
    }
    Ok(())
}

pub(super) async fn lseek(door: &Door, fd: FdRef, offset: u64, whence: u32) -> FopResult<u64> {
    let what = match whence {
        SEEK_DATA => SeekWhat::Data,
        SEEK_HOLE => SeekWhat::Hole,
        // The kernel moves the other positions itself.
        _ => return Err(Errno::INVAL.into()),
    };
    // A negative offset is before any data.
    if i64::try_from(offset).is_err() {
        return Err(Errno::NXIO.into());
    }
    let call = door.begin(Fop::Seek, fd.gfid());
    Ok(door.top().seek(&call, request::Seek { fd, offset, what, xdata: Xdata::NONE }).await?.offset)
}

/// One end of a copy.
#[derive(Debug)]
pub(super) struct End {
    pub(super) fd: FdRef,
    pub(super) offset: u64,
}

pub(super) async fn copy(door: &Door, from: End, to: End, len: u64, flags: u32) -> FopResult<usize> {
    let call = door.begin(Fop::CopyFileRange, to.fd.gfid());
    let req = request::CopyFileRange {
        fd_in: from.fd,
        offset_in: from.offset,
        fd: to.fd,
        offset: to.offset,
        len: len.min(COPY_MAX),
        flags,
        xdata: Xdata::NONE,
    };
    Ok(door.top().copy_file_range(&call, req).await?.count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_of_fallocate() {
        assert_eq!(space(0), Some(Space::Reserve { mode: 0 }));
        assert_eq!(space(1), Some(Space::Reserve { mode: 1 }));
        assert_eq!(space(3), Some(Space::Punch));
        assert_eq!(space(0x10), Some(Space::Zero { keep_size: false }));
        assert_eq!(space(0x11), Some(Space::Zero { keep_size: true }));
        // A hole that may change the size, collapse, insert, unshare.
        for mode in [2, 8, 0x20, 0x40, 0x13, u32::MAX] {
            assert_eq!(space(mode), None, "{mode:#x}");
        }
    }
}
