//! What is behind the lock: the live tree, open files, clock, limits, and the helpers that every call uses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::crash::Journal;
use super::faults::Faults;
use super::inode::{Entry, Inode, Meta};
use super::tree::{Record, Seed, Tree};
use crate::sys::{Errno, OpenFlags, RawFd, SharedWords, SysResult, Timespec};

/// First descriptor: far above what a process has open, so that the real kernel answers a stray one with EBADF.
pub const FIRST_FD: RawFd = 1 << 20;

/// An open file description. There is no `dup`, so a descriptor is one.
#[derive(Clone, Copy, Debug)]
pub struct Open {
    pub ino: u64,
    pub flags: OpenFlags,
}

impl Open {
    /// Whether it only names a place.
    pub const fn is_path(&self) -> bool {
        self.flags.contains(OpenFlags::PATH)
    }

    /// The access mode (`O_RDONLY`, `O_WRONLY`, `O_RDWR`).
    const fn access(&self) -> u32 {
        self.flags.bits() & libc::O_ACCMODE as u32
    }

    /// Whether data may be read through it.
    pub const fn reads(&self) -> bool {
        !self.is_path() && matches!(self.access() as i32, libc::O_RDONLY | libc::O_RDWR)
    }

    /// Whether data may be written through it.
    pub const fn writes(&self) -> bool {
        !self.is_path() && matches!(self.access() as i32, libc::O_WRONLY | libc::O_RDWR)
    }
}

/// How much fits.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Pages of file data.
    pub pages: u64,
    /// Objects.
    pub inodes: u64,
    /// Bytes of names and values of the extended attributes of one object.
    pub xattr_room: usize,
}

#[derive(Debug)]
pub struct State {
    pub live: Tree,
    pub journal: Journal,
    /// The records of the call in progress.
    pub txn: Vec<Record>,
    pub fds: BTreeMap<RawFd, Open>,
    /// Descriptors below the highest one used so far that are not open.
    pub free_fds: BTreeSet<RawFd>,
    /// How many descriptors each object has.
    pub opens: BTreeMap<u64, u32>,
    /// Who holds the exclusive lock of an object.
    pub locks: BTreeMap<u64, RawFd>,
    pub now: Timespec,
    pub monotonic: u64,
    pub rng: u64,
    pub limits: Limits,
    /// Pages of data in the live tree.
    pub used_pages: u64,
    /// Numbers that are free again, the latest last.
    pub free_inos: Vec<u64>,
    pub next_ino: u64,
    pub next_generation: u32,
    /// Objects that a `RESOLVE_CACHED` walk does not find in the cache.
    pub cold_names: BTreeSet<u64>,
    /// Files that a `RWF_NOWAIT` read does not find in the cache.
    pub cold_data: BTreeSet<u64>,
    pub faults: Faults,
    /// Mapped files: what is stored in the mapping stays apart from the file's data, until the file is gone or power is cut.
    pub maps: BTreeMap<u64, Arc<SharedWords>>,
}

impl State {
    /// Performs a step of the call in progress.
    pub fn change(&mut self, record: Record) {
        self.live.apply(&record);
        self.txn.push(record);
    }

    /// Ends the call in progress: its steps become one transaction of the journal.
    pub fn commit(&mut self) {
        if !self.txn.is_empty() {
            self.journal.push(std::mem::take(&mut self.txn));
        }
    }

    pub fn inode(&self, ino: u64) -> SysResult<&Inode> {
        self.live.get(ino)
    }

    pub fn meta(&self, ino: u64) -> SysResult<Meta> {
        Ok(self.live.get(ino)?.meta)
    }

    /// Changes attributes, if they do change.
    pub fn update(&mut self, ino: u64, f: impl FnOnce(&mut Meta)) -> SysResult<()> {
        let old = self.meta(ino)?;
        let mut meta = old;
        f(&mut meta);
        if meta != old {
            self.change(Record::Meta { ino, meta });
        }
        Ok(())
    }

    /// Content changed: `mtime` and `ctime`.
    pub fn touch_content(&mut self, ino: u64) -> SysResult<()> {
        let now = self.now;
        self.update(ino, |m| (m.mtime, m.ctime) = (now, now))
    }

    /// Attributes changed: `ctime`.
    pub fn touch_change(&mut self, ino: u64) -> SysResult<()> {
        let now = self.now;
        self.update(ino, |m| m.ctime = now)
    }

