//! link: one more name.

use std::sync::Arc;

use kiln_uring::sys::{XattrFlags, XattrTarget};
use kiln_uring::{AtFlags, Class, Errno};

use super::{Spot, in_parent};
use crate::call::{Call, CallTimes};
use crate::error::FopResult;
use crate::fop::{reply, request};
use crate::keys;
use crate::storage::posix::gfid2path::Gfid2Path;
use crate::storage::posix::handle::HandlePath;
use crate::storage::posix::intents::Operation;
use crate::storage::posix::mdata::Role;
use crate::storage::posix::stripes::{Busy, Wait, object_key};
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

/// Gives `gfid` the name of `spot`. With `force` a distribute link file in the way is removed.
pub(super) fn link(
    brick: &Arc<Brick>,
    wait: Wait,
    gfid: Gfid,
    spot: &Spot,
    times: &CallTimes,
    force: bool,
) -> Result<FopResult<reply::Made>, Busy> {
    let names = if force { Some(brick.entries.take(&[spot.key()], wait)?) } else { None };
    let victim = match force {
        true => brick.gfid_of(spot.target()).unwrap_or(Gfid::NULL),
        false => Gfid::NULL,
    };
    let _objects = brick.objects.take(&[object_key(gfid), object_key(victim)], wait)?;
    let mut made = link_held(brick, gfid, spot, times);
    if names.is_some()
        && made.as_ref().is_err_and(|error| error.errno == Errno::EXIST)
        && remove_link_file(brick, spot, victim)
    {
        made = link_held(brick, gfid, spot, times);
    }
    Ok(made)
}

fn link_held(brick: &Arc<Brick>, gfid: Gfid, spot: &Spot, times: &CallTimes) -> FopResult<reply::Made> {
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
    let _intent = brick.intents.fill(Operation::Link, [gfid, Gfid::NULL], [Some(spot.named()), None]);
    let path = (settings.gfid2path && stat.nlink <= MAX_PATHS).then(|| Gfid2Path::new(spot.parent, &spot.name));
    let mut added = false;
    if let Some(path) = &path {
        match brick.sys.setxattr(target, &path.key, &path.value, XattrFlags::CREATE) {
            Ok(()) => added = true,
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    let linked = brick.sys.link_at(brick.dot.fd(), handle.as_c_str(), spot.dir.fd(), spot.name.as_c_str());
    if let Err(errno) = linked {
        if let Some(path) = path.filter(|_| added) {
            let _ = brick.sys.removexattr(target, &path.key);
        }
        return Err(in_parent(errno).into());
    }
    let stat = brick.sys.stat_at(brick.dot.fd(), handle.as_c_str())?;
    let mut attrs = brick.attrs(gfid, stat, target)?;
    brick.move_times(target, &mut attrs, times, Role::Own);
    let postparent = brick.parent_after(spot.parent, &spot.dir, &before, times);
    Ok(reply::Made { iatt: attrs.iatt, preparent: before.iatt, postparent, xdata: Xdata::NONE })
}

/// Removes the entry if it is a distribute link file: mode 01000, and a `linkto`. True when it is gone. The stripes of the
/// name and of `victim` must be held.
pub(super) fn remove_link_file(brick: &Arc<Brick>, spot: &Spot, victim: Gfid) -> bool {
    if !is_link_file(brick, spot) || brick.gfid_of(spot.target()) != Ok(victim) {
        return false;
    }
    let _intent = brick.intents.fill(Operation::Unlink, [victim, Gfid::NULL], [Some(spot.named()), None]);
    let gone = brick.sys.unlink_at(spot.dir.fd(), spot.name.as_c_str(), AtFlags::empty()).is_ok();
    if gone && brick.stat_handle(victim).is_ok_and(|stat| stat.nlink == 1) {
        brick.drop_handle(victim);
    }
    gone
}

/// Whether the entry is a distribute link file.
pub(super) fn is_link_file(brick: &Brick, spot: &Spot) -> bool {
    let mode = brick.sys.stat_at(spot.dir.fd(), spot.name.as_c_str()).map_or(0, |stat| stat.mode);
    IaType::from_mode(mode) == IaType::Regular
        && mode & 0o7777 == libc::S_ISVTX
        && brick.sys.getxattr(spot.target(), keys::DHT_LINKTO, &mut []).is_ok()
}
