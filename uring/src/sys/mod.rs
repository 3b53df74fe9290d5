//! The seam to the kernel: every system call that Kiln makes on files, clock and randomness, as one trait.
//!
//! [`Sys`] is implemented twice. [`linux::Linux`] passes each call on; [`crate::sim::MemFs`] answers from memory, so that the
//! same engine and the same translators run deterministically in a test, without a mount and without root. The calls are
//! *blocking*: which thread makes them, and whether the ring serves them instead, is the business of
//! [`crate::placement`], not of this trait.
//!
//! Descriptors are plain numbers here because a simulated kernel hands out its own; whoever opens one wraps it in a
//! [`File`] at once, which closes it when dropped.

mod file;
pub mod linux;
mod shared;
mod types;

pub use file::File;
pub use shared::SharedWords;
pub use types::{
    AtFlags, DirEntry, How, NO_ID, OpenFlags, RawFd, ReadFlags, RenameFlags, Resolve, SeekFrom, Stat, StatFs,
    TimeSet, Timespec, XattrFlags,
};

use std::ffi::CStr;
use std::sync::Arc;

use crate::net::{Net, NoNet};

/// The errno of a failed call. A number and nothing else: context is added by the layer that knows it.
pub use rustix::io::Errno;

/// What every system call returns.
pub type SysResult<T> = Result<T, Errno>;

/// Where an extended attribute lives: on an open descriptor, or on a name under a directory (never following a symbolic
/// link in the last component).
#[derive(Clone, Copy, Debug)]
pub enum XattrTarget<'a> {
    /// A descriptor opened for reading or writing; `O_PATH` descriptors are refused by the kernel (EBADF).
    Fd(RawFd),
    /// A path relative to a directory descriptor.
    At(RawFd, &'a CStr),
}

