//! setattr and fsetattr.
//!
//! In this order: owner, mode, times, change time; an error stops it there. What the client's clock says goes into
//! [`super::mdata`]: a change of owner or mode moves the change time forward; times that the client gives are stored as they
//! are, backwards too, but only on objects that have the attribute.

use std::sync::Arc;

use kiln_uring::sys::{NO_ID, Stat, TimeSet, XattrTarget};
use kiln_uring::{Class, Errno, File, SysResult, Warmth};

use super::lookup::stale_errno;
use super::mdata::Role;
use super::xattr::fill::{self, Filled};
use super::{Attrs, Brick, Object, Posix};
use crate::call::{Call, CallTimes};
use crate::error::FopResult;
use crate::fop::request::{SetAttr, SetAttrValid};
use crate::fop::{reply, request};
use crate::types::{Gfid, Xdata};

/// A change of attributes on its way.
struct Change {
    gfid: Gfid,
    attr: SetAttr,
    times: CallTimes,
    pid: i32,
    xdata: Xdata,
}

impl Posix {
    pub(super) async fn serve_setattr(&self, call: &Call, req: request::Setattr) -> FopResult<reply::Changed> {
        let gfid = self.gfid_of_loc(req.loc).await?;
        let change = Change { gfid, attr: req.attr, times: *call.times(), pid: call.caller().pid, xdata: req.xdata };
        if let Some(dir) = self.cached_directory(gfid) {
            let job = move |brick: &Arc<Brick>| change.apply(brick, &Place::Open(&dir));
            let changed = self.run(Class::AttrChange, Warmth::Warm, job).await;
            if changed == Err(Errno::STALE) {
                self.drop_directory(gfid);
            }
            return Ok(changed?);
        }
        let warmth = self.object_warmth(gfid);
        let job = move |brick: &Arc<Brick>| {
            let (object, stat) = brick.object(gfid)?;
            let changed = change.apply(brick, &Place::Found(&object, stat))?;
            Ok((changed, object))
        };
        let (changed, object) = self.run(Class::AttrChange, warmth, job).await.map_err(stale_errno)?;
        if let Object::Dir(dir) = &object {
            self.keep_directory(gfid, dir);
        }
        Ok(changed)
    }

    pub(super) async fn serve_fsetattr(&self, call: &Call, req: request::Fsetattr) -> FopResult<reply::Changed> {
        let file = self.fd_file(&req.fd).await?;
        let (gfid, pid) = (req.fd.gfid(), call.caller().pid);
        let change = Change { gfid, attr: req.attr, times: *call.times(), pid, xdata: req.xdata };
        let job = move |brick: &Arc<Brick>| change.apply(brick, &Place::Open(&file));
        Ok(self.run(Class::AttrChange, Warmth::Warm, job).await?)
    }
}

/// Where system calls reach the object.
enum Place<'a> {
    Open(&'a Arc<File>),
    Found(&'a Object, Stat),
}

impl Place<'_> {
    fn before(&self, brick: &Brick, gfid: Gfid) -> SysResult<Attrs> {
        match self {
            Self::Open(file) => brick.attrs_of_fd(gfid, file),
            Self::Found(_, stat) => brick.attrs(gfid, *stat, self.target(brick)),
        }
    }

    fn after(&self, brick: &Brick, gfid: Gfid) -> SysResult<Attrs> {
        match self {
            Self::Open(file) => brick.attrs_of_fd(gfid, file),
            Self::Found(object, _) => brick.attrs_of(gfid, object),
        }
    }

    fn target<'b>(&'b self, brick: &'b Brick) -> XattrTarget<'b> {
        match self {
            Self::Open(file) => XattrTarget::Fd(file.fd()),
            Self::Found(object, _) => brick.target(object),
        }
    }

    fn chown(&self, brick: &Brick, uid: u32, gid: u32) -> SysResult<()> {
        match self.target(brick) {
            XattrTarget::Fd(fd) => brick.sys.chown(fd, uid, gid),
            XattrTarget::At(dir, path) => brick.sys.chown_at(dir, path, uid, gid),
        }
    }

    fn chmod(&self, brick: &Brick, mode: u32) -> SysResult<()> {
        match self.target(brick) {
            XattrTarget::Fd(fd) => brick.sys.chmod(fd, mode),
            XattrTarget::At(dir, path) => brick.sys.chmod_at(dir, path, mode),
        }
    }

    fn set_times(&self, brick: &Brick, atime: TimeSet, mtime: TimeSet) -> SysResult<()> {
        match self.target(brick) {
            XattrTarget::Fd(fd) => brick.sys.set_times(fd, atime, mtime),
            XattrTarget::At(dir, path) => brick.sys.set_times_at(dir, path, atime, mtime),
        }
    }
}

impl Change {
    fn apply(&self, brick: &Arc<Brick>, place: &Place<'_>) -> SysResult<reply::Changed> {
        let pre = place.before(brick, self.gfid)?;
        self.change_inode(brick, place, &pre.stat)?;
        let mut post = place.after(brick, self.gfid)?;
        self.change_mdata(brick, place.target(brick), &mut post);
        let target = place.target(brick);
        let filled = Filled { gfid: self.gfid, attrs: &post, target, pid: self.pid, parent: None };
        let xdata = fill::answer(brick, &filled, &self.xdata);
        Ok(reply::Changed { pre: pre.iatt, post: post.iatt, xdata })
    }

    fn change_inode(&self, brick: &Brick, place: &Place<'_>, stat: &Stat) -> SysResult<()> {
        let SetAttr { valid, prot, uid, gid, atime, mtime, .. } = self.attr;
        let owner = SetAttrValid::UID | SetAttrValid::GID;
        if valid.intersects(owner) || valid.is_empty() {
            // With neither it moves the change time, which is all that a setattr of nothing means.
            let id = |bit, id| if valid.contains(bit) { id } else { NO_ID };
            place.chown(brick, id(SetAttrValid::UID, uid), id(SetAttrValid::GID, gid))?;
        }
        // A symbolic link has no mode of its own.
        if valid.contains(SetAttrValid::MODE) && !stat.is_symlink() {
            let settings = brick.settings();
            let mode = prot & 0o7777;
            let mode = if stat.is_dir() { settings.directory_mode(mode) } else { settings.file_mode(mode) };
            place.chmod(brick, mode)?;
        }
        if valid.intersects(SetAttrValid::ATIME | SetAttrValid::MTIME) {
            let time = |bit, time| if valid.contains(bit) { TimeSet::At(time) } else { TimeSet::Keep };
            place.set_times(brick, time(SetAttrValid::ATIME, atime), time(SetAttrValid::MTIME, mtime))?;
        }
        Ok(())
    }

    fn change_mdata(&self, brick: &Brick, target: XattrTarget<'_>, attrs: &mut Attrs) {
        let SetAttr { valid, atime, mtime, ctime, .. } = self.attr;
        brick.move_times(target, attrs, &self.times, Role::Own);
        let Some(old) = attrs.mdata else { return };
        let mut new = old;
        if valid.contains(SetAttrValid::ATIME) {
            new.atime = atime;
        }
        if valid.contains(SetAttrValid::MTIME) {
            new.mtime = mtime;
        }
        if valid.intersects(SetAttrValid::ATIME | SetAttrValid::MTIME) {
            // These come without flags, but with the client's time.
            new.ctime = new.ctime.max(self.times.stamp);
        }
        if valid.contains(SetAttrValid::CTIME) {
            new.ctime = new.ctime.max(ctime);
        }
        if new != old {
            brick.store_times(target, attrs, new);
        }
    }
}
