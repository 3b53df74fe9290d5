//! [`Sys`] on top of the state: takes the lock, counts the call, lets it fail if told to, and ends its transaction.

use std::ffi::CStr;
use std::sync::Arc;

use super::MemFs;
use super::state::{State, splitmix64};
use crate::sys::{
    AtFlags, DirEntry, Errno, How, OpenFlags, RawFd, ReadFlags, RenameFlags, SeekFrom, SharedWords, Stat,
    StatFs, Sys, SysResult, TimeSet, Timespec, XattrFlags, XattrTarget,
};

impl MemFs {
    fn call<T>(&self, operation: &'static str, f: impl FnOnce(&mut State) -> SysResult<T>) -> SysResult<T> {
        self.call_bytes(operation, |state, _| f(state))
    }

    /// `f` also gets the number of bytes it may move at most.
    fn call_bytes<T>(
        &self,
        operation: &'static str,
        f: impl FnOnce(&mut State, usize) -> SysResult<T>,
    ) -> SysResult<T> {
        let mut state = self.lock();
        let limit = state.faults.enter(operation)?;
        let out = f(&mut state, limit);
        state.commit();
        out
    }
}

impl Sys for MemFs {
    fn openat2(&self, dir: RawFd, path: &CStr, how: How) -> SysResult<RawFd> {
        self.call("openat2", |s| s.openat2(dir, path.to_bytes(), how))
    }

    fn open_by_handle(&self, mount: RawFd, handle: &[u8], flags: OpenFlags) -> SysResult<RawFd> {
        self.call("open_by_handle", |s| s.open_by_handle(mount, handle, flags))
    }

    fn name_to_handle(&self, dir: RawFd, path: &CStr) -> SysResult<Vec<u8>> {
        self.call("name_to_handle", |s| s.name_to_handle(dir, path.to_bytes()))
    }

    fn close(&self, fd: RawFd) {
        let mut state = self.lock();
        state.uninstall(fd);
        state.commit();
    }

    fn set_flags(&self, fd: RawFd, flags: OpenFlags) -> SysResult<()> {
        self.call("set_flags", |s| s.set_flags(fd, flags))
    }

    fn lock_exclusive(&self, fd: RawFd) -> SysResult<()> {
        self.call("lock_exclusive", |s| s.lock_exclusive(fd))
    }

    fn stat_at(&self, dir: RawFd, path: &CStr) -> SysResult<Stat> {
        self.call("stat_at", |s| {
            let ino = s.at(dir, path.to_bytes())?;
            Ok(s.inode(ino)?.stat(ino))
        })
    }

    fn stat(&self, fd: RawFd) -> SysResult<Stat> {
        self.call("stat", |s| {
            let ino = s.open_file(fd)?.ino;
            Ok(s.inode(ino)?.stat(ino))
        })
    }

    fn chmod(&self, fd: RawFd, mode: u32) -> SysResult<()> {
        self.call("chmod", |s| {
            let ino = s.real_file(fd)?.ino;
            s.chmod(ino, mode)
        })
    }

    fn chmod_at(&self, dir: RawFd, path: &CStr, mode: u32) -> SysResult<()> {
        self.call("chmod_at", |s| {
            let ino = s.at(dir, path.to_bytes())?;
            s.chmod(ino, mode)
        })
    }

    fn chown(&self, fd: RawFd, uid: u32, gid: u32) -> SysResult<()> {
        self.call("chown", |s| {
            let ino = s.open_file(fd)?.ino;
            s.chown(ino, uid, gid)
        })
    }

    fn chown_at(&self, dir: RawFd, path: &CStr, uid: u32, gid: u32) -> SysResult<()> {
        self.call("chown_at", |s| {
            let ino = s.at(dir, path.to_bytes())?;
            s.chown(ino, uid, gid)
        })
    }

    fn set_times(&self, fd: RawFd, atime: TimeSet, mtime: TimeSet) -> SysResult<()> {
        self.call("set_times", |s| s.set_times(|s| Ok(s.real_file(fd)?.ino), atime, mtime))
    }

    fn set_times_at(&self, dir: RawFd, path: &CStr, atime: TimeSet, mtime: TimeSet) -> SysResult<()> {
        self.call("set_times_at", |s| s.set_times(|s| s.at(dir, path.to_bytes()), atime, mtime))
    }

    fn statfs(&self, fd: RawFd) -> SysResult<StatFs> {
        self.call("statfs", |s| s.statfs(fd))
    }

    fn mkdir_at(&self, dir: RawFd, path: &CStr, mode: u32) -> SysResult<()> {
        self.call("mkdir_at", |s| s.mkdir(dir, path.to_bytes(), mode))
    }

    fn mknod_at(&self, dir: RawFd, path: &CStr, mode: u32, rdev: u64) -> SysResult<()> {
        self.call("mknod_at", |s| s.mknod(dir, path.to_bytes(), mode, rdev))
    }

    fn symlink_at(&self, target: &CStr, dir: RawFd, path: &CStr) -> SysResult<()> {
        self.call("symlink_at", |s| s.symlink(target.to_bytes(), dir, path.to_bytes()))
    }

    fn link_at(&self, old_dir: RawFd, old: &CStr, new_dir: RawFd, new: &CStr) -> SysResult<()> {
        self.call("link_at", |s| s.link(old_dir, old.to_bytes(), new_dir, new.to_bytes()))
    }

