//! mknod, mkdir, symlink.

use std::ffi::CString;
use std::sync::Arc;

use kiln_uring::sys::{OpenFlags, RenameFlags, XattrTarget};
use kiln_uring::{AtFlags, Class, Errno, SysResult};

use super::dress::New;
use super::link::InTheWay;
use super::{Spot, create, in_parent, inherit, link, preop, wanted_gfid};
use crate::call::Call;
use crate::error::FopResult;
use crate::fop::{reply, request};
use crate::keys;
use crate::storage::posix::handle::{HandlePath, directory_target, gfid_name};
use crate::storage::posix::intents::Operation;
use crate::storage::posix::stripes::{Busy, Wait, object_key};
use crate::storage::posix::{Attrs, Brick, Posix};
use crate::types::{Gfid, IaType, MdataTimes, Xdata};

impl Posix {
    pub(in crate::storage::posix) async fn serve_mknod(
        &self,
        call: &Call,
        req: request::Mknod,
    ) -> FopResult<reply::Made> {
        let request::Mknod { loc, mode, rdev, xdata, .. } = req;
        // As mknod(2): no type means a regular file.
        let mode = if mode & libc::S_IFMT == 0 { mode | libc::S_IFREG } else { mode };
        let kind = match IaType::from_mode(mode) {
            IaType::Regular => Kind::Regular,
            IaType::Fifo | IaType::Socket | IaType::Block | IaType::Character => Kind::Node(rdev),
            IaType::Directory => return Err(Errno::PERM.into()),
            IaType::Symlink | IaType::Invalid => return Err(Errno::INVAL.into()),
        };
        let mode = self.brick.settings().file_mode(mode);
        self.make(call, loc, mode, kind, xdata).await
    }

    pub(in crate::storage::posix) async fn serve_symlink(
        &self,
        call: &Call,
        req: request::Symlink,
    ) -> FopResult<reply::Made> {
        let request::Symlink { target, loc, xdata, .. } = req;
        self.make(call, loc, libc::S_IFLNK | 0o777, Kind::Symlink(target), xdata).await
    }

    async fn make(
        &self,
        call: &Call,
        loc: crate::types::Loc,
        mode: u32,
        kind: Kind,
        xdata: Xdata,
    ) -> FopResult<reply::Made> {
        let gfid = wanted_gfid(&xdata)?;
        self.has_space(call, &xdata)?;
        let (spot, warmth) = self.spot(loc).await?;
        let parent = spot.parent;
        let (uid, gid) = (call.caller().uid, call.caller().gid);
        let new = New { spot, gfid, uid, gid, mode, times: *call.times(), xdata };
        let job = move |brick: &Arc<Brick>, wait| make(brick, wait, &new, &kind);
        let made = self.run_waiting(Class::EntryChange, warmth, job).await;
        let made = self.after(&[parent], made)?;
        self.touch_object(made.iatt.gfid);
        Ok(made)
    }

    pub(in crate::storage::posix) async fn serve_mkdir(
        &self,
        call: &Call,
        req: request::Mkdir,
    ) -> FopResult<reply::Made> {
        let request::Mkdir { loc, mode, xdata, .. } = req;
        if loc.name.as_ref().is_some_and(|name| super::super::lookup::is_dot_glusterfs(loc.parent, name)) {
            return Err(Errno::PERM.into());
        }
        let gfid = wanted_gfid(&xdata)?;
        self.has_space(call, &xdata)?;
        let mode = self.brick.settings().directory_mode(libc::S_IFDIR | (mode & 0o7777));
        let (spot, warmth) = self.spot(loc).await?;
        let parent = spot.parent;
        let (uid, gid) = (call.caller().uid, call.caller().gid);
        let new = New { spot, gfid, uid, gid, mode, times: *call.times(), xdata };
        let job = move |brick: &Arc<Brick>, wait| mkdir(brick, wait, new.clone());
        let made = self.run_waiting(Class::EntryChange, warmth, job).await;
        self.after(&[parent], made)
    }
}

/// What is to be made, beside what all new objects have.
#[derive(Clone, Debug)]
enum Kind {
    Regular,
    /// A fifo, socket or device, with its number as GlusterFS has it.
    Node(u64),
    Symlink(CString),
}

