//! Attributes: mode, owner, times, and what `statfs` tells.

use super::data::PAGE;
use super::state::State;
use crate::sys::{Errno, NO_ID, RawFd, StatFs, SysResult, TimeSet, Timespec};

/// `EXT4_SUPER_MAGIC`: the file system behaves like ext4.
const MAGIC: u64 = 0xef53;

impl State {
    pub fn chmod(&mut self, ino: u64, mode: u32) -> SysResult<()> {
        if self.meta(ino)?.kind() == libc::S_IFLNK {
            return Err(Errno::OPNOTSUPP);
        }
        let now = self.now;
        self.update(ino, |m| {
            m.mode = m.kind() | (mode & 0o7777);
            m.ctime = now;
        })?;
        self.chmod_acl(ino)
    }

    pub fn chown(&mut self, ino: u64, uid: u32, gid: u32) -> SysResult<()> {
        let now = self.now;
        self.update(ino, |m| {
            if uid != NO_ID {
                m.uid = uid;
            }
            if gid != NO_ID {
                m.gid = gid;
            }
            if m.kind() != libc::S_IFDIR {
                m.mode &= !libc::S_ISUID;
                // Without the execute bit it stands for mandatory locking, not for privilege.
                if m.mode & libc::S_IXGRP != 0 {
                    m.mode &= !libc::S_ISGID;
                }
            }
            m.ctime = now;
        })?;
        if self.meta(ino)?.kind() == libc::S_IFDIR { Ok(()) } else { self.drop_capabilities(ino) }
    }

    /// `find` is not called when there is nothing to do, which then succeeds even on a name that does not exist.
    pub fn set_times(
        &mut self,
        find: impl FnOnce(&mut Self) -> SysResult<u64>,
        atime: TimeSet,
        mtime: TimeSet,
    ) -> SysResult<()> {
        const GIGA: u32 = 1_000_000_000;
        let valid = |set| !matches!(set, TimeSet::At(Timespec { nsec: GIGA.., .. }));
        if (atime, mtime) == (TimeSet::Keep, TimeSet::Keep) {
            return Ok(());
        }
        if !valid(atime) || !valid(mtime) {
            return Err(Errno::INVAL);
        }
        let ino = find(self)?;
        let now = self.now;
        let pick = |set, old| match set {
            TimeSet::Keep => old,
            TimeSet::Now => now,
            TimeSet::At(time) => time,
        };
        self.update(ino, |m| {
            m.atime = pick(atime, m.atime);
            m.mtime = pick(mtime, m.mtime);
            m.ctime = now;
        })
    }

    pub fn statfs(&self, fd: RawFd) -> SysResult<StatFs> {
        self.open_file(fd)?;
        let free = self.limits.pages.saturating_sub(self.used_pages);
        let free_inodes = self.limits.inodes.saturating_sub(self.live.inodes.len() as u64);
        Ok(StatFs {
            kind: MAGIC,
            bsize: PAGE,
            frsize: PAGE,
            blocks: self.limits.pages,
            bfree: free,
            bavail: free,
            files: self.limits.inodes,
            ffree: free_inodes,
            favail: free_inodes,
            fsid: 0x6b69_6c6e,
            flags: 0x1020, // ST_VALID | ST_RELATIME
            namemax: 255,
        })
    }
}