    fn link_fd(&self, fd: RawFd, new_dir: RawFd, new: &CStr) -> SysResult<()> {
        self.call("link_fd", |s| s.link_fd(fd, new_dir, new.to_bytes()))
    }

    fn unlink_at(&self, dir: RawFd, path: &CStr, flags: AtFlags) -> SysResult<()> {
        self.call("unlink_at", |s| s.unlink(dir, path.to_bytes(), flags))
    }

    fn rename_at(
        &self,
        old_dir: RawFd,
        old: &CStr,
        new_dir: RawFd,
        new: &CStr,
        flags: RenameFlags,
    ) -> SysResult<()> {
        self.call("rename_at", |s| s.rename(old_dir, old.to_bytes(), new_dir, new.to_bytes(), flags))
    }

    fn readlink_at(&self, dir: RawFd, path: &CStr) -> SysResult<Vec<u8>> {
        self.call("readlink_at", |s| s.readlink(dir, path.to_bytes()))
    }

    fn read_dir(&self, fd: RawFd, offset: u64, budget: usize) -> SysResult<Vec<DirEntry>> {
        self.call("read_dir", |s| s.read_dir(fd, offset, budget))
    }

    fn pread(&self, fd: RawFd, buf: &mut [u8], offset: u64, flags: ReadFlags) -> SysResult<usize> {
        self.call_bytes("pread", |s, limit| {
            let len = buf.len().min(limit);
            s.pread(fd, buf.get_mut(..len).unwrap_or_default(), offset, flags)
        })
    }

    fn pwrite(&self, fd: RawFd, buf: &[u8], offset: u64) -> SysResult<usize> {
        self.call_bytes("pwrite", |s, limit| s.pwrite(fd, &buf[..buf.len().min(limit)], offset))
    }

    fn ftruncate(&self, fd: RawFd, len: u64) -> SysResult<()> {
        self.call("ftruncate", |s| s.ftruncate(fd, len))
    }

    fn fallocate(&self, fd: RawFd, mode: u32, offset: u64, len: u64) -> SysResult<()> {
        self.call("fallocate", |s| s.fallocate(fd, mode, offset, len))
    }

    fn seek(&self, fd: RawFd, to: SeekFrom) -> SysResult<u64> {
        self.call("seek", |s| s.seek(fd, to))
    }

    fn copy_file_range(
        &self,
        from: RawFd,
        from_offset: u64,
        to: RawFd,
        to_offset: u64,
        len: usize,
    ) -> SysResult<usize> {
        self.call_bytes("copy_file_range", |s, limit| {
            s.copy_file_range(from, from_offset, to, to_offset, len.min(limit))
        })
    }

    fn fsync(&self, fd: RawFd, _data_only: bool) -> SysResult<()> {
        // Without the times of the last write, which nobody can tell, both are the same in the model.
        self.call("fsync", |s| {
            let open = s.real_file(fd)?;
            match s.meta(open.ino)?.kind() {
                libc::S_IFREG | libc::S_IFDIR => s.sync_inode(open.ino),
                _ => return Err(Errno::INVAL),
            }
            Ok(())
        })
    }

    fn syncfs(&self, fd: RawFd) -> SysResult<()> {
        self.call("syncfs", |s| {
            s.real_file(fd)?;
            s.sync_all();
            Ok(())
        })
    }

    fn map_shared(&self, fd: RawFd, len: usize) -> SysResult<Arc<SharedWords>> {
        self.call("map_shared", |s| s.map_shared(fd, len))
    }

    fn getxattr(&self, target: XattrTarget<'_>, name: &CStr, buf: &mut [u8]) -> SysResult<usize> {
        self.call("getxattr", |s| {
            let ino = s.xattr_target(target)?;
            s.getxattr(ino, name.to_bytes(), buf)
        })
    }

    fn setxattr(
        &self,
        target: XattrTarget<'_>,
        name: &CStr,
        value: &[u8],
        flags: XattrFlags,
    ) -> SysResult<()> {
        self.call("setxattr", |s| {
            let ino = s.xattr_target(target)?;
            s.setxattr(ino, name.to_bytes(), value, flags)
        })
    }

    fn listxattr(&self, target: XattrTarget<'_>, buf: &mut [u8]) -> SysResult<usize> {
        self.call("listxattr", |s| {
            let ino = s.xattr_target(target)?;
            s.listxattr(ino, buf)
        })
    }

    fn removexattr(&self, target: XattrTarget<'_>, name: &CStr) -> SysResult<()> {
        self.call("removexattr", |s| {
            let ino = s.xattr_target(target)?;
            s.removexattr(ino, name.to_bytes())
        })
    }

    fn monotonic(&self) -> u64 {
        self.lock().monotonic
    }

    fn realtime(&self) -> Timespec {
        self.lock().now
    }

    fn random(&self, buf: &mut [u8]) {
        let mut state = self.lock();
        for piece in buf.chunks_mut(8) {
            let bytes = splitmix64(&mut state.rng).to_ne_bytes();
            piece.copy_from_slice(&bytes[..piece.len()]);
        }
    }

    fn is_real(&self) -> bool {
        false
    }
}
