//! An object's paths inside the brick: a directory's from the chain of handles, anything else's from its
//! `trusted.gfid2path.*` attributes and then the chain of its parent.

use kiln_uring::sys::XattrTarget;
use kiln_uring::{Errno, SysResult};

use super::raw;
use crate::storage::posix::Brick;
use crate::storage::posix::gfid2path::Gfid2Path;
use crate::types::{Gfid, Name};

/// Deepest directory; deeper chains of handles are loops.
const MAX_DEPTH: usize = 4096;

/// The path of a directory, from the brick's root: `/` or `/a/b`.
///
/// # Errors
/// `ENOENT` when a handle on the way is missing, `ESTALE` when one is damaged, `ELOOP` when they lead in a circle.
pub fn of_directory(brick: &Brick, gfid: Gfid) -> SysResult<Vec<u8>> {
    let mut names = Vec::new();
    let mut at = gfid;
    while !at.is_root() {
        if names.len() == MAX_DEPTH {
            return Err(Errno::LOOP);
        }
        let (parent, name) = brick.parent_of_dir(at)?;
        names.push(name);
        at = parent;
    }
    let mut path = Vec::new();
    for name in names.iter().rev() {
        path.push(b'/');
        path.extend_from_slice(name.as_bytes());
    }
    if path.is_empty() {
        path.push(b'/');
    }
    Ok(path)
}

/// The path of a name in a directory.
///
/// # Errors
/// See [`of_directory`].
pub fn of_entry(brick: &Brick, parent: Gfid, name: &Name) -> SysResult<Vec<u8>> {
    let mut path = of_directory(brick, parent)?;
    if path.last() != Some(&b'/') {
        path.push(b'/');
    }
    path.extend_from_slice(name.as_bytes());
    Ok(path)
}

/// All names of a non-directory, in the order of its attributes. Damaged ones are left out.
///
/// # Errors
/// `ENODATA` when there is none, and those of `listxattr(2)` and `getxattr(2)`.
pub fn names(brick: &Brick, target: XattrTarget<'_>) -> SysResult<Vec<(Gfid, Name)>> {
    let list = raw::list(&*brick.sys, target)?;
    let mut names = Vec::new();
    for key in raw::split(&list).filter(|key| Gfid2Path::is_key(key.to_bytes())) {
        match raw::value(&*brick.sys, target, key) {
            Ok(value) => names.extend(Gfid2Path::parse(&value)),
            // Renamed meanwhile.
            Err(Errno::NODATA) => {}
            Err(errno) => return Err(errno),
        }
    }
    if names.is_empty() { Err(Errno::NODATA) } else { Ok(names) }
}

/// All paths of an object. Those through a handle that is missing or damaged are left out.
///
/// # Errors
/// `ENODATA` when there is none, and those of [`of_directory`] and [`names`].
pub fn all(brick: &Brick, gfid: Gfid, target: XattrTarget<'_>, is_dir: bool) -> SysResult<Vec<Vec<u8>>> {
    if is_dir {
        return of_directory(brick, gfid).map(|path| vec![path]);
    }
    let paths: Vec<_> = names(brick, target)?
        .iter()
        .filter_map(|(parent, name)| of_entry(brick, *parent, name).ok())
        .collect();
    if paths.is_empty() { Err(Errno::NODATA) } else { Ok(paths) }
}

/// One path of an object: that of `entry`, where the caller knows the name, else its first.
///
/// # Errors
/// See [`all`].
pub fn one(
    brick: &Brick,
    gfid: Gfid,
    target: XattrTarget<'_>,
    is_dir: bool,
    entry: Option<(Gfid, &Name)>,
) -> SysResult<Vec<u8>> {
    match entry {
        _ if is_dir => of_directory(brick, gfid),
        Some((parent, name)) => of_entry(brick, parent, name),
        None => all(brick, gfid, target, false)?.into_iter().next().ok_or(Errno::NODATA),
    }
}
