//! The walk over the names: every entry, with what its object must have.
//!
//! One descriptor is open at a time, however deep the tree; the way back up is `..`.

use std::collections::VecDeque;
use std::ffi::CStr;
use std::sync::Arc;

use kiln_uring::sys::{DirEntry, How, OpenFlags, Stat, XattrFlags, XattrTarget};
use kiln_uring::{Errno, File, SysResult};

use super::{Inspector, What, shown};
use crate::storage::posix::Brick;
use crate::storage::posix::brick::DOT_GLUSTERFS;
use crate::storage::posix::entry::heal;
use crate::storage::posix::gfid2path::Gfid2Path;
use crate::storage::posix::handle::HandlePath;
use crate::storage::posix::stripes::{entry_key, object_key};
use crate::types::{Gfid, Name};

/// Bytes of directory records that are read at once.
const CHUNK: usize = 32 * 1024;

/// One directory on the way from the root to where the walk is.
#[derive(Debug)]
struct Level {
    gfid: Gfid,
    ino: u64,
    /// Length of its path in [`Names::path`].
    path: usize,
    offset: u64,
    waiting: VecDeque<DirEntry>,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Names {
    levels: Vec<Level>,
    /// The last level, open.
    dir: Arc<File>,
    /// Path of the last level.
    path: Vec<u8>,
}

/// An entry under inspection.
#[derive(Debug)]
struct Entry<'a> {
    parent: Gfid,
    dir: &'a Arc<File>,
    name: &'a Name,
    path: &'a str,
    stat: Stat,
}

impl Names {
    /// From the root.
    pub fn new(brick: &Brick) -> Self {
        let root = Level { gfid: Gfid::ROOT, ino: 0, path: 0, offset: 0, waiting: VecDeque::new() };
        Self { levels: vec![root], dir: Arc::clone(&brick.root), path: Vec::new() }
    }

    /// Looks at the next entry. False when there is none.
    pub fn step(&mut self, inspector: &mut Inspector) -> bool {
        let brick = Arc::clone(&inspector.brick);
        let Some(level) = self.levels.last_mut() else { return false };
        if level.offset == 0 {
            inspector.report.directories += 1;
        }
        if level.waiting.is_empty() {
            match brick.sys.read_dir(self.dir.fd(), level.offset, CHUNK) {
                Ok(entries) if entries.is_empty() => return self.up(inspector),
                Ok(entries) => {
                    level.offset = entries.last().map_or(0, |entry| entry.offset);
                    level.waiting = entries.into();
                }
                // On a running brick it may have been removed.
                Err(Errno::NOENT) if inspector.online => return self.up(inspector),
                Err(errno) => {
                    let detail = errno.to_string();
                    inspector.found(shown(&self.path), level.gfid, What::Unreadable, detail, |_| Ok(false));
                    return self.up(inspector);
                }
            }
        }
        let Some(entry) = level.waiting.pop_front() else { return true };
        let hidden = matches!(entry.name.as_bytes(), b"." | b"..")
            || (self.levels.len() == 1 && entry.name.as_c_str() == DOT_GLUSTERFS);
        if let Ok(name) = Name::new(entry.name.as_bytes())
            && !hidden
        {
            self.visit(inspector, &name);
        }
        true
    }

    fn visit(&mut self, inspector: &mut Inspector, name: &Name) {
        let Some(level) = self.levels.last() else { return };
        let parent = level.gfid;
        let before = self.path.len();
        if before > 0 {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name.as_bytes());
        let path = shown(&self.path);
        let down = match inspector.brick.sys.stat_at(self.dir.fd(), name.as_c_str()) {
            Ok(stat) => {
                let dir = Arc::clone(&self.dir);
                inspector.entry(&Entry { parent, dir: &dir, name, path: &path, stat })
            }
            Err(Errno::NOENT) if inspector.online => None,
            Err(errno) => {
                inspector.found(path, Gfid::NULL, What::Unreadable, errno.to_string(), |_| Ok(false));
                None
            }
        };
        match down
            .and_then(|(gfid, ino)| Some((gfid, ino, inspector.brick.open_subdir(&self.dir, name).ok()?)))
        {
            Some((gfid, ino, dir)) => {
                let path = self.path.len();
                self.levels.push(Level { gfid, ino, path, offset: 0, waiting: VecDeque::new() });
                self.dir = dir;
            }
            None => self.path.truncate(before),
        }
    }

