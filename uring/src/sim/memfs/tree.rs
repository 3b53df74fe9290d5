//! The objects of the file system and the records that change them.
//!
//! Everything but file data changes only by applying a [`Record`], to the live tree first and to the durable one later
//! (see [`super::crash`]), so that what survives a power cut is always the outcome of a prefix of what was done.

use std::collections::BTreeMap;

use super::data::Data;
use super::inode::{Body, COOKIE_STEP, Dir, Entry, Inode, Meta, ROOT};
use crate::sys::{Errno, SysResult, Timespec};

/// What a new object starts with.
#[derive(Clone, Debug)]
pub enum Seed {
    /// An empty regular file.
    File,
    /// An empty directory below this one.
    Dir(u64),
    /// A symbolic link to this target.
    Symlink(Vec<u8>),
    /// Something without content.
    Special,
}

/// One step of a metadata operation.
#[derive(Clone, Debug)]
pub enum Record {
    /// A new object, so far without a name.
    New { ino: u64, meta: Meta, seed: Seed },
    /// The object is gone.
    Free { ino: u64 },
    /// New attributes.
    Meta { ino: u64, meta: Meta },
    /// An extended attribute set, or removed.
    Xattr { ino: u64, name: Vec<u8>, value: Option<Vec<u8>> },
    /// A name added or pointed elsewhere.
    Enter { dir: u64, name: Vec<u8>, entry: Entry },
    /// A name removed.
    Leave { dir: u64, name: Vec<u8> },
    /// A directory moved below another one.
    Moved { dir: u64, parent: u64 },
}

impl Record {
    /// The object it changes.
    pub const fn subject(&self) -> u64 {
        match self {
            Self::New { ino, .. } | Self::Free { ino } | Self::Meta { ino, .. } | Self::Xattr { ino, .. } => {
                *ino
            }
            Self::Enter { dir, .. } | Self::Leave { dir, .. } | Self::Moved { dir, .. } => *dir,
        }
    }

    /// The object that it gives a name, if any.
    pub const fn named(&self) -> Option<u64> {
        if let Self::Enter { entry, .. } = self { Some(entry.ino) } else { None }
    }
}

/// All objects by number.
#[derive(Clone, Debug)]
pub struct Tree {
    pub inodes: BTreeMap<u64, Inode>,
}

impl Tree {
    /// A file system with an empty root directory.
    pub fn new(now: Timespec) -> Self {
        let meta = Meta {
            generation: 1,
            mode: libc::S_IFDIR | 0o755,
            uid: 0,
            gid: 0,
            nlink: 2,
            rdev: 0,
            atime: now,
            mtime: now,
            ctime: now,
            linkable: false,
        };
        let root = Inode { meta, body: Body::Dir(Dir::new(ROOT)), xattrs: BTreeMap::new() };
        Self { inodes: BTreeMap::from([(ROOT, root)]) }
    }

    /// The object with this number. That there is none would be an inconsistency, hence the error.
    pub fn get(&self, ino: u64) -> SysResult<&Inode> {
        self.inodes.get(&ino).ok_or(Errno::IO)
    }

    /// The directory with this number: ENOTDIR when it is something else.
    pub fn dir(&self, ino: u64) -> SysResult<&Dir> {
        match &self.get(ino)?.body {
            Body::Dir(dir) => Ok(dir),
            _ => Err(Errno::NOTDIR),
        }
    }

    /// The data of the regular file with this number: EINVAL when it is something else.
    pub fn data(&self, ino: u64) -> SysResult<&Data> {
        match &self.get(ino)?.body {
            Body::File(data) => Ok(data),
            _ => Err(Errno::INVAL),
        }
    }

    /// The same to be changed.
    pub fn data_mut(&mut self, ino: u64) -> SysResult<&mut Data> {
        match self.inodes.get_mut(&ino).map(|inode| &mut inode.body) {
            Some(Body::File(data)) => Ok(data),
            _ => Err(Errno::INVAL),
        }
    }

    /// Pages of data in all files.
    pub fn page_count(&self) -> u64 {
        self.inodes.values().map(Inode::page_count).sum()
    }

    /// Performs one step.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::New { ino, meta, seed } => {
                let body = match seed {
                    Seed::File => Body::File(Data::default()),
                    Seed::Dir(parent) => Body::Dir(Dir::new(*parent)),
                    Seed::Symlink(target) => Body::Symlink(target.clone()),
                    Seed::Special => Body::Special,
                };
                self.inodes.insert(*ino, Inode { meta: *meta, body, xattrs: BTreeMap::new() });
            }
            Record::Free { ino } => {
                self.inodes.remove(ino);
            }
            Record::Meta { ino, meta } => {
                if let Some(inode) = self.inodes.get_mut(ino) {
                    inode.meta = *meta;
                }
            }
            Record::Xattr { ino, name, value } => {
                if let Some(inode) = self.inodes.get_mut(ino) {
                    match value {
                        Some(value) => inode.xattrs.insert(name.clone(), value.clone()),
                        None => inode.xattrs.remove(name),
                    };
                }
            }
            Record::Enter { dir, name, entry } => {
                if let Some(dir) = self.dir_mut(*dir) {
                    dir.names.insert(name.clone(), *entry);
                    dir.positions.insert(entry.cookie, name.clone());
                    dir.next_cookie = dir.next_cookie.max(entry.cookie.saturating_add(COOKIE_STEP));
                }
            }
            Record::Leave { dir, name } => {
                if let Some(dir) = self.dir_mut(*dir)
                    && let Some(entry) = dir.names.remove(name)
                {
                    dir.positions.remove(&entry.cookie);
                }
            }
            Record::Moved { dir, parent } => {
                if let Some(dir) = self.dir_mut(*dir) {
                    dir.parent = *parent;
                }
            }
        }
    }

    fn dir_mut(&mut self, ino: u64) -> Option<&mut Dir> {
        match self.inodes.get_mut(&ino).map(|inode| &mut inode.body) {
            Some(Body::Dir(dir)) => Some(dir),
            _ => None,
        }
    }
}
