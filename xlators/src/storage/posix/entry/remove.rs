//! unlink and rmdir.

use std::sync::Arc;

use kiln_uring::sys::{RenameFlags, Stat, XattrTarget};
use kiln_uring::{AtFlags, Class, Errno, SysResult};

use super::{Spot, link};
use crate::call::{Call, CallTimes};
use crate::error::FopResult;
use crate::fop::{reply, request};
use crate::keys;
use crate::storage::posix::gfid2path::Gfid2Path;
use crate::storage::posix::handle::{HandlePath, gfid_name};
use crate::storage::posix::intents::Operation;
use crate::storage::posix::mdata::Role;
use crate::storage::posix::stripes::{Busy, Wait, object_key};
use crate::storage::posix::{Attrs, Brick, Posix};
use crate::types::{Dict, Gfid, Iatt, Value, Xdata};

/// Blocks of 512 bytes whose freeing a core does itself; more takes long enough to be a helper's work.
pub(in crate::storage::posix) const QUICK_BLOCKS: u64 = 2048;

impl Posix {
    pub(in crate::storage::posix) async fn serve_unlink(
        &self,
        call: &Call,
        req: request::Unlink,
    ) -> FopResult<reply::Removed> {
        let request::Unlink { loc, xdata, .. } = req;
        let (spot, warmth) = self.spot(loc).await?;
        let parent = spot.parent;
        let times = *call.times();
        let job = move |brick: &Arc<Brick>, wait| unlink(brick, wait, &spot, &times, &xdata);
        let removed = self.run_waiting(Class::EntryChange, warmth, job).await;
        self.after(&[parent], removed)
    }

    pub(in crate::storage::posix) async fn serve_rmdir(
        &self,
        call: &Call,
        req: request::Rmdir,
    ) -> FopResult<reply::Removed> {
        let request::Rmdir { loc, flags, .. } = req;
        let (spot, warmth) = self.spot(loc).await?;
        let parent = spot.parent;
        let times = *call.times();
        let job = move |brick: &Arc<Brick>, wait| rmdir(brick, wait, &spot, &times, flags != 0);
        let (removed, gfid) = self.run_waiting(Class::EntryChange, warmth, job).await;
        if removed.is_ok() {
            self.drop_directory(gfid);
        }
        self.after(&[parent], removed)
    }
}

fn unlink(
    brick: &Arc<Brick>,
    wait: Wait,
    spot: &Spot,
    times: &CallTimes,
    xdata: &Xdata,
) -> Result<FopResult<reply::Removed>, Busy> {
    let _name = brick.entries.take(&[spot.key()], wait)?;
    // The name is held, so it stays with its gfid; the links are looked at when nobody else can change them.
    let gfid = match brick.gfid_of(spot.target()) {
        Err(Errno::NODATA) => Gfid::NULL,
        Err(errno) => return Ok(Err(missing(brick, spot, errno).into())),
        Ok(gfid) => gfid,
    };
    let _object = brick.objects.take(&[object_key(gfid)], wait)?;
    let stat = match brick.sys.stat_at(spot.dir.fd(), spot.name.as_c_str()) {
        Err(errno) => return Ok(Err(missing(brick, spot, errno).into())),
        Ok(stat) if stat.is_dir() => return Ok(Err(Errno::ISDIR.into())),
        Ok(stat) => stat,
    };
    let large = stat.nlink <= 2 && stat.blocks > QUICK_BLOCKS && brick.opens.get(gfid).total == 0;
    if large && wait == Wait::Never {
        return Err(Busy);
    }
    Ok(unlink_held(brick, spot, gfid, stat, times, xdata))
}

/// The entry's gfid (null when it has none) and `stat`.
pub(super) fn find(brick: &Brick, spot: &Spot) -> SysResult<(Gfid, Stat)> {
    let stat = brick.sys.stat_at(spot.dir.fd(), spot.name.as_c_str())?;
    match brick.gfid_of(spot.target()) {
        Err(Errno::NODATA) => Ok((Gfid::NULL, stat)),
        gfid => Ok((gfid?, stat)),
    }
}