    /// Back to the directory above.
    fn up(&mut self, inspector: &mut Inspector) -> bool {
        let brick = Arc::clone(&inspector.brick);
        self.levels.pop();
        while let Some(level) = self.levels.last() {
            self.path.truncate(level.path);
            if self.levels.len() == 1 {
                self.dir = Arc::clone(&brick.root);
                return true;
            }
            let is_it = |dir: &File| brick.sys.stat(dir.fd()).is_ok_and(|stat| stat.ino == level.ino);
            let above = open(&brick, &self.dir, c"..").ok().filter(|dir| is_it(dir));
            // On a running brick the directory may have moved meanwhile.
            if let Some(dir) = above.or_else(|| brick.open_dir(level.gfid).ok().filter(|dir| is_it(dir))) {
                self.dir = dir;
                return true;
            }
            self.levels.pop();
        }
        inspector.decide();
        false
    }
}

/// Opens a directory in another.
pub(super) fn open(brick: &Brick, dir: &File, name: &CStr) -> SysResult<Arc<File>> {
    let fd = brick.sys.openat2(dir.fd(), name, How::new(OpenFlags::DIRECTORY | OpenFlags::NOFOLLOW))?;
    Ok(Arc::new(File::new(Arc::clone(&brick.sys), fd)))
}

/// Every name in a directory, without the dots.
pub(super) fn list_all(brick: &Brick, dir: &File, mut each: impl FnMut(&CStr)) -> SysResult<()> {
    let mut offset = 0;
    loop {
        let entries = brick.sys.read_dir(dir.fd(), offset, CHUNK)?;
        let Some(last) = entries.last() else { return Ok(()) };
        offset = last.offset;
        entries
            .iter()
            .filter(|entry| !matches!(entry.name.as_bytes(), b"." | b".."))
            .for_each(|entry| each(&entry.name));
    }
}

impl Inspector {
    /// Looks at one entry; a directory is returned, to go down into.
    fn entry(&mut self, entry: &Entry<'_>) -> Option<(Gfid, u64)> {
        let brick = Arc::clone(&self.brick);
        let target = XattrTarget::At(entry.dir.fd(), entry.name.as_c_str());
        let is_dir = entry.stat.is_dir();
        self.report.names += u64::from(!is_dir);
        let down = |gfid| is_dir.then_some((gfid, entry.stat.ino));
        let gfid = match brick.gfid_of(target) {
            Ok(gfid) if !gfid.is_null() && !gfid.is_root() => gfid,
            Err(Errno::NOENT) if self.online => return None,
            // The file system's own, where the brick is a whole file system.
            Err(Errno::NODATA) if entry.parent.is_root() && entry.name.as_bytes() == b"lost+found" => {
                return None;
            }
            Err(Errno::NODATA) => {
                // A lookup will bring a gfid, the same for all bricks of a replica set.
                self.found(entry.path, Gfid::NULL, What::NoGfid, "the next lookup mends it", |_| Ok(false));
                return down(Gfid::NULL);
            }
            Ok(_) | Err(Errno::IO) => {
                self.found(entry.path, Gfid::NULL, What::BadGfid, "", |_| Ok(false));
                return down(Gfid::NULL);
            }
            Err(errno) => {
                self.found(entry.path, Gfid::NULL, What::Unreadable, errno.to_string(), |_| Ok(false));
                return down(Gfid::NULL);
            }
        };
        if is_dir {
            self.directory(entry, gfid);
        } else {
            self.other(entry, gfid);
        }
        down(gfid)
    }

    fn directory(&mut self, entry: &Entry<'_>, gfid: Gfid) {
        let Entry { parent, dir, name, path, .. } = *entry;
        if parent.is_null() || heal::dir_handle_fits(&self.brick, gfid, parent, name) {
            return;
        }
        let what = match self.brick.stat_handle(gfid) {
            Ok(handle) if !handle.is_symlink() => What::HandleOfAnother,
            _ => What::WrongDirectoryHandle,
        };
        self.lost_directories = true;
        self.found(path, gfid, what, "", |brick| heal::set_dir_handle(brick, gfid, parent, dir, name));
    }

    fn other(&mut self, entry: &Entry<'_>, gfid: Gfid) {
        let Entry { parent, dir, name, path, stat } = *entry;
        match self.brick.stat_handle(gfid) {
            Ok(handle) if (handle.dev, handle.ino) == (stat.dev, stat.ino) => {}
            Ok(_) => {
                self.found(path, gfid, What::HandleOfAnother, "", |_| Ok(false));
                return;
            }
            Err(Errno::NOENT) => self.found(path, gfid, What::NoHandle, "", |brick| {
                heal::relink(brick, gfid, parent, dir, name).map(|()| true)
            }),
            Err(errno) => {
                self.found(path, gfid, What::Unreadable, errno.to_string(), |_| Ok(false));
                return;
            }
        }
        if !parent.is_null() {
            self.paths(entry, gfid);
        }
    }

