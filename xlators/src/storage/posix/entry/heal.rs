//! Repairs that a named lookup makes, as stock does: an entry without gfid gets one, an object without handle gets it back.
//!
//! Bricks get into such states by stock's crashes, by restored backups, and by hands. The jobs here are rare, so they simply
//! wait for the stripes they need, also on a core.

use std::sync::Arc;

use kiln_uring::sys::{Stat, XattrFlags, XattrTarget};
use kiln_uring::{Errno, File};

use super::wanted_gfid;
use crate::keys;
use crate::storage::posix::Brick;
use crate::storage::posix::gfid2path::Gfid2Path;
use crate::storage::posix::intents::Operation;
use crate::storage::posix::stripes::entry_key;
use crate::types::{Gfid, Name, Xdata};

/// Gives the entry `name` the gfid that the lookup asks for (`gfid-req`), and its handle. Null for a lookup that does not
/// mind (`gfidless-lookup`).
///
/// # Errors
/// `ENODATA` when the lookup brought none, or one that another object has.
pub fn adopt(
    brick: &Arc<Brick>,
    parent: Gfid,
    dir: &File,
    name: &Name,
    stat: &Stat,
    xdata: &Xdata,
) -> Result<Gfid, Errno> {
    let Ok(gfid) = wanted_gfid(xdata) else {
        return if xdata.is_set(keys::GFIDLESS_LOOKUP) { Ok(Gfid::NULL) } else { Err(Errno::NODATA) };
    };
    let target = XattrTarget::At(dir.fd(), name.as_c_str());
    let _name = brick.entries.lock(&[entry_key(parent, name.as_bytes())]);
    match brick.gfid_of(target) {
        // Somebody was faster.
        Ok(gfid) => return Ok(gfid),
        Err(Errno::NODATA) => {}
        Err(errno) => return Err(errno),
    }
    let _intent = brick.intents.fill(Operation::Heal, [gfid, Gfid::NULL], [Some((parent, name)), None]);
    if let Ok(handle) = brick.stat_handle(gfid) {
        let same = match stat.is_dir() {
            true => brick.parent_of_dir(gfid).is_ok_and(|(found, its)| found == parent && its == *name),
            false => (handle.dev, handle.ino) == (stat.dev, stat.ino),
        };
        if !same {
            brick.damaged(parent, &format!("entry {name} has no gfid, and {gfid} belongs to another object"));
            return Err(Errno::NODATA);
        }
    }
    brick.sys.setxattr(target, keys::GFID, gfid.as_bytes(), XattrFlags::CREATE)?;
    if stat.is_dir() {
        brick.set_dir_handle(gfid, parent, name)?;
    } else {
        make_handle(brick, gfid, dir, name)?;
        let _ = brick.count_name(target, parent);
        if brick.settings().gfid2path {
            let path = Gfid2Path::new(parent, name);
            // As with a rename: nothing but paths in messages depends on it.
            let _ = brick.sys.setxattr(target, &path.key, &path.value, XattrFlags::empty());
        }
    }
    tracing::info!(%gfid, %parent, %name, "gave an entry without gfid one");
    Ok(gfid)
}

/// Makes the missing handle of a non-directory.
///
/// # Errors
/// Those of `linkat(2)`.
pub fn relink(brick: &Arc<Brick>, gfid: Gfid, parent: Gfid, dir: &File, name: &Name) -> Result<(), Errno> {
    let _name = brick.entries.lock(&[entry_key(parent, name.as_bytes())]);
    let _intent = brick.intents.fill(Operation::Heal, [gfid, Gfid::NULL], [Some((parent, name)), None]);
    match make_handle(brick, gfid, dir, name) {
        Ok(()) => tracing::info!(%gfid, %parent, %name, "made a missing handle"),
        Err(Errno::EXIST) => {
            let stat = brick.sys.stat_at(dir.fd(), name.as_c_str())?;
            if brick.stat_handle(gfid).is_ok_and(|handle| handle.ino != stat.ino) {
                brick.damaged(
                    gfid,
                    &format!("entry {name} of {parent} has this gfid, but the handle is another object"),
                );
            }
        }
        Err(errno) => return Err(errno),
    }
    Ok(())
}

fn make_handle(brick: &Brick, gfid: Gfid, dir: &File, name: &Name) -> Result<(), Errno> {
    brick.at_handle(gfid, |dot, path| brick.sys.link_at(dir.fd(), name.as_c_str(), dot, path))
}

/// Whether the handle of the directory `gfid` says that it is `name` in `parent`.
#[must_use]
pub fn dir_handle_fits(brick: &Brick, gfid: Gfid, parent: Gfid, name: &Name) -> bool {
    gfid.is_null() || brick.parent_of_dir(gfid).is_ok_and(|(found, its)| found == parent && its == *name)
}

/// Makes the handle of a directory that a lookup has found as `name` in `parent` say so. True when it was changed.
///
/// # Errors
/// Those of making a symbolic link; `EEXIST` when the handle leads to another directory with this gfid.
pub fn set_dir_handle(
    brick: &Arc<Brick>,
    gfid: Gfid,
    parent: Gfid,
    dir: &File,
    name: &Name,
) -> Result<bool, Errno> {
    // A rename may be under way; its lock is that of the name.
    let _name = brick.entries.lock(&[entry_key(parent, name.as_bytes())]);
    let target = XattrTarget::At(dir.fd(), name.as_c_str());
    if brick.gfid_of(target) != Ok(gfid) || dir_handle_fits(brick, gfid, parent, name) {
        return Ok(false);
    }
    let stat = brick.sys.stat_at(dir.fd(), name.as_c_str())?;
    if let Ok(other) = brick.open_dir(gfid)
        && brick.sys.stat(other.fd())?.ino != stat.ino
    {
        brick.damaged(gfid, &format!("two directories have this gfid, one of them {name} in {parent}"));
        return Err(Errno::EXIST);
    }
    if brick.stat_handle(gfid).is_ok_and(|handle| !handle.is_symlink() || handle.nlink > 1) {
        brick.damaged(gfid, &format!("directory {name} in {parent} has the gfid of something else"));
        return Err(Errno::EXIST);
    }
    let _intent = brick.intents.fill(Operation::Heal, [gfid, Gfid::NULL], [Some((parent, name)), None]);
    brick.set_dir_handle(gfid, parent, name)?;
    tracing::info!(%gfid, %parent, %name, "made the handle of a directory anew");
    Ok(true)
}
