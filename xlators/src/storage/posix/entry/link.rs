//! link: one more name.

use std::sync::Arc;

use kiln_uring::sys::{RenameFlags, XattrFlags, XattrTarget};
use kiln_uring::{Class, Errno, SysResult};

use super::remove::LostName;
use super::{Spot, in_parent};
use crate::call::{Call, CallTimes};
use crate::error::FopResult;
use crate::fop::{reply, request};
use crate::keys;
use crate::storage::posix::gfid2path::Gfid2Path;
use crate::storage::posix::handle::{HandlePath, gfid_name};
use crate::storage::posix::intents::Operation;
use crate::storage::posix::mdata::Role;
use crate::storage::posix::stripes::{Busy, Held, Wait, object_key};
use crate::storage::posix::{Brick, Posix};
use crate::types::{Gfid, IaType, Xdata};

/// Links on disk up to which a file's names are kept as `trusted.gfid2path` (`MAX_GFID2PATH_LINK_SUP` of v10.3).
pub(in crate::storage::posix) const MAX_PATHS: u32 = 500;

impl Posix {
    pub(in crate::storage::posix) async fn serve_link(
        &self,
        call: &Call,
        req: request::Link,
    ) -> FopResult<reply::Made> {
        let request::Link { old, new, xdata } = req;
        self.has_space(call, &xdata)?;
        let gfid = self.gfid_of_loc(old).await?;
        let (spot, warmth) = self.spot(new).await?;
        let parent = spot.parent;
        let times = *call.times();
        let force = xdata.contains(keys::FORCE_REPLACE);
        let job = move |brick: &Arc<Brick>, wait| link(brick, wait, gfid, &spot, &times, force);
        let made = self.run_waiting(Class::EntryChange, warmth, job).await;
        let made = self.after(&[parent], made)?;
        self.touch_object(gfid);
        Ok(made)
    }
}

/// Gives `gfid` the name of `spot`. With `force` it takes the place of a distribute link file.
pub(super) fn link(
    brick: &Arc<Brick>,
    wait: Wait,
    gfid: Gfid,
    spot: &Spot,
    times: &CallTimes,
    force: bool,
) -> Result<FopResult<reply::Made>, Busy> {
    let way = InTheWay::take(brick, wait, gfid, spot, force)?;
    Ok(link_held(brick, gfid, spot, times, &way))
}

/// A distribute link file that may have the name, and the stripes that replacing it takes.
#[derive(Debug)]
pub(super) struct InTheWay<'a> {
    /// Its gfid; null when there is none, or nothing may be replaced.
    pub victim: Gfid,
    _name: Option<Held<'a>>,
    _objects: Held<'a>,
}

impl<'a> InTheWay<'a> {
    /// Takes the stripe of `gfid`, and for a replacement those of the name and of what has it.
    pub fn take(brick: &'a Brick, wait: Wait, gfid: Gfid, spot: &Spot, force: bool) -> Result<Self, Busy> {
        let name = if force { Some(brick.entries.take(&[spot.key()], wait)?) } else { None };
        let victim = match force && is_link_file(brick, spot) {
            true => brick.gfid_of(spot.target()).unwrap_or(Gfid::NULL),
            false => Gfid::NULL,
        };
        let objects = brick.objects.take(&[object_key(gfid), object_key(victim)], wait)?;
        Ok(Self { victim, _name: name, _objects: objects })
    }

    /// Gives the object of a handle its name, in the place of the link file if that has it.
    pub fn give_name(&self, brick: &Brick, gfid: Gfid, spot: &Spot) -> SysResult<()> {
        let handle = HandlePath::new(gfid);
        let (dot, dir) = (brick.dot.fd(), spot.dir.fd());
        let linked = brick.sys.link_at(dot, handle.as_c_str(), dir, spot.name.as_c_str());
        if linked != Err(Errno::EXIST) || self.victim.is_null() || self.victim == gfid {
            return linked.map_err(in_parent);
        }
        let stat = brick.sys.stat_at(dir, spot.name.as_c_str())?;
        let draft = gfid_name(gfid);
        let temp = brick.temp_dir.fd();
        brick.sys.link_at(dot, handle.as_c_str(), temp, &draft)?;
        let replaced = brick.sys.rename_at(temp, &draft, dir, spot.name.as_c_str(), RenameFlags::empty());
        replaced.map_err(in_parent).inspect_err(|_| brick.drop_draft(&draft))?;
        let lost = LostName { gfid: self.victim, nlink: stat.nlink, parent: spot.parent, name: &spot.name };
        lost.settle(brick, &CallTimes::default());
        Ok(())
    }
}

fn link_held(
    brick: &Arc<Brick>,
    gfid: Gfid,
    spot: &Spot,
    times: &CallTimes,
    way: &InTheWay<'_>,
) -> FopResult<reply::Made> {
    let handle = HandlePath::new(gfid);
    let stat = brick.stat_handle(gfid).map_err(in_parent)?;
    let before = brick.attrs_of_fd(spot.parent, &spot.dir)?;
    let target = XattrTarget::At(brick.dot.fd(), handle.as_c_str());
    if stat.is_symlink() && stat.nlink == 1 && brick.gfid_of(target).is_err() {
        // A directory's handle.
        return Err(Errno::PERM.into());
    }
    let settings = brick.settings();
    if settings.max_hardlinks != 0 && stat.nlink.saturating_sub(1) >= settings.max_hardlinks {
        return Err(Errno::MLINK.into());
    }
    let _intent = brick.intents.fill(Operation::Link, [gfid, way.victim], [Some(spot.named()), None]);
    let path =
        (settings.gfid2path && stat.nlink <= MAX_PATHS).then(|| Gfid2Path::new(spot.parent, &spot.name));
    let mut added = false;
    if let Some(path) = &path {
        match brick.sys.setxattr(target, &path.key, &path.value, XattrFlags::CREATE) {
            Ok(()) => added = true,
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    if let Err(errno) = way.give_name(brick, gfid, spot) {
        if let Some(path) = path.filter(|_| added) {
            let _ = brick.sys.removexattr(target, &path.key);
        }
        return Err(errno.into());
    }
    if let Err(errno) = brick.count_name(target, spot.parent) {
        tracing::warn!(%gfid, %errno, "cannot keep trusted.pgfid");
    }
    let stat = brick.sys.stat_at(brick.dot.fd(), handle.as_c_str())?;
    let mut attrs = brick.attrs(gfid, stat, target)?;
    brick.move_times(target, &mut attrs, times, Role::Own);
    let postparent = brick.parent_after(spot.parent, &spot.dir, &before, times);
    Ok(reply::Made { iatt: attrs.iatt, preparent: before.iatt, postparent, xdata: Xdata::NONE })
}

/// Whether the entry is a distribute link file.
pub(super) fn is_link_file(brick: &Brick, spot: &Spot) -> bool {
    let mode = brick.sys.stat_at(spot.dir.fd(), spot.name.as_c_str()).map_or(0, |stat| stat.mode);
    IaType::from_mode(mode) == IaType::Regular
        && mode & 0o7777 == libc::S_ISVTX
        && brick.sys.getxattr(spot.target(), keys::DHT_LINKTO, &mut []).is_ok()
}
