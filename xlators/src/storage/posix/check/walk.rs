//! The second pass: all names below the root, without following symbolic links.
//!
//! One directory is open at a time, however deep the tree: the way back up goes through `..`, which nobody moves on a brick
//! that is not served. Of the directories above only the names of subdirectories that are still to come are kept.

use std::ffi::{CStr, CString};
use std::sync::Arc;

use kiln_uring::{Errno, File, SysResult};

use super::{Check, open_dir};
use crate::storage::posix::brick::DOT_GLUSTERFS;
use crate::types::Gfid;

/// Which tree is walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tree {
    /// The brick's.
    Names,
    /// What is in `landfill/`: counted, not judged.
    Landfill,
}

/// The directory at hand.
#[derive(Clone, Debug)]
pub(super) struct Here {
    pub dir: Arc<File>,
    /// Its gfid, when it has one.
    pub gfid: Option<Gfid>,
    pub tree: Tree,
}

/// One level of the way down.
struct Level {
    ino: u64,
    gfid: Option<Gfid>,
    /// Length of the path down to here.
    path: usize,
    todo: Todo,
}

/// Subdirectories to visit: gfid (null when there is none), name and NUL of each, in one piece of memory.
#[derive(Default)]
pub(super) struct Todo {
    bytes: Vec<u8>,
    at: usize,
}

impl Todo {
    pub fn push(&mut self, gfid: Option<Gfid>, name: &CStr) {
        self.bytes.extend_from_slice(gfid.unwrap_or_default().as_bytes());
        self.bytes.extend_from_slice(name.to_bytes_with_nul());
    }

    fn next(&mut self) -> Option<(Option<Gfid>, CString)> {
        let (gfid, rest) = self.bytes.get(self.at..)?.split_at_checked(16)?;
        let name = CStr::from_bytes_until_nul(rest).ok()?.to_owned();
        self.at += 16 + name.as_bytes_with_nul().len();
        Some((Gfid::from_slice(gfid).filter(|gfid| !gfid.is_null()), name))
    }

    fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }
}

impl Check<'_> {
    /// Goes through all names of the brick.
    pub(super) fn names(&mut self) {
        self.report.directories += 1;
        self.report.objects += 1;
        let root = Arc::clone(&self.mender.root);
        self.walk(root, Some(Gfid::ROOT), Tree::Names, b"");
    }

    /// Goes through all names below `top`, whose path is `path`.
    pub(super) fn walk(&mut self, top: Arc<File>, gfid: Option<Gfid>, tree: Tree, path: &[u8]) {
        let mut path = path.to_vec();
        let mut here = Here { dir: top, gfid, tree };
        let mut levels = Vec::new();
        let Some(level) = self.level(&here, &mut path) else { return };
        levels.push(level);
        while let Some(level) = levels.last_mut() {
            path.truncate(level.path);
            if let Some((gfid, name)) = level.todo.next() {
                add(&mut path, &name);
                match open_dir(&self.mender.sys, &here.dir, &name) {
                    Ok(dir) => {
                        let below = Here { dir, gfid, tree };
                        // One that cannot be listed is left again by not going down.
                        if let Some(level) = self.level(&below, &mut path) {
                            levels.push(level);
                            here = below;
                        }
                    }
                    Err(Errno::NOENT) => {}
                    Err(errno) => self.unreadable(&path, errno),
                }
                continue;
            }
            levels.pop();
            // Nothing left above: no need to go there.
            if levels.iter().all(|level| level.todo.is_empty()) {
                return;
            }
            let Some(above) = levels.last() else { return };
            match self.up(&here, above) {
                Ok(dir) => here = Here { dir, gfid: above.gfid, tree },
                Err(errno) => {
                    path.truncate(above.path);
                    return self.unreadable(&path, errno);
                }
            }
        }
    }

    fn up(&self, here: &Here, above: &Level) -> SysResult<Arc<File>> {
        let dir = open_dir(&self.mender.sys, &here.dir, c"..")?;
        // Somebody has moved directories after all.
        if self.mender.sys.stat(dir.fd())?.ino == above.ino { Ok(dir) } else { Err(Errno::STALE) }
    }

    /// Looks at all that is in a directory but not below its subdirectories.
    fn level(&mut self, here: &Here, path: &mut Vec<u8>) -> Option<Level> {
        let ino = match self.mender.sys.stat(here.dir.fd()) {
            Ok(stat) => stat.ino,
            Err(errno) => {
                self.unreadable(path, errno);
                return None;
            }
        };
        let len = path.len();
        let mut todo = Todo::default();
        let is_root = here.tree == Tree::Names && len == 0;
        let listed = self.list(&here.dir, |check, name, _| {
            if is_root && name == DOT_GLUSTERFS {
                return;
            }
            add(path, name);
            check.name(here, name, path, &mut todo);
            path.truncate(len);
        });
        if let Err(errno) = listed {
            self.unreadable(path, errno);
        }
        Some(Level { ino, gfid: here.gfid, path: len, todo })
    }
}

fn add(path: &mut Vec<u8>, name: &CStr) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name.to_bytes());
}
