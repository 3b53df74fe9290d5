//! Finishing, or undoing, what an earlier process left in the slots of its intents.
//!
//! Nothing is done on the word of a slot alone: it tells which objects and names to look at, and what is found there decides.
//! So it does no harm when a stock brick served the directory in between, and none when recovery itself is interrupted.

use std::collections::BTreeSet;

use kiln_uring::sys::{OpenFlags, Stat, XattrFlags, XattrTarget};
use kiln_uring::{AtFlags, Errno, File, How, SysResult};

use super::remove::forget_path;
use crate::storage::posix::Brick;
use crate::storage::posix::gfid2path::Gfid2Path;
use crate::storage::posix::handle::HandlePath;
use crate::storage::posix::intents::Intent;
use crate::types::{Gfid, Name};

/// Looks after every object of `intents`. Returns how many things were mended.
pub fn recover(brick: &Brick, intents: &[Intent]) -> usize {
    let mut mended = 0;
    // Directories first, and until nothing moves: what is in a directory is found through its handle.
    for _ in 0..=intents.len() {
        let moved =
            each_object(intents).filter(|(gfid, intent)| find_directory(brick, *gfid, intent)).count();
        mended += moved;
        if moved == 0 {
            break;
        }
    }
    mended += each_object(intents).filter(|(gfid, intent)| settle(brick, *gfid, intent)).count();
    if !intents.is_empty() {
        tracing::info!(
            operations = intents.len(),
            mended,
            "finished what an earlier process left in the middle"
        );
    }
    mended
}

fn each_object(intents: &[Intent]) -> impl Iterator<Item = (Gfid, &Intent)> {
    let all = intents.iter().flat_map(|intent| intent.gfids.map(|gfid| (gfid, intent)));
    all.filter(|(gfid, _)| !gfid.is_null() && !gfid.is_root())
}

fn names(intent: &Intent) -> impl Iterator<Item = &(Gfid, Name)> {
    intent.names.iter().flatten()
}

/// The entry, if it has this gfid.
fn entry_with(brick: &Brick, parent: Gfid, name: &Name, gfid: Gfid) -> Option<(std::sync::Arc<File>, Stat)> {
    let dir = brick.open_dir(parent).ok()?;
    let stat = brick.sys.stat_at(dir.fd(), name.as_c_str()).ok()?;
    (brick.gfid_of(XattrTarget::At(dir.fd(), name.as_c_str())) == Ok(gfid)).then_some((dir, stat))
}

/// What a handle is.
enum Handle {
    Missing,
    /// A directory's.
    Symlink,
    Object(Stat),
}

fn look(brick: &Brick, gfid: Gfid) -> SysResult<Handle> {
    let stat = match brick.stat_handle(gfid) {
        Err(Errno::NOENT) => return Ok(Handle::Missing),
        stat => stat?,
    };
    let path = HandlePath::new(gfid);
    let dressed = || brick.gfid_of(XattrTarget::At(brick.dot.fd(), path.as_c_str())) != Err(Errno::NODATA);
    // A user's symbolic link in the making has one link, too.
    Ok(if stat.is_symlink() && stat.nlink == 1 && !dressed() {
        Handle::Symlink
    } else {
        Handle::Object(stat)
    })
}

/// Makes the handle of a directory lead to it again. True when it did not.
fn find_directory(brick: &Brick, gfid: Gfid, intent: &Intent) -> bool {
    if matches!(look(brick, gfid), Ok(Handle::Object(_)) | Err(_)) {
        return false;
    }
    let is_there = |(parent, name): &(Gfid, Name)| {
        entry_with(brick, *parent, name, gfid).is_some_and(|(_, stat)| stat.is_dir())
    };
    if brick.parent_of_dir(gfid).is_ok_and(|place| is_there(&place)) {
        return false;
    }
    let Some((parent, name)) = names(intent).find(|place| is_there(place)) else { return false };
    report(gfid, brick.set_dir_handle(gfid, *parent, name))
}

/// Everything but the place of a directory. True when something was wrong.
fn settle(brick: &Brick, gfid: Gfid, intent: &Intent) -> bool {
    match look(brick, gfid) {
        Ok(Handle::Missing) => {
            let found = names(intent).find_map(|(parent, name)| {
                let (dir, stat) = entry_with(brick, *parent, name, gfid)?;
                (!stat.is_dir()).then_some((dir, name))
            });
            let Some((dir, name)) = found else { return false };
            let linked =
                brick.at_handle(gfid, |dot, path| brick.sys.link_at(dir.fd(), name.as_c_str(), dot, path));
            report(gfid, linked) | settle_paths(brick, gfid, intent)
        }
        Ok(Handle::Symlink) => match brick.open_dir(gfid) {
            Ok(_) => false,
            Err(Errno::NOENT | Errno::STALE | Errno::NOTDIR) => report(gfid, brick.remove_handle(gfid)),
            Err(errno) => report(gfid, Err(errno)),
        },
        Ok(Handle::Object(stat)) if stat.nlink == 1 => report(gfid, brick.remove_handle(gfid)),
        Ok(Handle::Object(_)) => settle_paths(brick, gfid, intent),
        Err(errno) => report(gfid, Err(errno)),
    }
}

