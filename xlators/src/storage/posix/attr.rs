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
    xdata: Xdata,
}

impl Posix {
    pub(super) async fn serve_setattr(
        &self,
        call: &Call,
        req: request::Setattr,
    ) -> FopResult<reply::Changed> {
        let gfid = self.gfid_of_loc(req.loc).await?;
        let change = Change { gfid, attr: req.attr, times: *call.times(), xdata: req.xdata };
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

    pub(super) async fn serve_fsetattr(
        &self,
        call: &Call,
        req: request::Fsetattr,
    ) -> FopResult<reply::Changed> {
        let file = self.fd_file(&req.fd).await?;
        let gfid = req.fd.gfid();
        let change = Change { gfid, attr: req.attr, times: *call.times(), xdata: req.xdata };
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
        let filled = Filled { gfid: self.gfid, attrs: &post, target, warmth: Warmth::Warm, parent: None };
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
        brick.change_times(target, attrs, |old| {
            let old = old?;
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
            (new != old).then_some(new)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fd::Fd;
    use crate::storage::posix::data::tests::{plant, real_kit};
    use crate::storage::posix::handle::HandlePath;
    use crate::storage::posix::testkit::{Client, Kit, gfid};
    use crate::types::{IaType, Loc};
    use kiln_uring::sys::Timespec;

    const fn at(sec: i64) -> Timespec {
        Timespec { sec, nsec: 5 }
    }

    async fn set(client: &Client, gfid: Gfid, attr: SetAttr) -> reply::Changed {
        let request = request::Setattr { loc: Loc::object(gfid), attr, xdata: Xdata::NONE };
        client.setattr(request).await.unwrap()
    }

    fn change(valid: SetAttrValid) -> SetAttr {
        let (prot, uid, gid) = (0o4711, 11, 12);
        SetAttr { valid, prot, uid, gid, atime: at(1001), mtime: at(1002), ctime: at(1003) }
    }

    fn every_bit(kit: &Kit) {
        let brick = kit.brick();
        plant(&brick, "f", gfid(1));
        let before = brick.attrs_of(gfid(1), &brick.object(gfid(1)).unwrap().0).unwrap().iatt;
        kit.run(async |client| {
            use SetAttrValid as V;
            let owner = |iatt: &crate::types::Iatt| (iatt.uid, iatt.gid);
            let changed = set(&client, gfid(1), change(V::UID)).await;
            assert_eq!((owner(&changed.pre), owner(&changed.post)), (owner(&before), (11, before.gid)));
            let changed = set(&client, gfid(1), change(V::GID)).await;
            assert_eq!(owner(&changed.post), (11, 12));
            let changed = set(&client, gfid(1), change(V::MODE)).await;
            assert_eq!((changed.pre.prot, changed.post.prot), (0o644, 0o4711));
            let changed = set(&client, gfid(1), change(V::ATIME)).await;
            assert_eq!((changed.post.atime, changed.post.mtime), (at(1001), before.mtime));
            let changed = set(&client, gfid(1), change(V::MTIME | V::MTIME_NOW)).await;
            assert_eq!((changed.post.atime, changed.post.mtime), (at(1001), at(1002)));
            // An owner's change takes the set-id bits; the mode that comes with it counts afterwards.
            let changed = set(&client, gfid(1), change(V::UID | V::MODE)).await;
            assert_eq!(changed.post.prot, 0o4711);
            let changed = set(&client, gfid(1), change(V::empty())).await;
            assert_eq!((owner(&changed.post), changed.post.mtime), ((11, 12), at(1002)));
            let changed = set(&client, Gfid::ROOT, change(V::MODE)).await;
            assert_eq!((changed.post.kind, changed.post.prot), (IaType::Directory, 0o4711));
        });
    }

    #[test]
    fn every_bit_does_its_part() {
        every_bit(&Kit::new(1));
    }

    #[test]
    fn every_bit_does_its_part_on_the_real_kernel() {
        let Some((kit, _dir)) = real_kit(1, &[]) else { return };
        every_bit(&kit);
    }

    #[test]
    fn a_symbolic_links_mode_is_nobodys_business() {
        let kit = Kit::new(2);
        let brick = kit.brick();
        let handle = HandlePath::new(gfid(4));
        let _ = brick.sys.mkdir_at(brick.dot.fd(), &handle.leaf_dir(), 0o700);
        brick.sys.symlink_at(c"x", brick.root.fd(), c"link").unwrap();
        brick.sys.link_at(brick.root.fd(), c"link", brick.dot.fd(), handle.as_c_str()).unwrap();
        kit.run(async |client| {
            let changed = set(&client, gfid(4), change(SetAttrValid::MODE | SetAttrValid::UID)).await;
            assert_eq!((changed.post.prot, changed.post.uid), (0o777, 11));
        });
    }

    #[test]
    fn times_by_the_clients_clock() {
        use SetAttrValid as V;
        let kit = Kit::new(3);
        plant(&kit.brick(), "f", gfid(1));
        kit.run(async |client| {
            let times = |iatt: &crate::types::Iatt| (iatt.ctime.sec, iatt.mtime.sec, iatt.atime.sec);
            // Times alone make no attribute; the inode's own count.
            let pure =
                Client { times: CallTimes { stamp: at(500), ..CallTimes::default() }, ..client.clone() };
            set(&pure, gfid(1), change(V::ATIME | V::MTIME)).await;
            assert_eq!(kit.brick().xattr(gfid(1), crate::keys::MDATA), None);
            // A flagged change makes it.
            let made = set(&client.at(2000), gfid(1), change(V::MODE)).await;
            assert_eq!(times(&made.post), (2000, 2000, 2000));
            // Explicit times go backwards; the change time does not.
            let back = set(&pure, gfid(1), change(V::ATIME | V::MTIME)).await;
            assert_eq!((times(&back.pre), times(&back.post)), ((2000, 2000, 2000), (2000, 1002, 1001)));
            let heal = SetAttr { ctime: at(3000), ..change(V::CTIME) };
            assert_eq!(times(&set(&client, gfid(1), heal).await.post), (3000, 1002, 1001));
            let heal = SetAttr { ctime: at(2500), ..change(V::CTIME) };
            assert_eq!(times(&set(&client, gfid(1), heal).await.post), (3000, 1002, 1001));
        });
    }

    #[test]
    fn masks_and_open_files() {
        let kit = Kit::with_options(4, &[("create-mask", "0750"), ("force-create-mode", "0004")]);
        plant(&kit.brick(), "f", gfid(1));
        kit.run(async |client| {
            let fd = Fd::anonymous(gfid(1), 0, 1);
            let attr = SetAttr { prot: 0o4777, ..change(SetAttrValid::MODE) };
            let request = request::Fsetattr { fd, attr, xdata: Xdata::NONE };
            assert_eq!(client.fsetattr(request).await.unwrap().post.prot, 0o4754);
            let request = request::Setattr { loc: Loc::object(gfid(9)), attr, xdata: Xdata::NONE };
            assert_eq!(client.setattr(request).await.unwrap_err().errno, Errno::STALE);
        });
    }
}
