//! The system calls that rustix lacks, made with `libc::syscall`, and the questions whether this kernel has them.

use std::ffi::{CStr, c_char, c_int, c_long};

use super::super::{Errno, RawFd, SysResult, XattrFlags};

// One number on every architecture: these calls are younger than the unified table.
const FCHMODAT2: c_long = 452;
const SETXATTRAT: c_long = 463;
const GETXATTRAT: c_long = 464;
const LISTXATTRAT: c_long = 465;
const REMOVEXATTRAT: c_long = 466;

/// The kernel's bound for the opaque part of a handle (`MAX_HANDLE_SZ`).
pub const MAX_HANDLE: usize = 128;

/// `struct xattr_args` of Linux 6.13.
#[repr(C)]
struct XattrArgs {
    value: u64,
    size: u32,
    flags: u32,
}

const XATTR_ARGS_SIZE: usize = size_of::<XattrArgs>();

/// `struct file_handle` with room for the longest handle.
#[repr(C)]
struct FileHandle {
    bytes: u32,
    kind: c_int,
    opaque: [u8; MAX_HANDLE],
}

/// What the C wrapper of `syscall(2)` returned, as a result.
fn check(ret: c_long) -> SysResult<usize> {
    usize::try_from(ret).map_err(|_| {
        let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
        Errno::from_raw_os_error(errno)
    })
}

/// Whether the kernel has `getxattrat(2)` and its three siblings (Linux 6.13). They look at the flags first, so that
/// nonsense there is EINVAL where they exist; ENOSYS, or EPERM from an old seccomp filter, where not.
pub fn has_xattrat() -> bool {
    // SAFETY: all pointers are null with length 0 and the flags are invalid; the kernel reads and writes nothing.
    let ret = unsafe {
        libc::syscall(REMOVEXATTRAT, -1, std::ptr::null::<c_char>(), u32::MAX, std::ptr::null::<c_char>())
    };
    check(ret) == Err(Errno::INVAL)
}

/// Whether the kernel has `fchmodat2(2)` (Linux 6.6); asked like [`has_xattrat`].
pub fn has_fchmodat2() -> bool {
    // SAFETY: the path is null and the flags are invalid; the kernel reads and writes nothing.
    let ret = unsafe { libc::syscall(FCHMODAT2, -1, std::ptr::null::<c_char>(), 0u32, u32::MAX) };
    check(ret) == Err(Errno::INVAL)
}

/// `fchmodat2(2)` without following.
pub fn fchmodat2(dir: RawFd, path: &CStr, mode: u32) -> SysResult<()> {
    // SAFETY: `path` is a NUL-terminated string that lives through the call; the rest are numbers.
    let ret = unsafe { libc::syscall(FCHMODAT2, dir, path.as_ptr(), mode, libc::AT_SYMLINK_NOFOLLOW) };
    check(ret).map(drop)
}

/// `getxattrat(2)` without following.
pub fn getxattrat(dir: RawFd, path: &CStr, name: &CStr, buf: &mut [u8]) -> SysResult<usize> {
    let args = XattrArgs { value: buf.as_mut_ptr() as u64, size: len_u32(buf.len()), flags: 0 };
    // SAFETY: both strings are NUL-terminated and live through the call; `args` names `buf`, which is exclusively ours,
    // and never more of it than there is.
    let ret = unsafe {
        libc::syscall(
            GETXATTRAT,
            dir,
            path.as_ptr(),
            libc::AT_SYMLINK_NOFOLLOW,
            name.as_ptr(),
            &raw const args,
            XATTR_ARGS_SIZE,
        )
    };
    check(ret)
}

/// `setxattrat(2)` without following.
pub fn setxattrat(dir: RawFd, path: &CStr, name: &CStr, value: &[u8], flags: XattrFlags) -> SysResult<()> {
    let size = u32::try_from(value.len()).map_err(|_| Errno::TOOBIG)?;
    let args = XattrArgs { value: value.as_ptr() as u64, size, flags: flags.bits() };
    // SAFETY: both strings are NUL-terminated and live through the call; `args` names `value`, which the kernel only reads.
    let ret = unsafe {
        libc::syscall(
            SETXATTRAT,
            dir,
            path.as_ptr(),
            libc::AT_SYMLINK_NOFOLLOW,
            name.as_ptr(),
            &raw const args,
            XATTR_ARGS_SIZE,
        )
    };
    check(ret).map(drop)
}