    /// Content read: `atime`, by the rules of `relatime`.
    pub fn touch_access(&mut self, ino: u64) -> SysResult<()> {
        const DAY: i64 = 24 * 3600;
        let now = self.now;
        self.update(ino, |m| {
            if m.atime <= m.mtime || m.atime <= m.ctime || now.sec.saturating_sub(m.atime.sec) >= DAY {
                m.atime = now;
            }
        })
    }

    /// Any descriptor.
    pub fn open_file(&self, fd: RawFd) -> SysResult<Open> {
        self.fds.get(&fd).copied().ok_or(Errno::BADF)
    }

    /// A descriptor that is more than a place.
    pub fn real_file(&self, fd: RawFd) -> SysResult<Open> {
        self.open_file(fd).and_then(|open| if open.is_path() { Err(Errno::BADF) } else { Ok(open) })
    }

    /// Hands out the lowest free descriptor for `ino`.
    pub fn install(&mut self, ino: u64, flags: OpenFlags) -> SysResult<RawFd> {
        let fd = match self.free_fds.pop_first() {
            Some(fd) => fd,
            None => FIRST_FD
                .checked_add(RawFd::try_from(self.fds.len()).map_err(|_| Errno::NFILE)?)
                .ok_or(Errno::NFILE)?,
        };
        self.fds.insert(fd, Open { ino, flags });
        *self.opens.entry(ino).or_default() += 1;
        Ok(fd)
    }

    /// Closes a descriptor, and frees what had no other owner.
    pub fn uninstall(&mut self, fd: RawFd) {
        let Some(open) = self.fds.remove(&fd) else { return };
        self.free_fds.insert(fd);
        if self.locks.get(&open.ino) == Some(&fd) {
            self.locks.remove(&open.ino);
        }
        if let Some(count) = self.opens.get_mut(&open.ino) {
            *count -= 1;
            if *count == 0 {
                self.opens.remove(&open.ino);
                self.free_if_unused(open.ino);
            }
        }
    }

    /// Frees an object that has neither a name nor a descriptor.
    pub fn free_if_unused(&mut self, ino: u64) {
        let Some(inode) = self.live.inodes.get(&ino) else { return };
        if inode.meta.nlink > 0 || self.opens.contains_key(&ino) {
            return;
        }
        self.used_pages = self.used_pages.saturating_sub(inode.page_count());
        self.cold_names.remove(&ino);
        self.cold_data.remove(&ino);
        self.maps.remove(&ino);
        self.change(Record::Free { ino });
        self.free_inos.push(ino);
    }

    /// A new object without a name yet (`nlink` as told): ENOSPC when there are too many.
    ///
    /// The owner is root; the group and the set-group-ID bit come from a directory that has that bit, access control
    /// entries from one that has default ones.
    pub fn create(&mut self, dir: u64, mode: u32, rdev: u64, seed: Seed, nlink: u32) -> SysResult<u64> {
        let parent = self.meta(dir)?;
        if self.live.inodes.len() as u64 >= self.limits.inodes {
            return Err(Errno::NOSPC);
        }
        let ino = self.free_inos.pop().unwrap_or_else(|| {
            self.next_ino += 1;
            self.next_ino
        });
        self.next_generation = self.next_generation.wrapping_add(1);
        let is_dir = matches!(seed, Seed::Dir(_));
        let inherits_group = parent.mode & libc::S_ISGID != 0;
        let (mode, acls) = self.inherit_acl(dir, mode, matches!(seed, Seed::Symlink(_)))?;
        let meta = Meta {
            generation: self.next_generation,
            mode: if is_dir && inherits_group { mode | libc::S_ISGID } else { mode },
            uid: 0,
            gid: if inherits_group { parent.gid } else { 0 },
            nlink,
            rdev,
            atime: self.now,
            mtime: self.now,
            ctime: self.now,
            linkable: false,
        };
        self.change(Record::New { ino, meta, seed });
        for (name, value) in acls {
            self.change(Record::Xattr { ino, name: name.to_vec(), value: Some(value) });
        }
        Ok(ino)
    }

    /// Adds a name to a directory or points an existing one elsewhere; the position of an existing one stays.
    pub fn enter(&mut self, dir: u64, name: &[u8], ino: u64) -> SysResult<()> {
        let body = self.live.dir(dir)?;
        let cookie = body.names.get(name).map_or(body.next_cookie, |old| old.cookie);
        self.change(Record::Enter { dir, name: name.to_vec(), entry: Entry { ino, cookie } });
        Ok(())
    }
}

/// The next 64 bits of a seeded sequence (splitmix64).
pub fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