/// An entry that is not there: ENOENT, unless its directory is not there either.
pub(super) fn missing(brick: &Brick, spot: &Spot, errno: Errno) -> Errno {
    let gone = errno == Errno::NOENT && brick.attrs_of_fd(spot.parent, &spot.dir).is_err();
    if gone { Errno::STALE } else { errno }
}

fn unlink_held(
    brick: &Arc<Brick>,
    spot: &Spot,
    gfid: Gfid,
    stat: Stat,
    times: &CallTimes,
    xdata: &Xdata,
) -> FopResult<reply::Removed> {
    let before = brick.attrs_of_fd(spot.parent, &spot.dir)?;
    if xdata.is_set(keys::DONT_UNLINK_OPEN) && brick.opens.get(gfid).total > 0 {
        return Err(Errno::BUSY.into());
    }
    if xdata.is_set(keys::UNLINK_ONLY_LINKTO) && !link::is_link_file(brick, spot) {
        return Err(Errno::BUSY.into());
    }
    let mut iatt = Iatt::from_stat(gfid, &stat);
    if xdata.contains(keys::IATT_IN_XATTR) {
        iatt = brick.attrs(gfid, stat, spot.target())?.iatt;
    }
    let intent = brick.intents.fill(Operation::Unlink, [gfid, Gfid::NULL], [Some(spot.named()), None]);
    brick.sys.unlink_at(spot.dir.fd(), spot.name.as_c_str(), AtFlags::empty())?;
    brick.gfids.forget(&stat);
    let lost = LostName { gfid, nlink: stat.nlink, parent: spot.parent, name: &spot.name };
    lost.settle(brick, times);
    drop(intent);
    let postparent = brick.parent_after(spot.parent, &spot.dir, &before, times);
    let mut answer = Dict::new();
    let links = u64::from(iatt.nlink);
    answer.set(keys::LINK_COUNT, Value::Uint(if xdata.contains(keys::LINK_COUNT) { links } else { 0 }));
    if xdata.contains(keys::FILE_BLOCK_COUNT) {
        answer.set(keys::FILE_BLOCK_COUNT, Value::Uint(iatt.blocks));
    }
    if xdata.contains(keys::REQUEST_LINK_COUNT) {
        answer.set(keys::RESPONSE_LINK_COUNT, Value::Uint(links));
    }
    if xdata.contains(keys::IATT_IN_XATTR) {
        answer.set(keys::IATT_IN_XATTR, Value::Iatt(Box::new(iatt)));
    }
    Ok(reply::Removed { preparent: before.iatt, postparent, xdata: Xdata::new(answer) })
}

/// A non-directory that has just lost a name.
#[derive(Clone, Copy, Debug)]
pub(super) struct LostName<'a> {
    pub gfid: Gfid,
    /// Links on disk before.
    pub nlink: u32,
    pub parent: Gfid,
    pub name: &'a crate::types::Name,
}

impl LostName<'_> {
    /// After the last name the handle goes, or waits in `unlink/` for the last close; else the name's `gfid2path` goes. The
    /// object's stripe must be held. The name is gone, so that failures are for the log only.
    pub fn settle(self, brick: &Brick, times: &CallTimes) {
        let Self { gfid, nlink, parent, name } = self;
        if gfid.is_null() {
            return;
        }
        if nlink <= 2 {
            match brick.opens.get(gfid).total {
                // Without a handle (nlink 1) there is nothing to remove, and what bears the gfid now is another's.
                _ if nlink < 2 => {}
                0 => brick.drop_handle(gfid),
                _ => park(brick, gfid),
            }
            return;
        }
        let handle = HandlePath::new(gfid);
        let target = XattrTarget::At(brick.dot.fd(), handle.as_c_str());
        forget_path(brick, target, gfid, parent, name);
        brick.uncount_name(target, gfid, parent);
        if !times.flags.is_empty()
            && let Ok(stat) = brick.sys.stat_at(brick.dot.fd(), handle.as_c_str())
            && let Ok(mut attrs) = brick.attrs(gfid, stat, target)
        {
            brick.move_times(target, &mut attrs, times, Role::Own);
        }
    }
}

