//! Requests about names: finding, making, removing, moving.

use std::ffi::CString;

use kiln_uring::Errno;

use super::door::Door;
use crate::error::{FopError, FopResult};
use crate::fop::{Fop, request};
use crate::types::{Iatt, Loc, Xdata};

/// Permission bits, set-id bits and sticky bit.
const PERMISSIONS: u32 = 0o7777;
/// Longest target of a symbolic link, in bytes (`PATH_MAX`).
const TARGET_MAX: u32 = 4096;

pub(super) async fn lookup(door: &Door, loc: Loc) -> FopResult<Iatt> {
    let call = door.begin(Fop::Lookup, loc.parent);
    let req = request::Lookup { loc: loc.clone(), xdata: Xdata::NONE };
    match door.top().lookup(&call, req).await {
        // A file that was put on the brick by hand, or whose maker was interrupted: it gets a gfid now.
        Err(FopError { errno: Errno::NODATA, .. }) => {
            let req = request::Lookup { loc, xdata: door.gfid_request() };
            Ok(door.top().lookup(&call, req).await?.iatt)
        }
        found => Ok(found?.iatt),
    }
}

pub(super) async fn mknod(door: &Door, loc: Loc, mode: u32, rdev: u64, umask: u32) -> FopResult<Iatt> {
    let call = door.begin(Fop::Mknod, loc.parent);
    let made = door
        .top()
        .mknod(&call, request::Mknod { loc, mode, rdev, umask, xdata: door.gfid_request() })
        .await?;
    Ok(made.iatt)
}

pub(super) async fn mkdir(door: &Door, loc: Loc, mode: u32, umask: u32) -> FopResult<Iatt> {
    let call = door.begin(Fop::Mkdir, loc.parent);
    let mode = mode & PERMISSIONS;
    let made =
        door.top().mkdir(&call, request::Mkdir { loc, mode, umask, xdata: door.gfid_request() }).await?;
    Ok(made.iatt)
}

pub(super) async fn symlink(door: &Door, target: CString, loc: Loc) -> FopResult<Iatt> {
    let call = door.begin(Fop::Symlink, loc.parent);
    // The mode of a symbolic link is 0777, whatever the caller's umask, which this request does not carry.
    let req = request::Symlink { target, loc, umask: 0, xdata: door.gfid_request() };
    Ok(door.top().symlink(&call, req).await?.iatt)
}

pub(super) async fn link(door: &Door, old: Loc, new: Loc) -> FopResult<Iatt> {
    let call = door.begin(Fop::Link, old.gfid);
    Ok(door.top().link(&call, request::Link { old, new, xdata: Xdata::NONE }).await?.iatt)
}

pub(super) async fn unlink(door: &Door, loc: Loc) -> FopResult<()> {
    let call = door.begin(Fop::Unlink, loc.parent);
    door.top().unlink(&call, request::Unlink { loc, flags: 0, xdata: Xdata::NONE }).await?;
    Ok(())
}

pub(super) async fn rmdir(door: &Door, loc: Loc) -> FopResult<()> {
    let call = door.begin(Fop::Rmdir, loc.parent);
    door.top().rmdir(&call, request::Rmdir { loc, flags: 0, xdata: Xdata::NONE }).await?;
    Ok(())
}

pub(super) async fn rename(door: &Door, old: Loc, new: Loc, flags: u32) -> FopResult<()> {
    let call = door.begin(Fop::Rename, old.parent);
    door.top().rename(&call, request::Rename { old, new, flags, xdata: Xdata::NONE }).await?;
    Ok(())
}

pub(super) async fn readlink(door: &Door, loc: Loc) -> FopResult<Vec<u8>> {
    let call = door.begin(Fop::Readlink, loc.gfid);
    let req = request::Readlink { loc, size: TARGET_MAX, xdata: Xdata::NONE };
    Ok(door.top().readlink(&call, req).await?.target)
}
