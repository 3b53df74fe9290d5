//! A file system in memory behind [`Sys`].

use std::ffi::CStr;
use std::sync::Arc;

use crate::sys::{
    AtFlags, DirEntry, Errno, How, OpenFlags, RawFd, ReadFlags, RenameFlags, SeekFrom, Stat, StatFs, Sys,
    SysResult, TimeSet, Timespec, XattrFlags, XattrTarget,
};

/// A file system in memory.
#[derive(Debug)]
pub struct MemFs {}

impl MemFs {
    /// An empty file system.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {})
    }
}

impl Sys for MemFs {
    fn openat2(&self, _dir: RawFd, _path: &CStr, _how: How) -> SysResult<RawFd> {
        Err(Errno::NOSYS)
    }
    fn open_by_handle(&self, _mount: RawFd, _handle: &[u8], _flags: OpenFlags) -> SysResult<RawFd> {
        Err(Errno::NOSYS)
    }
    fn name_to_handle(&self, _dir: RawFd, _path: &CStr) -> SysResult<Vec<u8>> {
        Err(Errno::NOSYS)
    }
    fn close(&self, _fd: RawFd) {}
    fn set_flags(&self, _fd: RawFd, _flags: OpenFlags) -> SysResult<()> {
        Err(Errno::NOSYS)
    }
    fn lock_exclusive(&self, _fd: RawFd) -> SysResult<()> {
        Err(Errno::NOSYS)
    }
    fn stat_at(&self, _dir: RawFd, _path: &CStr) -> SysResult<Stat> {
        Err(Errno::NOSYS)
    }
    fn stat(&self, _fd: RawFd) -> SysResult<Stat> {
        Err(Errno::NOSYS)
    }
    fn chmod(&self, _fd: RawFd, _mode: u32) -> SysResult<()> {
        Err(Errno::NOSYS)
    }
    fn chmod_at(&self, _dir: RawFd, _path: &CStr, _mode: u32) -> SysResult<()> {
        Err(Errno::NOSYS)
    }
    fn chown(&self, _fd: RawFd, _uid: u32, _gid: u32) -> SysResult<()> {
        Err(Errno::NOSYS)
    }
    fn chown_at(&self, _dir: RawFd, _path: &CStr, _uid: u32, _gid: u32) -> SysResult<()> {
        Err(Errno::NOSYS)
    }
    fn set_times(&self, _fd: RawFd, _atime: TimeSet, _mtime: TimeSet) -> SysResult<()> {
        Err(Errno::NOSYS)
    }
    fn set_times_at(&self, _dir: RawFd, _path: &CStr, _atime: TimeSet, _mtime: TimeSet) -> SysResult<()> {
        Err(Errno::NOSYS)
    }
    fn statfs(&self, _fd: RawFd) -> SysResult<StatFs> {
        Err(Errno::NOSYS)
    }
    fn mkdir_at(&self, _dir: RawFd, _path: &CStr, _mode: u32) -> SysResult<()> {
        Err(Errno::NOSYS)
    }
    fn mknod_at(&self, _dir: RawFd, _path: &CStr, _mode: u32, _rdev: u64) -> SysResult<()> {
        Err(Errno::NOSYS)
    }
    fn symlink_at(&self, _target: &CStr, _dir: RawFd, _path: &CStr) -> SysResult<()> {
        Err(Errno::NOSYS)
    }
    fn link_at(&self, _old_dir: RawFd, _old: &CStr, _new_dir: RawFd, _new: &CStr) -> SysResult<()> {
        Err(Errno::NOSYS)
    }
    fn link_fd(&self, _fd: RawFd, _new_dir: RawFd, _new: &CStr) -> SysResult<()> {
        Err(Errno::NOSYS)
    }
    fn unlink_at(&self, _dir: RawFd, _path: &CStr, _flags: AtFlags) -> SysResult<()> {
        Err(Errno::NOSYS)
    }
    fn rename_at(
        &self,
        _old_dir: RawFd,
        _old: &CStr,
        _new_dir: RawFd,
        _new: &CStr,
        _flags: RenameFlags,
    ) -> SysResult<()> {
        Err(Errno::NOSYS)
    }
    fn readlink_at(&self, _dir: RawFd, _path: &CStr) -> SysResult<Vec<u8>> {
        Err(Errno::NOSYS)
    }
    fn read_dir(&self, _fd: RawFd, _offset: u64, _budget: usize) -> SysResult<Vec<DirEntry>> {
        Err(Errno::NOSYS)
    }
    fn pread(&self, _fd: RawFd, _buf: &mut [u8], _offset: u64, _flags: ReadFlags) -> SysResult<usize> {
        Err(Errno::NOSYS)
    }
    fn pwrite(&self, _fd: RawFd, _buf: &[u8], _offset: u64) -> SysResult<usize> {
        Err(Errno::NOSYS)
    }
    fn ftruncate(&self, _fd: RawFd, _len: u64) -> SysResult<()> {
        Err(Errno::NOSYS)
    }
    fn fallocate(&self, _fd: RawFd, _mode: u32, _offset: u64, _len: u64) -> SysResult<()> {
        Err(Errno::NOSYS)
    }
    fn seek(&self, _fd: RawFd, _to: SeekFrom) -> SysResult<u64> {
        Err(Errno::NOSYS)
    }
    fn copy_file_range(
        &self,
        _from: RawFd,
        _from_offset: u64,
        _to: RawFd,
        _to_offset: u64,
        _len: usize,
    ) -> SysResult<usize> {
        Err(Errno::NOSYS)
    }
    fn fsync(&self, _fd: RawFd, _data_only: bool) -> SysResult<()> {
        Err(Errno::NOSYS)
    }
    fn syncfs(&self, _fd: RawFd) -> SysResult<()> {
        Err(Errno::NOSYS)
    }
    fn getxattr(&self, _target: XattrTarget<'_>, _name: &CStr, _buf: &mut [u8]) -> SysResult<usize> {
        Err(Errno::NOSYS)
    }
    fn setxattr(
        &self,
        _target: XattrTarget<'_>,
        _name: &CStr,
        _value: &[u8],
        _flags: XattrFlags,
    ) -> SysResult<()> {
        Err(Errno::NOSYS)
    }
    fn listxattr(&self, _target: XattrTarget<'_>, _buf: &mut [u8]) -> SysResult<usize> {
        Err(Errno::NOSYS)
    }
    fn removexattr(&self, _target: XattrTarget<'_>, _name: &CStr) -> SysResult<()> {
        Err(Errno::NOSYS)
    }
    fn monotonic(&self) -> u64 {
        0
    }
    fn realtime(&self) -> Timespec {
        Timespec::default()
    }
    fn random(&self, _buf: &mut [u8]) {}
    fn is_real(&self) -> bool {
        false
    }
}
