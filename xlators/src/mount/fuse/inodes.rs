//! Requests about an object itself: attributes, extended attributes' carrier, space of the volume.
//!
//! They name it by its node. A file that has lost its last name is still reached through a descriptor that holds it open, so
//! a fop that finds nothing is tried again there.

use kiln_uring::{Errno, StatFs, Timespec};

use super::door::Door;
use super::open_files::is_writable;
use super::times;
use super::wire::{SetattrIn, When};
use crate::error::{FopError, FopResult};
use crate::fd::FdRef;
use crate::fop::request::{SetAttr, SetAttrValid};
use crate::fop::{Fop, request};
use crate::types::{Gfid, Iatt, Loc, Xdata};

/// Whether nothing leads to the object any more.
fn is_gone(error: &FopError) -> bool {
    matches!(error.errno, Errno::NOENT | Errno::STALE)
}

/// What a retry through a descriptor does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    Look,
    /// Layers check callers by location, not by descriptor, so somebody must have checked this one.
    Change,
}

/// The result, or that of `again` with a descriptor when the object has no name any more and is open.
pub(super) async fn or_open<T>(
    door: &Door,
    gfid: Gfid,
    result: FopResult<T>,
    retry: Retry,
    again: impl AsyncFnOnce(FdRef) -> FopResult<T>,
) -> FopResult<T> {
    match result {
        Err(error) if is_gone(&error) && (retry == Retry::Look || door.is_checked()) => {
            match door.front().files.find(gfid, false) {
                Some(fd) => again(fd).await,
                None => Err(error),
            }
        }
        result => result,
    }
}

async fn fstat(door: &Door, fd: FdRef) -> FopResult<Iatt> {
    let call = door.begin(Fop::Fstat, fd.gfid());
    Ok(door.top().fstat(&call, request::Fstat { fd, xdata: Xdata::NONE }).await?.iatt)
}

/// Attributes, through `fd` if the kernel names one.
pub(super) async fn getattr(door: &Door, gfid: Gfid, fd: Option<FdRef>) -> FopResult<Iatt> {
    if let Some(fd) = fd {
        return fstat(door, fd).await;
    }
    let call = door.begin(Fop::Stat, gfid);
    let req = request::Stat { loc: Loc::object(gfid), xdata: Xdata::NONE };
    let result = door.top().stat(&call, req).await.map(|reply| reply.iatt);
    or_open(door, gfid, result, Retry::Look, async |fd| fstat(door, fd).await).await
}

/// Everything but the size.
fn attributes(changes: &SetattrIn, now: Timespec) -> SetAttr {
    let mut attr = SetAttr::default();
    for (value, field, bit) in [
        (changes.mode.map(|mode| mode & 0o7777), &mut attr.prot, SetAttrValid::MODE),
        (changes.uid, &mut attr.uid, SetAttrValid::UID),
        (changes.gid, &mut attr.gid, SetAttrValid::GID),
    ] {
        if let Some(value) = value {
            *field = value;
            attr.valid |= bit;
        }
    }
    for (time, field, bit, now_bit) in [
        (changes.atime, &mut attr.atime, SetAttrValid::ATIME, SetAttrValid::ATIME_NOW),
        (changes.mtime, &mut attr.mtime, SetAttrValid::MTIME, SetAttrValid::MTIME_NOW),
    ] {
        match time {
            None => continue,
            Some(When::Now) => {
                *field = now;
                attr.valid |= now_bit;
            }
            Some(When::At(time)) => *field = time,
        }
        attr.valid |= bit;
    }
    attr
}

/// Changes attributes and answers the new ones. The size comes first: cutting a file moves its times, which the request may
/// set, and the set-id bits that the kernel takes away come as a mode.
pub(super) async fn setattr(
    door: &Door,
    gfid: Gfid,
    fd: Option<FdRef>,
    changes: SetattrIn,
) -> FopResult<Iatt> {
    let now = door.graph.core().realtime();
    let attr = attributes(&changes, now);
    if let Some(size) = changes.size {
        let cut = truncate(door, gfid, fd, size).await?;
        if attr.valid.is_empty() {
            return Ok(cut);
        }
    }
    let only_times = !attr.valid.intersects(SetAttrValid::MODE | SetAttrValid::UID | SetAttrValid::GID)
        && !attr.valid.is_empty();
    let times = times::of_setattr(only_times, now);
    let call = door.begin_at(Fop::Setattr, gfid, times);
    let req = request::Setattr { loc: Loc::object(gfid), attr, xdata: Xdata::NONE };
    let result = door.top().setattr(&call, req).await;
    let changed = or_open(door, gfid, result, Retry::Change, async |fd| {
        let call = door.begin_at(Fop::Fsetattr, gfid, times);
        door.top().fsetattr(&call, request::Fsetattr { fd, attr, xdata: Xdata::NONE }).await
    });
    Ok(changed.await?.post)
}

async fn truncate(door: &Door, gfid: Gfid, fd: Option<FdRef>, offset: u64) -> FopResult<Iatt> {
    let through = async |fd| {
        let call = door.begin(Fop::Ftruncate, gfid);
        door.top().ftruncate(&call, request::Ftruncate { fd, offset, xdata: Xdata::NONE }).await
    };
    // An open with O_RDONLY | O_TRUNC comes with a descriptor that cannot do it.
    if let Some(fd) = fd.filter(is_writable) {
        return Ok(through(fd).await?.post);
    }
    let call = door.begin(Fop::Truncate, gfid);
    let req = request::Truncate { loc: Loc::object(gfid), offset, xdata: Xdata::NONE };
    match door.top().truncate(&call, req).await {
        Err(error) if is_gone(&error) && door.is_checked() => match door.front().files.find(gfid, true) {
            Some(fd) => Ok(through(fd).await?.post),
            None => Err(error),
        },
        result => Ok(result?.post),
    }
}

pub(super) async fn access(door: &Door, loc: Loc, mask: u32) -> FopResult<()> {
    let call = door.begin(Fop::Access, loc.gfid);
    door.top().access(&call, request::Access { loc, mask, xdata: Xdata::NONE }).await?;
    Ok(())
}

pub(super) async fn statfs(door: &Door, loc: Loc) -> FopResult<StatFs> {
    let call = door.begin(Fop::Statfs, loc.gfid);
    Ok(door.top().statfs(&call, request::Statfs { loc, xdata: Xdata::NONE }).await?.statfs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_become_fields_with_their_bits() {
        let now = Timespec { sec: 100, nsec: 5 };
        let before = Timespec { sec: -3, nsec: 4 };
        let changes = SetattrIn {
            mode: Some(0o104_755),
            gid: Some(7),
            size: Some(1),
            atime: Some(When::Now),
            mtime: Some(When::At(before)),
            ..SetattrIn::default()
        };
        let attr = attributes(&changes, now);
        assert_eq!(
            attr.valid,
            SetAttrValid::MODE
                | SetAttrValid::GID
                | SetAttrValid::ATIME
                | SetAttrValid::ATIME_NOW
                | SetAttrValid::MTIME
        );
        assert_eq!((attr.prot, attr.gid, attr.atime), (0o4755, 7, now));
        assert_eq!(attr.mtime, before);
        assert_eq!(attributes(&SetattrIn::default(), now), SetAttr::default());
    }
}