    /// The `gfid2path` of this name is there, and none that is nobody's.
    fn paths(&mut self, entry: &Entry<'_>, gfid: Gfid) {
        let Entry { parent, dir, name, path, stat } = *entry;
        let target = XattrTarget::At(dir.fd(), name.as_c_str());
        let wanted = Gfid2Path::new(parent, name);
        let mut there = false;
        for key in path_keys(&self.brick, target) {
            if key == wanted.key {
                there = true;
                continue;
            }
            if self.told.contains(&(gfid, key.to_bytes().to_vec())) {
                continue;
            }
            match whose(&self.brick, &key, target, &stat) {
                Whose::Own => continue,
                Whose::Unknown => self.undecided.push((path.to_owned(), gfid, key.clone())),
                Whose::Nobody => self.stale(path, gfid, &key),
            }
            self.told.insert((gfid, key.to_bytes().to_vec()));
        }
        let needed = self.gfid2path && stat.nlink <= crate::storage::posix::entry::MAX_PATHS;
        if needed && !there {
            self.found(path, gfid, What::NoPath, "", |brick| {
                let _name = brick.entries.lock(&[entry_key(parent, name.as_bytes())]);
                if brick.gfid_of(target) != Ok(gfid) {
                    return Ok(false);
                }
                brick.sys.setxattr(target, &wanted.key, &wanted.value, XattrFlags::empty()).map(|()| true)
            });
        }
    }

    fn stale(&mut self, path: &str, gfid: Gfid, key: &CStr) {
        self.found(path, gfid, What::StalePath, key.to_string_lossy(), |brick| {
            // Names come and go under this lock, and a new one's path is there before it.
            let _object = brick.objects.lock(&[object_key(gfid)]);
            let handle = HandlePath::new(gfid);
            let target = XattrTarget::At(brick.dot.fd(), handle.as_c_str());
            if whose(brick, key, target, &brick.stat_handle(gfid)?) == Whose::Own {
                return Ok(false);
            }
            match brick.sys.removexattr(target, key) {
                Ok(()) | Err(Errno::NODATA) => Ok(true),
                Err(errno) => Err(errno),
            }
        });
    }

    /// All names have been seen: where a path still leads nowhere, there is no such directory. Without repair a lost
    /// directory may be the reason, and is told already.
    fn decide(&mut self) {
        let undecided = std::mem::take(&mut self.undecided);
        if self.lost_directories && (!self.repair || self.root_is_lost) {
            return;
        }
        for (path, gfid, key) in undecided {
            let handle = HandlePath::new(gfid);
            let target = XattrTarget::At(self.brick.dot.fd(), handle.as_c_str());
            let Ok(stat) = self.brick.stat_handle(gfid) else { continue };
            if self.brick.sys.getxattr(target, &key, &mut []).is_ok()
                && whose(&self.brick, &key, target, &stat) != Whose::Own
            {
                self.stale(&path, gfid, &key);
            }
        }
    }
}

/// What a `gfid2path` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// An entry that is this object.
    Own,
    /// Nothing, or another object.
    Nobody,
    /// An entry of a directory that is not found by its gfid.
    Unknown,
}

fn whose(brick: &Brick, key: &CStr, target: XattrTarget<'_>, stat: &Stat) -> Whose {
    let mut value = [0; 1024];
    let Ok(len) = brick.sys.getxattr(target, key, &mut value) else { return Whose::Nobody };
    let Some((parent, name)) = Gfid2Path::parse(&value[..len]) else { return Whose::Nobody };
    if Gfid2Path::new(parent, &name).key.as_c_str() != key {
        return Whose::Nobody;
    }
    let Ok(dir) = brick.open_dir(parent) else { return Whose::Unknown };
    match brick.sys.stat_at(dir.fd(), name.as_c_str()) {
        Ok(entry) if (entry.dev, entry.ino) == (stat.dev, stat.ino) => Whose::Own,
        _ => Whose::Nobody,
    }
}

/// The `gfid2path` keys of an object.
fn path_keys(brick: &Brick, target: XattrTarget<'_>) -> Vec<std::ffi::CString> {
    let mut buf = vec![0; 4096];
    let len = loop {
        match brick.sys.listxattr(target, &mut buf) {
            Err(Errno::RANGE) if buf.len() < 65536 => buf.resize(buf.len() * 4, 0),
            len => break len.unwrap_or(0),
        }
    };
    let keys = buf[..len].split(|byte| *byte == 0).filter(|key| Gfid2Path::is_key(key));
    keys.filter_map(|key| std::ffi::CString::new(key).ok()).collect()
}
