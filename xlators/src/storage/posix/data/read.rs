//! readv. Several in one turn look at the file together ([`super::looks`]).

use std::sync::Arc;

use kiln_uring::sys::{OpenFlags, XattrTarget};
use kiln_uring::{Class, DataMode, Errno, File, Warmth};

use super::fd::PosixFd;
use crate::call::Call;
use crate::error::FopResult;
use crate::fd::FdRef;
use crate::fop::{reply, request};
use crate::storage::posix::mdata::Role;
use crate::storage::posix::{Brick, Posix};
use crate::types::Xdata;

/// Longest read in bytes; the answer to a longer one is this short. GlusterFS's clients ask for at most 1 MiB.
const LONGEST: u32 = 16 << 20;

/// What offset, length and memory must be multiples of for I/O past the page cache. Disks with blocks of 4 KiB want more;
/// the kernel says so, and the page cache serves the request then.
const DIRECT_UNIT: u64 = 512;

impl Posix {
    pub(in crate::storage::posix) async fn serve_readv(
        &self,
        call: &Call,
        req: request::Readv,
    ) -> FopResult<reply::Read> {
        if req.size == 0 {
            return Err(Errno::INVAL.into());
        }
        super::check_offset(req.offset, 0)?;
        let file = self.fd_file(&req.fd).await?;
        let gfid = req.fd.gfid();
        let mut data = self.core.buffer(req.size.min(LONGEST) as usize);
        let mut how = DataMode::Buffered;
        let mut from = &file;
        let direct = self.direct_file(&req.fd, req.flags, req.offset, data.len()).await;
        if let Some(direct) = &direct {
            (how, from) = (DataMode::Direct, direct);
        }
        let mut read = self.core.read(from, data, req.offset, how).await;
        if how == DataMode::Direct && read.0 == Err(Errno::INVAL) {
            read = self.core.read(&file, read.1, req.offset, DataMode::Buffered).await;
        }
        let count = read.0?;
        data = read.1;
        data.truncate(count);
        let look = || self.brick.attrs_of_fd(gfid, &file);
        let attrs = if Role::Own.is_moved_by(call.times()) {
            let mut attrs = look()?;
            self.brick.move_times(XattrTarget::Fd(file.fd()), &mut attrs, call.times(), Role::Own);
            attrs
        } else {
            self.looks.shared(&self.core, &file, look).await?
        };
        let eof = count == 0 || req.offset.saturating_add(count as u64) >= attrs.stat.size;
        Ok(reply::Read { data, eof, iatt: attrs.iatt, xdata: Xdata::NONE })
    }

    /// The descriptor for I/O past the page cache, if the request wants it and its place and length allow it.
    pub(super) async fn direct_file(
        &self,
        fd: &FdRef,
        flags: u32,
        offset: u64,
        len: usize,
    ) -> Option<Arc<File>> {
        // There is nothing past the page cache of a file system that consists of it, and the ring would have to punt.
        if self.brick.in_memory {
            return None;
        }
        let state = fd.storage::<PosixFd>()?;
        let asked = (state.flags | OpenFlags::from_bits_retain(flags)).contains(OpenFlags::DIRECT);
        if !asked && !self.brick.o_direct() {
            return None;
        }
        if !offset.is_multiple_of(DIRECT_UNIT) || !(len as u64).is_multiple_of(DIRECT_UNIT) || len == 0 {
            return None;
        }
        if !state.tried_direct() {
            let held = Arc::clone(fd);
            let job = move |brick: &Arc<Brick>| {
                held.storage::<PosixFd>()
                    .map_or(Err(Errno::BADF), |state| state.open_direct(brick, held.gfid()))
            };
            if let Err(errno) = self.run(Class::Open, Warmth::Warm, job).await {
                tracing::debug!(gfid = %fd.gfid(), %errno, "cannot be opened past the page cache, which serves it");
            }
        }
        state.direct().cloned()
    }
}