fn make(brick: &Arc<Brick>, wait: Wait, new: &New, kind: &Kind) -> Result<FopResult<reply::Made>, Busy> {
    // Self-heal makes each name of a file by mknod: the first makes it, the others are links.
    if new.xdata.contains(keys::INTERNAL_FOP) && matches!(kind, Kind::Regular | Kind::Node(_)) {
        let _held = brick.objects.take(&[object_key(new.gfid)], wait)?;
        let known = known_object(brick, new.gfid);
        drop(_held);
        if known {
            let force = new.xdata.contains(keys::FORCE_REPLACE);
            return link::link(brick, wait, new.gfid, &new.spot, &new.times, force);
        }
    }
    if !new.xdata.contains(keys::FORCE_REPLACE) {
        return Ok(make_new(brick, new, kind, None));
    }
    let way = InTheWay::take(brick, wait, new.gfid, &new.spot, true)?;
    Ok(make_new(brick, new, kind, Some(&way)))
}

/// Whether a non-directory has the gfid; one that was unlinked while open gets its handle back.
fn known_object(brick: &Brick, gfid: Gfid) -> bool {
    match brick.stat_handle(gfid) {
        Ok(stat) => !(stat.is_symlink() && stat.nlink == 1),
        Err(_) => brick
            .at_handle(gfid, |dot, path| {
                brick.sys.rename_at(
                    brick.unlink_dir.fd(),
                    &gfid_name(gfid),
                    dot,
                    path,
                    RenameFlags::NOREPLACE,
                )
            })
            .is_ok(),
    }
}

fn make_new(
    brick: &Arc<Brick>,
    new: &New,
    kind: &Kind,
    way: Option<&InTheWay<'_>>,
) -> FopResult<reply::Made> {
    let spot = &new.spot;
    let before = brick.attrs_of_fd(spot.parent, &spot.dir)?;
    let victim = way.map_or(Gfid::NULL, |way| way.victim);
    let _intent = brick.intents.fill(Operation::Make, [new.gfid, victim], [Some(spot.named()), None]);
    let times = build(brick, new, kind, &before)?;
    let handle = HandlePath::new(new.gfid);
    let named = match way {
        Some(way) => way.give_name(brick, new.gfid, spot),
        None => {
            let (dot, path) = (brick.dot.fd(), handle.as_c_str());
            brick.sys.link_at(dot, path, spot.dir.fd(), spot.name.as_c_str()).map_err(in_parent)
        }
    };
    named.inspect_err(|_| brick.drop_handle(new.gfid))?;
    let stat = brick.sys.stat_at(spot.dir.fd(), spot.name.as_c_str())?;
    let iatt = Brick::made_attrs(new.gfid, &stat, times.as_ref());
    let postparent = brick.parent_after(spot.parent, &spot.dir, &before, &new.times);
    Ok(reply::Made { iatt, preparent: before.iatt, postparent, xdata: Xdata::NONE })
}

fn build(brick: &Arc<Brick>, new: &New, kind: &Kind, before: &Attrs) -> SysResult<Option<MdataTimes>> {
    match kind {
        Kind::Regular => {
            let (file, times) = brick.build_file(new, before, OpenFlags::empty(), |_| Ok(()))?;
            drop(file);
            Ok(times)
        }
        Kind::Node(rdev) => {
            let device = libc::makedev((rdev >> 32) as u32, *rdev as u32);
            brick.build_special(new, before, |dot, path, mode| brick.sys.mknod_at(dot, path, mode, device))
        }
        Kind::Symlink(target) => {
            brick.build_special(new, before, |dot, path, _| brick.sys.symlink_at(target, dot, path))
        }
    }
}

/// Makes a directory under a temporary name, its handle, then its name.
fn mkdir(brick: &Arc<Brick>, wait: Wait, mut new: New) -> Result<FopResult<reply::Made>, Busy> {
    // One mkdir of a gfid at a time: the temporary name is made of it.
    let _held = brick.objects.take(&[object_key(new.gfid)], wait)?;
    if let Err(error) = preop::check(brick, &new.spot.dir, &mut new.xdata, preop::Asker::Mkdir) {
        return Ok(Err(error));
    }
    Ok(mkdir_held(brick, &new))
}