/// Each name of the intent has a `gfid2path` if it is a name of the object, and none if not.
fn settle_paths(brick: &Brick, gfid: Gfid, intent: &Intent) -> bool {
    let path = HandlePath::new(gfid);
    let target = XattrTarget::At(brick.dot.fd(), path.as_c_str());
    let Ok(own) = brick.stat_handle(gfid) else { return false };
    let mut changed = false;
    for (parent, name) in names(intent) {
        let entry = brick.open_dir(*parent).and_then(|dir| brick.sys.stat_at(dir.fd(), name.as_c_str()));
        let path = Gfid2Path::new(*parent, name);
        let has = brick.sys.getxattr(target, &path.key, &mut []).is_ok();
        let is_name = entry.is_ok_and(|stat| (stat.dev, stat.ino) == (own.dev, own.ino));
        if has && !is_name {
            forget_path(brick, target, gfid, *parent, name);
            changed = true;
        } else if is_name && !has && brick.settings().gfid2path && own.nlink <= super::link::MAX_PATHS {
            changed |= report(gfid, brick.sys.setxattr(target, &path.key, &path.value, XattrFlags::empty()));
        }
    }
    // The paths are what the names are now, unless there are too many of them, or none are kept.
    let settings = brick.settings();
    if settings.update_link_count_parent && settings.gfid2path && own.nlink <= super::link::MAX_PATHS {
        let paths = paths(brick, target);
        for (parent, _) in names(intent) {
            let count = paths.iter().filter(|(its, _)| its == parent).count();
            match brick.recount_names(target, *parent, count as u32) {
                Ok(recounted) => changed |= recounted,
                Err(errno) => changed |= report(gfid, Err(errno)),
            }
        }
    }
    changed
}

/// Parents and names in an object's `gfid2path`s.
fn paths(brick: &Brick, target: XattrTarget<'_>) -> Vec<(Gfid, Name)> {
    // The most that the kernel lists.
    let mut keys = vec![0; 65536];
    let len = brick.sys.listxattr(target, &mut keys).unwrap_or(0);
    let keys = keys[..len].split_inclusive(|byte| *byte == 0).filter(|key| Gfid2Path::is_key(key));
    let value = |key: &[u8]| {
        let key = std::ffi::CStr::from_bytes_with_nul(key).ok()?;
        let mut value = [0; 1024];
        let len = brick.sys.getxattr(target, key, &mut value).ok()?;
        Gfid2Path::parse(&value[..len])
    };
    keys.filter_map(value).collect()
}

/// Tells of a failure; recovery goes on with the rest, and the offline check finds what remains.
fn report(gfid: Gfid, result: SysResult<()>) -> bool {
    if let Err(errno) = result {
        tracing::error!(%gfid, %errno, "cannot mend what an earlier process left; `kiln check` tells more");
    }
    true
}

/// Removes what is in a directory of `.glusterfs` that starts empty: parked files, half-made directories.
///
/// # Errors
/// Those of listing it.
pub fn empty(brick: &Brick, dir: &File) -> SysResult<usize> {
    let mut stuck = BTreeSet::new();
    let mut removed = 0;
    loop {
        // From the start each time: what was listed is gone, and positions may mean something else now.
        let fd = brick.sys.openat2(dir.fd(), c".", How::new(OpenFlags::DIRECTORY))?;
        let list = File::new(std::sync::Arc::clone(&brick.sys), fd);
        let mut offset = 0;
        let mut progress = false;
        loop {
            let entries = brick.sys.read_dir(list.fd(), offset, 32 * 1024)?;
            let Some(last) = entries.last() else { break };
            offset = last.offset;
            for entry in entries {
                let name = entry.name.as_bytes();
                if matches!(name, b"." | b"..") || stuck.contains(&entry.name) {
                    continue;
                }
                let gone = match brick.sys.unlink_at(dir.fd(), &entry.name, AtFlags::empty()) {
                    Err(Errno::ISDIR | Errno::PERM) => {
                        brick.sys.unlink_at(dir.fd(), &entry.name, AtFlags::REMOVEDIR)
                    }
                    gone => gone,
                };
                match gone {
                    Ok(()) | Err(Errno::NOENT) => {
                        removed += 1;
                        progress = true;
                    }
                    Err(errno) => {
                        tracing::warn!(name = ?entry.name, %errno, "cannot remove a leftover");
                        stuck.insert(entry.name);
                    }
                }
            }
        }
        if !progress {
            return Ok(removed);
        }
    }
}
