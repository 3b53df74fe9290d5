//! open, and attributes of what is open.

use std::sync::Arc;

use kiln_uring::sys::{OpenFlags, XattrTarget};
use kiln_uring::{Class, Errno, SysResult, Warmth};

use super::fd::{self, PosixFd};
use crate::call::{Call, CallTimes};
use crate::error::FopResult;
use crate::fd::FdRef;
use crate::fop::{reply, request};
use crate::storage::posix::lookup::stale_errno;
use crate::storage::posix::mdata::Role;
use crate::storage::posix::xattr::fill::{self, Filled};
use crate::storage::posix::{Brick, Object, Posix};
use crate::types::Gfid;

impl Posix {
    pub(in crate::storage::posix) async fn serve_open(
        &self,
        call: &Call,
        req: request::Open,
    ) -> FopResult<reply::Done> {
        let gfid = self.gfid_of_loc(req.loc).await?;
        let flags = OpenFlags::from_bits_retain(req.flags);
        if flags.contains(OpenFlags::CREAT) {
            self.brick.check_space(call.caller(), &req.xdata)?;
        }
        // Cutting a file frees its blocks, however many.
        let (class, warmth) = if flags.contains(OpenFlags::TRUNC) {
            (Class::LargeFree, Warmth::Cold)
        } else {
            (Class::Open, self.object_warmth(gfid))
        };
        let times = *call.times();
        let job = move |brick: &Arc<Brick>| open_file(brick, gfid, req.flags, &req.fd, &times);
        self.run(class, warmth, job).await.map_err(stale_errno)?;
        self.touch_object(gfid);
        Ok(reply::Done::default())
    }

    pub(in crate::storage::posix) async fn serve_fstat(
        &self,
        _: &Call,
        req: request::Fstat,
    ) -> FopResult<reply::Attr> {
        let file = self.fd_file(&req.fd).await?;
        let gfid = req.fd.gfid();
        let job = move |brick: &Arc<Brick>| -> FopResult<reply::Attr> {
            let attrs = brick.attrs_of_fd(gfid, &file)?;
            let target = XattrTarget::Fd(file.fd());
            let filled = Filled { gfid, attrs: &attrs, target, warmth: Warmth::Warm, parent: None };
            let xdata = fill::answer(brick, &filled, &req.xdata);
            Ok(reply::Attr { iatt: attrs.iatt, xdata })
        };
        self.run(Class::FdMetadata, Warmth::Warm, job).await
    }
}

fn open_file(brick: &Arc<Brick>, gfid: Gfid, flags: u32, fd: &FdRef, times: &CallTimes) -> SysResult<()> {
    let (object, stat) = brick.object(gfid)?;
    fd::openable(stat.mode)?;
    let wanted = fd::kept_flags(flags);
    let file = match object {
        Object::Dir(dir) => {
            if wanted.intersects(OpenFlags::WRONLY | OpenFlags::RDWR | OpenFlags::TRUNC) {
                return Err(Errno::ISDIR);
            }
            dir
        }
        _ => fd::open_regular(brick, gfid, wanted)?,
    };
    if !times.flags.is_empty() {
        let mut attrs = brick.attrs(gfid, stat, XattrTarget::Fd(file.fd()))?;
        brick.move_times(XattrTarget::Fd(file.fd()), &mut attrs, times, Role::Own);
    }
    let state = PosixFd::new(file, flags);
    if state.flags.contains(OpenFlags::DIRECT) && !stat.is_dir() {
        // The caller hears it now if this file system cannot.
        state.open_direct(brick, gfid)?;
    }
    fd::attach_state(brick, fd, state, gfid);
    Ok(())
}