/// `listxattrat(2)` without following.
pub fn listxattrat(dir: RawFd, path: &CStr, buf: &mut [u8]) -> SysResult<usize> {
    // SAFETY: `path` is NUL-terminated and lives through the call; `buf` is exclusively ours and its length is told.
    let ret = unsafe {
        libc::syscall(LISTXATTRAT, dir, path.as_ptr(), libc::AT_SYMLINK_NOFOLLOW, buf.as_mut_ptr(), buf.len())
    };
    check(ret)
}

/// `removexattrat(2)` without following.
pub fn removexattrat(dir: RawFd, path: &CStr, name: &CStr) -> SysResult<()> {
    // SAFETY: both strings are NUL-terminated and live through the call.
    let ret =
        unsafe { libc::syscall(REMOVEXATTRAT, dir, path.as_ptr(), libc::AT_SYMLINK_NOFOLLOW, name.as_ptr()) };
    check(ret).map(drop)
}

/// `name_to_handle_at(2)`; an empty path names `dir` itself.
pub fn name_to_handle(dir: RawFd, path: &CStr) -> SysResult<Vec<u8>> {
    let mut handle = FileHandle { bytes: MAX_HANDLE as u32, kind: 0, opaque: [0; MAX_HANDLE] };
    let mut mount: c_int = 0;
    let flags = if path.is_empty() { libc::AT_EMPTY_PATH } else { 0 };
    // SAFETY: `path` is NUL-terminated; `handle` has the layout of `struct file_handle` followed by the `bytes` bytes it
    // announces, and `mount` is an int; all live through the call.
    let ret = unsafe {
        libc::syscall(libc::SYS_name_to_handle_at, dir, path.as_ptr(), &raw mut handle, &raw mut mount, flags)
    };
    check(ret)?;
    let opaque = handle.opaque.get(..handle.bytes as usize).ok_or(Errno::OVERFLOW)?;
    let mut out = Vec::with_capacity(4 + opaque.len());
    out.extend_from_slice(&handle.kind.to_ne_bytes());
    out.extend_from_slice(opaque);
    Ok(out)
}

/// `open_by_handle_at(2)` on what [`name_to_handle`] gave.
pub fn open_by_handle(mount: RawFd, bytes: &[u8], flags: u32) -> SysResult<RawFd> {
    let (kind, opaque) = bytes.split_first_chunk::<4>().ok_or(Errno::INVAL)?;
    let mut handle = FileHandle {
        bytes: len_u32(opaque.len()),
        kind: c_int::from_ne_bytes(*kind),
        opaque: [0; MAX_HANDLE],
    };
    handle.opaque.get_mut(..opaque.len()).ok_or(Errno::INVAL)?.copy_from_slice(opaque);
    // SAFETY: `handle` has the layout of `struct file_handle` followed by the `bytes` bytes it announces.
    let ret = unsafe { libc::syscall(libc::SYS_open_by_handle_at, mount, &raw const handle, flags) };
    check(ret).and_then(|fd| RawFd::try_from(fd).map_err(|_| Errno::BADF))
}

/// The file system id, whose two halves rustix keeps to itself, as `statvfs(3)` puts them together.
pub fn fsid(id: rustix::fs::Fsid) -> u64 {
    // SAFETY: `Fsid` is the kernel's `__kernel_fsid_t`, a struct of two ints, for which every bit pattern is valid.
    let [low, high] = unsafe { std::mem::transmute::<rustix::fs::Fsid, [u32; 2]>(id) };
    u64::from(low) | u64::from(high) << 32
}

/// A length that the kernel takes as u32; longer buffers are used up to there.
fn len_u32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