/// Removes the `gfid2path` of a name that is gone; the option may have been off when the name was made.
pub(super) fn forget_path(
    brick: &Brick,
    target: XattrTarget<'_>,
    gfid: Gfid,
    parent: Gfid,
    name: &crate::types::Name,
) {
    match brick.sys.removexattr(target, &Gfid2Path::new(parent, name).key) {
        Ok(()) | Err(Errno::NODATA) => {}
        Err(errno) => {
            tracing::warn!(%gfid, %errno, "cannot remove the trusted.gfid2path of a name that is gone")
        }
    }
}

fn park(brick: &Brick, gfid: Gfid) {
    let (dot, unlink_dir) = (brick.dot.fd(), brick.unlink_dir.fd());
    let parked = brick.sys.rename_at(
        dot,
        HandlePath::new(gfid).as_c_str(),
        unlink_dir,
        &gfid_name(gfid),
        RenameFlags::empty(),
    );
    match parked {
        Ok(()) => brick.opens.parked(gfid),
        Err(errno) => {
            tracing::warn!(%gfid, %errno, "cannot park a file that is still open; it loses its handle");
            brick.drop_handle(gfid);
        }
    }
}

fn rmdir(
    brick: &Arc<Brick>,
    wait: Wait,
    spot: &Spot,
    times: &CallTimes,
    with_contents: bool,
) -> Result<(FopResult<reply::Removed>, Gfid), Busy> {
    let _name = brick.entries.take(&[spot.key()], wait)?;
    let (gfid, stat) = match find(brick, spot) {
        Ok(found) => found,
        Err(errno) => return Ok((Err(missing(brick, spot, errno).into()), Gfid::NULL)),
    };
    if !stat.is_dir() {
        return Ok((Err(Errno::NOTDIR.into()), gfid));
    }
    let _object = brick.objects.take(&[object_key(gfid)], wait)?;
    let removed = rmdir_held(brick, spot, gfid, times, with_contents);
    brick.gfids.forget(&stat);
    Ok((removed, gfid))
}

fn rmdir_held(
    brick: &Arc<Brick>,
    spot: &Spot,
    gfid: Gfid,
    times: &CallTimes,
    with_contents: bool,
) -> FopResult<reply::Removed> {
    let before: Attrs = brick.attrs_of_fd(spot.parent, &spot.dir)?;
    let _intent = brick.intents.fill(Operation::Rmdir, [gfid, Gfid::NULL], [Some(spot.named()), None]);
    if with_contents {
        to_landfill(brick, spot, gfid)?;
    } else {
        brick.sys.unlink_at(spot.dir.fd(), spot.name.as_c_str(), AtFlags::REMOVEDIR)?;
    }
    if !gfid.is_null() {
        brick.remove_dir_handle(gfid, spot.parent, &spot.name);
    }
    let postparent = brick.parent_after(spot.parent, &spot.dir, &before, times);
    Ok(reply::Removed { preparent: before.iatt, postparent, xdata: Xdata::NONE })
}

/// Moves a directory with all that is in it to where the janitor deletes it.
fn to_landfill(brick: &Brick, spot: &Spot, gfid: Gfid) -> SysResult<()> {
    let landfill = brick.landfill_dir.fd();
    let to = |name: &std::ffi::CStr| {
        brick.sys.rename_at(spot.dir.fd(), spot.name.as_c_str(), landfill, name, RenameFlags::NOREPLACE)
    };
    match to(&gfid_name(gfid)) {
        // The janitor has not come by since the last directory of this gfid (or none).
        Err(Errno::EXIST) => {
            let mut bytes = [0; 16];
            brick.sys.random(&mut bytes);
            to(&gfid_name(Gfid::from_random(bytes)))
        }
        moved => moved,
    }
}