fn mkdir_held(brick: &Arc<Brick>, new: &New) -> FopResult<reply::Made> {
    let spot = &new.spot;
    let before = brick.attrs_of_fd(spot.parent, &spot.dir)?;
    if create::exists(brick, spot)? {
        return Err(Errno::EXIST.into());
    }
    let _intent = brick.intents.fill(Operation::Mkdir, [new.gfid, Gfid::NULL], [Some(spot.named()), None]);
    let inherited = inherit::from_parent(brick, &spot.dir, &before.stat, new.mode, new.gid)?;
    let temp = gfid_name(new.gfid);
    let temp_dir = brick.temp_dir.fd();
    match brick.sys.mkdir_at(temp_dir, &temp, inherited.mode & 0o1777) {
        // Left by a failure.
        Err(Errno::EXIST) => {
            brick.sys.unlink_at(temp_dir, &temp, AtFlags::REMOVEDIR)?;
            brick.sys.mkdir_at(temp_dir, &temp, inherited.mode & 0o1777)?;
        }
        made => made?,
    }
    let finish = || -> SysResult<Option<MdataTimes>> {
        brick.own_path(temp_dir, &temp, new, &inherited)?;
        let times = brick.dress(XattrTarget::At(temp_dir, &temp), new)?;
        place(brick, new, &temp)?;
        Ok(times)
    };
    let times = match finish() {
        Ok(times) => times,
        Err(errno) => {
            if let Err(errno) = brick.sys.unlink_at(temp_dir, &temp, AtFlags::REMOVEDIR) {
                tracing::warn!(gfid = %new.gfid, %errno, "cannot remove a temporary directory; the next start will");
            }
            return Err(errno.into());
        }
    };
    let stat = brick.sys.stat_at(spot.dir.fd(), spot.name.as_c_str())?;
    let iatt = Brick::made_attrs(new.gfid, &stat, times.as_ref());
    let postparent = brick.parent_after(spot.parent, &spot.dir, &before, &new.times);
    Ok(reply::Made { iatt, preparent: before.iatt, postparent, xdata: Xdata::NONE })
}

/// Handle, then name.
fn place(brick: &Arc<Brick>, new: &New, temp: &std::ffi::CStr) -> SysResult<()> {
    let spot = &new.spot;
    let target = directory_target(spot.parent, &spot.name);
    match brick.at_handle(new.gfid, |dot, path| brick.sys.symlink_at(&target, dot, path)) {
        Ok(()) => move_in(brick, spot, temp).inspect_err(|_| brick.drop_handle(new.gfid)),
        Err(Errno::EXIST) => place_anew(brick, new, temp),
        Err(errno) => Err(errno),
    }
}

/// Another directory has the gfid: replicate moves a directory by making it anew where it shall be, and then moving over
/// what is in it. The handle goes to the new one.
fn place_anew(brick: &Arc<Brick>, new: &New, temp: &std::ffi::CStr) -> SysResult<()> {
    let spot = &new.spot;
    let handle = brick.stat_handle(new.gfid)?;
    if !handle.is_symlink() || handle.nlink != 1 {
        return Err(Errno::EXIST);
    }
    if brick.open_dir(new.gfid).is_ok() && !new.xdata.contains(keys::INTERNAL_FOP) {
        tracing::warn!(gfid = %new.gfid, "a directory of this gfid exists already; its handle goes to the new one");
    }
    let draft = brick.draft_dir_handle(new.gfid, spot.parent, &spot.name)?;
    move_in(brick, spot, temp).inspect_err(|_| brick.drop_draft(&draft))?;
    if let Err(errno) = brick.place_dir_handle(new.gfid, &draft) {
        brick.drop_draft(&draft);
        let (dir, back) = (spot.dir.fd(), brick.temp_dir.fd());
        brick.sys.rename_at(dir, spot.name.as_c_str(), back, temp, RenameFlags::NOREPLACE)?;
        return Err(errno);
    }
    brick.directories_epoch.fetch_add(1, std::sync::atomic::Ordering::AcqRel);
    Ok(())
}

fn move_in(brick: &Brick, spot: &Spot, temp: &std::ffi::CStr) -> SysResult<()> {
    let (from, to, name) = (brick.temp_dir.fd(), spot.dir.fd(), spot.name.as_c_str());
    match brick.sys.rename_at(from, temp, to, name, RenameFlags::NOREPLACE) {
        // A file system without the flag. Between the look and the move only a stranger could put something there, and a
        // directory replaces nothing but an empty directory.
        Err(Errno::INVAL) => match brick.sys.stat_at(to, name) {
            Ok(_) => Err(Errno::EXIST),
            Err(Errno::NOENT) => {
                brick.sys.rename_at(from, temp, to, name, RenameFlags::empty()).map_err(in_parent)
            }
            Err(errno) => Err(errno),
        },
        moved => moved.map_err(in_parent),
    }
}