/// The system calls, as the kernel serves them. See the man page of the call with the same name for its errors.
///
/// No call follows a symbolic link in the last component of `path` unless its documentation says so.
pub trait Sys: Send + Sync + std::fmt::Debug + 'static {
    // --- descriptors -------------------------------------------------------------------------------------------------

    /// `openat2(2)`. `How::flags` always gets `O_CLOEXEC`.
    fn openat2(&self, dir: RawFd, path: &CStr, how: How) -> SysResult<RawFd>;
    /// `open_by_handle_at(2)` on a handle that [`Sys::name_to_handle`] gave; `mount` is any descriptor on that file system.
    fn open_by_handle(&self, mount: RawFd, handle: &[u8], flags: OpenFlags) -> SysResult<RawFd>;
    /// `name_to_handle_at(2)`: the handle type (native endian u32) followed by the handle's bytes. An empty `path` names
    /// `dir` itself.
    fn name_to_handle(&self, dir: RawFd, path: &CStr) -> SysResult<Vec<u8>>;
    /// `close(2)`. An error is of no use to anyone by now and is swallowed.
    fn close(&self, fd: RawFd);
    /// `fcntl(F_SETFL)`: switches `O_DIRECT` and `O_APPEND` of an open descriptor on and off; other flags stay.
    fn set_flags(&self, fd: RawFd, flags: OpenFlags) -> SysResult<()>;
    /// `flock(2)` with `LOCK_EX | LOCK_NB`: EWOULDBLOCK when another open file description holds it.
    fn lock_exclusive(&self, fd: RawFd) -> SysResult<()>;

    /// `umask(2)` with 0, for the whole process: whoever makes files for others gives the modes itself. A simulated kernel
    /// has no umask.
    fn clear_umask(&self) {}

    // --- attributes --------------------------------------------------------------------------------------------------

    /// `statx(2)` of a name under a directory.
    fn stat_at(&self, dir: RawFd, path: &CStr) -> SysResult<Stat>;
    /// `statx(2)` with `AT_EMPTY_PATH`: works on `O_PATH` descriptors too.
    fn stat(&self, fd: RawFd) -> SysResult<Stat>;
    /// `fchmod(2)`; needs a real descriptor.
    fn chmod(&self, fd: RawFd, mode: u32) -> SysResult<()>;
    /// `fchmodat2(2)` with `AT_SYMLINK_NOFOLLOW`: EOPNOTSUPP on symbolic links.
    fn chmod_at(&self, dir: RawFd, path: &CStr, mode: u32) -> SysResult<()>;
    /// `fchownat(2)` with `AT_EMPTY_PATH` on `fd`. [`NO_ID`] leaves that id as it is.
    fn chown(&self, fd: RawFd, uid: u32, gid: u32) -> SysResult<()>;
    /// `fchownat(2)` with `AT_SYMLINK_NOFOLLOW`. [`NO_ID`] leaves that id as it is.
    fn chown_at(&self, dir: RawFd, path: &CStr, uid: u32, gid: u32) -> SysResult<()>;
    /// `futimens(2)`.
    fn set_times(&self, fd: RawFd, atime: TimeSet, mtime: TimeSet) -> SysResult<()>;
    /// `utimensat(2)` with `AT_SYMLINK_NOFOLLOW`.
    fn set_times_at(&self, dir: RawFd, path: &CStr, atime: TimeSet, mtime: TimeSet) -> SysResult<()>;
    /// `fstatfs(2)`.
    fn statfs(&self, fd: RawFd) -> SysResult<StatFs>;

    // --- names -------------------------------------------------------------------------------------------------------

    /// `mkdirat(2)`.
    fn mkdir_at(&self, dir: RawFd, path: &CStr, mode: u32) -> SysResult<()>;
    /// `mknodat(2)`; `mode` carries the type bits, `rdev` is in the kernel's `dev_t` encoding.
    fn mknod_at(&self, dir: RawFd, path: &CStr, mode: u32, rdev: u64) -> SysResult<()>;
    /// `symlinkat(2)`.
    fn symlink_at(&self, target: &CStr, dir: RawFd, path: &CStr) -> SysResult<()>;
    /// `linkat(2)` without following.
    fn link_at(&self, old_dir: RawFd, old: &CStr, new_dir: RawFd, new: &CStr) -> SysResult<()>;
    /// `linkat(2)` with `AT_EMPTY_PATH`: gives an open file (an `O_TMPFILE` one, say) a name.
    fn link_fd(&self, fd: RawFd, new_dir: RawFd, new: &CStr) -> SysResult<()>;
    /// `unlinkat(2)`; with [`AtFlags::REMOVEDIR`] it is `rmdir`.
    fn unlink_at(&self, dir: RawFd, path: &CStr, flags: AtFlags) -> SysResult<()>;
    /// `renameat2(2)`.
    fn rename_at(
        &self,
        old_dir: RawFd,
        old: &CStr,
        new_dir: RawFd,
        new: &CStr,
        flags: RenameFlags,
    ) -> SysResult<()>;
    /// `readlinkat(2)`: the whole target. An empty `path` reads the link that an `O_PATH` descriptor names.
    fn readlink_at(&self, dir: RawFd, path: &CStr) -> SysResult<Vec<u8>>;
    /// `getdents64(2)` from position `offset` (0 is the start, otherwise a [`DirEntry::offset`]) until about `budget`
    /// bytes of kernel records have been taken; an empty result is the end of the directory. It moves the position of the
    /// descriptor, so two threads must not list the same one at a time.
    fn read_dir(&self, fd: RawFd, offset: u64, budget: usize) -> SysResult<Vec<DirEntry>>;

    // --- data --------------------------------------------------------------------------------------------------------

    /// `preadv2(2)`. With [`ReadFlags::NOWAIT`], EAGAIN when the data is not in the page cache and EOPNOTSUPP where the
    /// file system cannot tell.
    fn pread(&self, fd: RawFd, buf: &mut [u8], offset: u64, flags: ReadFlags) -> SysResult<usize>;
    /// `pwrite(2)`: may write less than asked.
    fn pwrite(&self, fd: RawFd, buf: &[u8], offset: u64) -> SysResult<usize>;
    /// `ftruncate(2)`.
    fn ftruncate(&self, fd: RawFd, len: u64) -> SysResult<()>;
    /// `fallocate(2)`; `mode` is the kernel's `FALLOC_FL_*` bits.
    fn fallocate(&self, fd: RawFd, mode: u32, offset: u64, len: u64) -> SysResult<()>;
    /// `lseek(2)`.
    fn seek(&self, fd: RawFd, to: SeekFrom) -> SysResult<u64>;
    /// `copy_file_range(2)`: bytes copied, which may be fewer than asked.
    fn copy_file_range(
        &self,
        from: RawFd,
        from_offset: u64,
        to: RawFd,
        to_offset: u64,
        len: usize,
    ) -> SysResult<usize>;
    /// `fsync(2)`, or `fdatasync(2)` when `data_only`.
    fn fsync(&self, fd: RawFd, data_only: bool) -> SysResult<()>;
    /// `syncfs(2)`.
    fn syncfs(&self, fd: RawFd) -> SysResult<()>;
    /// `mmap(2)`, shared, of the first `len` words of 8 bytes of a file; see [`SharedWords`] for what the file must be like.
    fn map_shared(&self, fd: RawFd, len: usize) -> SysResult<Arc<SharedWords>>;

    // --- extended attributes -----------------------------------------------------------------------------------------

    /// `getxattr(2)` into `buf`: the value's length, ERANGE when `buf` is too short, ENODATA when there is none. An empty
    /// `buf` asks for the length only.
    fn getxattr(&self, target: XattrTarget<'_>, name: &CStr, buf: &mut [u8]) -> SysResult<usize>;
    /// `setxattr(2)`.
    fn setxattr(
        &self,
        target: XattrTarget<'_>,
        name: &CStr,
        value: &[u8],
        flags: XattrFlags,
    ) -> SysResult<()>;
    /// `listxattr(2)`: the names, each ended by NUL, as the kernel gives them; empty `buf` asks for the length only.
    fn listxattr(&self, target: XattrTarget<'_>, buf: &mut [u8]) -> SysResult<usize>;
    /// `removexattr(2)`.
    fn removexattr(&self, target: XattrTarget<'_>, name: &CStr) -> SysResult<()>;

    // --- clock and randomness ----------------------------------------------------------------------------------------

    /// `CLOCK_MONOTONIC`, in nanoseconds.
    fn monotonic(&self) -> u64;
    /// `CLOCK_REALTIME`.
    fn realtime(&self) -> Timespec;
    /// Fills `buf` with unpredictable bytes (predictable from the seed in a simulation).
    fn random(&self, buf: &mut [u8]);

    // --- what the ring needs to know -----------------------------------------------------------------------------------

    /// Whether descriptors of this kernel can be handed to a real io_uring. False for simulated kernels, where the
    /// reactor performs ring operations by calling back into this trait.
    fn is_real(&self) -> bool;

    // --- sockets ---------------------------------------------------------------------------------------------------------

    /// The kernel's stream sockets. A kernel that has none need not say so.
    fn net(&self) -> &dyn Net {
        &NoNet
    }
}
