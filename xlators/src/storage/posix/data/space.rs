//! Length and space of a file: truncate, ftruncate, fallocate, discard, zerofill.

use std::sync::Arc;

use kiln_uring::sys::OpenFlags;
use kiln_uring::{Class, Errno, SysResult, Warmth};

use super::fd::{self, PosixFd};
use super::write::write_all;
use super::{Site, check_allocated, is_short_of_space};
use crate::call::Call;
use crate::error::FopResult;
use crate::fd::FdRef;
use crate::fop::{reply, request};
use crate::storage::posix::lookup::stale_errno;
use crate::storage::posix::{Brick, Object, Posix};
use crate::types::{Gfid, Xdata};

/// A change of more bytes than this is left to a helper thread: it takes as long as there are extents.
const QUICK: u64 = 1 << 20;

/// Zeros written at once where the file system cannot zero a range by itself.
const ZEROS: usize = 1 << 20;

/// `FALLOC_FL_*` bits.
mod falloc {
    pub const KEEP_SIZE: u32 = 0x01;
    pub const PUNCH_HOLE: u32 = 0x02;
    pub const ZERO_RANGE: u32 = 0x10;
}

/// A change of the space that a range takes.
#[derive(Clone, Copy)]
enum Range {
    Reserve { keep_size: bool },
    Punch,
    Zero { durable: bool },
}

impl Posix {
    pub(in crate::storage::posix) async fn serve_truncate(
        &self,
        call: &Call,
        req: request::Truncate,
    ) -> FopResult<reply::Changed> {
        let gfid = self.gfid_of_loc(req.loc).await?;
        let warmth = self.object_warmth(gfid);
        let size = match warmth {
            Warmth::Warm => self.brick.stat_handle(gfid).map_or(0, |stat| stat.size),
            Warmth::Cold => u64::MAX,
        };
        let (class, warmth) = place_of_cut(size, req.offset, warmth);
        let (times, len) = (*call.times(), req.offset);
        let job = move |brick: &Arc<Brick>| {
            let file = open_for_cut(brick, gfid)?;
            let site = Site { gfid, file, times };
            site.change(brick, |_| brick.sys.ftruncate(site.file.fd(), len))
        };
        Ok(self.run(class, warmth, job).await.map_err(stale_errno)?)
    }

    pub(in crate::storage::posix) async fn serve_ftruncate(
        &self,
        call: &Call,
        req: request::Ftruncate,
    ) -> FopResult<reply::Changed> {
        let site = self.site(call, &req.fd).await?;
        let size = self.brick.sys.stat(site.file.fd())?.size;
        let (class, warmth) = place_of_cut(size, req.offset, Warmth::Warm);
        let len = req.offset;
        let job = move |brick: &Arc<Brick>| site.change(brick, |_| brick.sys.ftruncate(site.file.fd(), len));
        Ok(self.run(class, warmth, job).await?)
    }

    pub(in crate::storage::posix) async fn serve_fallocate(
        &self,
        call: &Call,
        req: request::Fallocate,
    ) -> FopResult<reply::Changed> {
        if req.mode & !falloc::KEEP_SIZE != 0 {
            return Err(Errno::OPNOTSUPP.into());
        }
        let range = Range::Reserve { keep_size: req.mode != 0 };
        self.change_range(call, &req.fd, range, req.offset, req.len, &req.xdata).await
    }

    pub(in crate::storage::posix) async fn serve_discard(
        &self,
        call: &Call,
        req: request::Discard,
    ) -> FopResult<reply::Changed> {
        self.change_range(call, &req.fd, Range::Punch, req.offset, req.len, &req.xdata).await
    }

    pub(in crate::storage::posix) async fn serve_zerofill(
        &self,
        call: &Call,
        req: request::Zerofill,
    ) -> FopResult<reply::Changed> {
        let flags = req.fd.storage::<PosixFd>().map_or(OpenFlags::empty(), |state| state.flags);
        let range = Range::Zero { durable: flags.intersects(OpenFlags::SYNC | OpenFlags::DSYNC) };
        self.change_range(call, &req.fd, range, req.offset, req.len, &req.xdata).await
    }

    async fn change_range(
        &self,
        call: &Call,
        fd: &FdRef,
        range: Range,
        offset: u64,
        len: u64,
        xdata: &Xdata,
    ) -> FopResult<reply::Changed> {
        let site = self.site(call, fd).await?;
        let short_of_space = is_short_of_space(&self.brick, call, xdata);
        let slow = short_of_space || len > QUICK || matches!(range, Range::Zero { durable: true });
        let class = if slow { Class::LargeFree } else { Class::AttrChange };
        let job = move |brick: &Arc<Brick>| {
            site.change(brick, |pre| {
                if short_of_space {
                    check_allocated(brick, &site.file, &pre.stat, offset, len)?;
                }
                range.apply(brick, &site, offset, len)
            })
        };
        Ok(self.run(class, Warmth::Warm, job).await?)
    }

    /// The file of a descriptor that is about to change.
    pub(super) async fn site(&self, call: &Call, fd: &FdRef) -> Result<Site, Errno> {
        let file = self.fd_file(fd).await?;
        Ok(Site { gfid: fd.gfid(), file, times: *call.times() })
    }
}

fn place_of_cut(size: u64, len: u64, warmth: Warmth) -> (Class, Warmth) {
    if size.saturating_sub(len) > QUICK { (Class::LargeFree, warmth) } else { (Class::AttrChange, warmth) }
}

fn open_for_cut(brick: &Arc<Brick>, gfid: Gfid) -> SysResult<Arc<kiln_uring::File>> {
    let (object, stat) = brick.object(gfid)?;
    if matches!(object, Object::Dir(_)) {
        return Err(Errno::ISDIR);
    }
    fd::openable(stat.mode)?;
    fd::open_regular(brick, gfid, OpenFlags::WRONLY)
}

impl Range {
    fn apply(self, brick: &Arc<Brick>, site: &Site, offset: u64, len: u64) -> SysResult<()> {
        let fd = site.file.fd();
        match self {
            Self::Reserve { keep_size } => {
                brick.sys.fallocate(fd, if keep_size { falloc::KEEP_SIZE } else { 0 }, offset, len)
            }
            Self::Punch => brick.sys.fallocate(fd, falloc::PUNCH_HOLE | falloc::KEEP_SIZE, offset, len),
            Self::Zero { durable } => {
                match brick.sys.fallocate(fd, falloc::ZERO_RANGE, offset, len) {
                    Err(Errno::OPNOTSUPP) => write_zeros(brick, site, offset, len)?,
                    done => done?,
                }
                if durable { brick.sys.fsync(fd, false) } else { Ok(()) }
            }
        }
    }
}

fn write_zeros(brick: &Brick, site: &Site, offset: u64, len: u64) -> SysResult<()> {
    super::check_offset(offset, len)?;
    let zeros = vec![0; usize::try_from(len).unwrap_or(ZEROS).min(ZEROS)];
    let mut done = 0;
    while done < len {
        let take = usize::try_from(len - done).unwrap_or(ZEROS).min(ZEROS);
        let count = write_all(brick, &site.file, &zeros[..take], offset + done)?;
        if count < take {
            return Err(Errno::NOSPC);
        }
        done += take as u64;
    }
    Ok(())
}
