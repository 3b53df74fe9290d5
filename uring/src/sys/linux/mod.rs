//! [`Sys`] on the real kernel. Each call is one system call without an allocation, except those that return a vector and
//! the fallbacks for older kernels. A call that a signal interrupted before it did anything is made again.

mod raw;

use std::ffi::CStr;
use std::io::{IoSliceMut, Read as _};
use std::os::fd::{BorrowedFd, IntoRawFd as _};
use std::sync::Arc;

use rustix::fs::{self as rfs, CWD};
use rustix::io::retry_on_intr;

use super::{
    AtFlags, DirEntry, Errno, How, NO_ID, OpenFlags, RawFd, ReadFlags, RenameFlags, Resolve, SeekFrom,
    SharedWords, Stat, StatFs, Sys, SysResult, TimeSet, Timespec, XattrFlags, XattrTarget,
};
use crate::net::Net;

/// Smallest buffer given to `getdents64`: one record with the longest name fits (19 + 256 bytes, rounded up).
const MIN_DIR_BUFFER: usize = 512;
/// Largest buffer given to `getdents64` in one call.
const MAX_DIR_BUFFER: usize = 1 << 20;
/// How often a walk below a directory is tried again when a rename elsewhere disturbed it.
const BENEATH_RETRIES: usize = 64;
/// How often a handle is tried again whose inode number is just being reused.
const HANDLE_RETRIES: usize = 16;

/// The real kernel.
#[derive(Debug)]
pub struct Linux {
    /// `getxattrat(2)` and its siblings exist (Linux 6.13); else the names go through `/proc/self/fd`.
    xattrat: bool,
    /// `fchmodat2(2)` exists (Linux 6.6); else the mode goes through `/proc/self/fd`.
    fchmodat2: bool,
}

impl Linux {
    /// The kernel this process runs on. Asks it once which of the younger calls it has.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self { xattrat: raw::has_xattrat(), fchmodat2: raw::has_fchmodat2() })
    }

    /// The same kernel without the calls that Linux 6.6 and 6.13 brought: what the fallbacks are tested with. Needs `/proc`.
    #[must_use]
    pub fn without_young_calls() -> Arc<Self> {
        Arc::new(Self { xattrat: false, fchmodat2: false })
    }
}

/// Lends `fd` to rustix for one call.
pub(crate) fn lend<'a>(fd: RawFd) -> SysResult<BorrowedFd<'a>> {
    if fd == -1 {
        return Err(Errno::BADF);
    }
    // SAFETY: `fd` is not -1. Callers of `Sys` keep a descriptor open while they use it (see `File`); a number that is
    // not open is answered with EBADF by the kernel, and the borrow ends with the call.
    Ok(unsafe { BorrowedFd::borrow_raw(fd) })
}

const NOFOLLOW: rfs::AtFlags = rfs::AtFlags::SYMLINK_NOFOLLOW;
const EMPTY_PATH: rfs::AtFlags = rfs::AtFlags::EMPTY_PATH;

fn permissions(mode: u32) -> rfs::Mode {
    rfs::Mode::from_bits_retain(mode & 0o7777)
}

fn owner(uid: u32, gid: u32) -> (Option<rfs::Uid>, Option<rfs::Gid>) {
    ((uid != NO_ID).then(|| rfs::Uid::from_raw(uid)), (gid != NO_ID).then(|| rfs::Gid::from_raw(gid)))
}

fn times(atime: TimeSet, mtime: TimeSet) -> rfs::Timestamps {
    let one = |set| match set {
        TimeSet::Keep => rfs::Timespec { tv_sec: 0, tv_nsec: rfs::UTIME_OMIT },
        TimeSet::Now => rfs::Timespec { tv_sec: 0, tv_nsec: rfs::UTIME_NOW },
        TimeSet::At(t) => rfs::Timespec { tv_sec: t.sec, tv_nsec: t.nsec.into() },
    };
    rfs::Timestamps { last_access: one(atime), last_modification: one(mtime) }
}

fn stat_from(x: &rfs::Statx) -> Stat {
    let time = |t: &rfs::StatxTimestamp| Timespec { sec: t.tv_sec, nsec: t.tv_nsec };
    Stat {
        dev: rfs::makedev(x.stx_dev_major, x.stx_dev_minor),
        ino: x.stx_ino,
        mode: u32::from(x.stx_mode),
        nlink: x.stx_nlink,
        uid: x.stx_uid,
        gid: x.stx_gid,
        rdev_major: x.stx_rdev_major,
        rdev_minor: x.stx_rdev_minor,
        size: x.stx_size,
        blocks: x.stx_blocks,
        blksize: x.stx_blksize,
        atime: time(&x.stx_atime),
        mtime: time(&x.stx_mtime),
        ctime: time(&x.stx_ctime),
    }
}

const fn dirent_kind(kind: rfs::FileType) -> u8 {
    match kind {
        rfs::FileType::RegularFile => libc::DT_REG,
        rfs::FileType::Directory => libc::DT_DIR,
        rfs::FileType::Symlink => libc::DT_LNK,
        rfs::FileType::Fifo => libc::DT_FIFO,
        rfs::FileType::Socket => libc::DT_SOCK,
        rfs::FileType::CharacterDevice => libc::DT_CHR,
        rfs::FileType::BlockDevice => libc::DT_BLK,
        rfs::FileType::Unknown => libc::DT_UNKNOWN,
    }
}

/// A path that names what `path` names below `dir`, for calls that take no directory; built on the stack.
struct ProcPath {
    bytes: [u8; Self::ROOM],
}

impl ProcPath {
    /// `/proc/self/fd/`, a number, a slash, and the longest path (`PATH_MAX`) with its NUL.
    const ROOM: usize = 32 + libc::PATH_MAX as usize;

    fn new(dir: RawFd, path: &CStr) -> SysResult<Self> {
        use std::io::Write as _;
        if path.is_empty() {
            return Err(Errno::NOENT);
        }
        let mut it = Self { bytes: [0; Self::ROOM] };
        // The last byte stays NUL whatever is written.
        let mut room = it.bytes.get_mut(..Self::ROOM - 1).unwrap_or_default();
        if dir != libc::AT_FDCWD && !path.to_bytes().starts_with(b"/") {
            write!(room, "/proc/self/fd/{dir}/").map_err(|_| Errno::NAMETOOLONG)?;
        }
        room.write_all(path.to_bytes()).map_err(|_| Errno::NAMETOOLONG)?;
        Ok(it)
    }

    /// The path of the descriptor itself.
    fn of_fd(fd: RawFd) -> SysResult<Self> {
        use std::io::Write as _;
        let mut it = Self { bytes: [0; Self::ROOM] };
        let mut room = it.bytes.get_mut(..Self::ROOM - 1).unwrap_or_default();
        write!(room, "/proc/self/fd/{fd}").map_err(|_| Errno::NAMETOOLONG)?;
        Ok(it)
    }

    fn as_c_str(&self) -> SysResult<&CStr> {
        CStr::from_bytes_until_nul(&self.bytes).map_err(|_| Errno::NAMETOOLONG)
    }
}

impl Sys for Linux {
    fn openat2(&self, dir: RawFd, path: &CStr, how: How) -> SysResult<RawFd> {
        let creates = how.flags.contains(OpenFlags::CREAT) || how.flags.contains(OpenFlags::TMPFILE);
        // openat2 refuses a mode where nothing gets created.
        let mode = if creates { permissions(how.mode) } else { rfs::Mode::empty() };
        let flags = rfs::OFlags::from_bits_retain(how.flags.bits()) | rfs::OFlags::CLOEXEC;
        let resolve = rfs::ResolveFlags::from_bits_retain(how.resolve.bits());
        let dir = lend(dir)?;
        let mut tries = 0;
        loop {
            match retry_on_intr(|| rfs::openat2(dir, path, flags, mode, resolve)) {
                // A rename anywhere makes the kernel doubt a walk over "..": it asks to be called again.
                Err(Errno::AGAIN)
                    if how.resolve.contains(Resolve::BENEATH)
                        && !how.resolve.contains(Resolve::CACHED)
                        && !how.flags.contains(OpenFlags::NONBLOCK)
                        && tries < BENEATH_RETRIES =>
                {
                    tries += 1;
                }
                opened => return opened.map(|fd| fd.into_raw_fd()),
            }
        }
    }

    fn open_by_handle(&self, mount: RawFd, handle: &[u8], flags: OpenFlags) -> SysResult<RawFd> {
        let flags = flags.bits() | libc::O_CLOEXEC as u32;
        let mut tries = 0;
        loop {
            match retry_on_intr(|| raw::open_by_handle(mount, handle, flags)) {
                // Also what ext4 says while the inode number is just being given to a new file (the inode lookup finds
                // one under construction); a moment later it is ESTALE.
                Err(Errno::NOMEM) if tries < HANDLE_RETRIES => {
                    tries += 1;
                    std::thread::yield_now();
                }
                opened => return opened,
            }
        }
    }

    fn name_to_handle(&self, dir: RawFd, path: &CStr) -> SysResult<Vec<u8>> {
        raw::name_to_handle(dir, path)
    }

    fn clear_umask(&self) {
        rustix::process::umask(rfs::Mode::empty());
    }

    fn close(&self, fd: RawFd) {
        if fd >= 0 {
            // SAFETY: the caller owns `fd` and gives it up (see `File`); nobody uses the number afterwards.
            unsafe { rustix::io::close(fd) };
        }
    }

    fn set_flags(&self, fd: RawFd, flags: OpenFlags) -> SysResult<()> {
        let switched = rfs::OFlags::DIRECT | rfs::OFlags::APPEND;
        let fd = lend(fd)?;
        let old = rfs::fcntl_getfl(fd)?;
        let new = (old - switched) | (rfs::OFlags::from_bits_retain(flags.bits()) & switched);
        rfs::fcntl_setfl(fd, new)
    }

    fn lock_exclusive(&self, fd: RawFd) -> SysResult<()> {
        let fd = lend(fd)?;
        retry_on_intr(|| rfs::flock(fd, rfs::FlockOperation::NonBlockingLockExclusive))
    }

    fn stat_at(&self, dir: RawFd, path: &CStr) -> SysResult<Stat> {
        rfs::statx(lend(dir)?, path, NOFOLLOW, rfs::StatxFlags::BASIC_STATS).map(|x| stat_from(&x))
    }

    fn stat(&self, fd: RawFd) -> SysResult<Stat> {
        rfs::statx(lend(fd)?, c"", EMPTY_PATH, rfs::StatxFlags::BASIC_STATS).map(|x| stat_from(&x))
    }

    fn chmod(&self, fd: RawFd, mode: u32) -> SysResult<()> {
        rfs::fchmod(lend(fd)?, permissions(mode))
    }

    fn chmod_at(&self, dir: RawFd, path: &CStr, mode: u32) -> SysResult<()> {
        if self.fchmodat2 {
            return raw::fchmodat2(dir, path, mode & 0o7777);
        }
        let flags = rfs::OFlags::PATH | rfs::OFlags::NOFOLLOW | rfs::OFlags::CLOEXEC;
        let found = retry_on_intr(|| rfs::openat(lend(dir)?, path, flags, rfs::Mode::empty()))?;
        let number = std::os::fd::AsRawFd::as_raw_fd(&found);
        if self.stat(number)?.is_symlink() {
            return Err(Errno::OPNOTSUPP);
        }
        rfs::chmodat(CWD, ProcPath::of_fd(number)?.as_c_str()?, permissions(mode), rfs::AtFlags::empty())
    }

    fn chown(&self, fd: RawFd, uid: u32, gid: u32) -> SysResult<()> {
        let (uid, gid) = owner(uid, gid);
        rfs::chownat(lend(fd)?, c"", uid, gid, EMPTY_PATH)
    }

    fn chown_at(&self, dir: RawFd, path: &CStr, uid: u32, gid: u32) -> SysResult<()> {
        let (uid, gid) = owner(uid, gid);
        rfs::chownat(lend(dir)?, path, uid, gid, NOFOLLOW)
    }

    fn set_times(&self, fd: RawFd, atime: TimeSet, mtime: TimeSet) -> SysResult<()> {
        rfs::futimens(lend(fd)?, &times(atime, mtime))
    }

    fn set_times_at(&self, dir: RawFd, path: &CStr, atime: TimeSet, mtime: TimeSet) -> SysResult<()> {
        rfs::utimensat(lend(dir)?, path, &times(atime, mtime), NOFOLLOW)
    }

    fn statfs(&self, fd: RawFd) -> SysResult<StatFs> {
        let fd = lend(fd)?;
        let s = retry_on_intr(|| rfs::fstatfs(fd))?;
        Ok(StatFs {
            kind: s.f_type as u64,
            bsize: s.f_bsize as u64,
            frsize: s.f_frsize as u64,
            blocks: s.f_blocks,
            bfree: s.f_bfree,
            bavail: s.f_bavail,
            files: s.f_files,
            ffree: s.f_ffree,
            favail: s.f_ffree,
            fsid: raw::fsid(s.f_fsid),
            flags: s.f_flags as u64,
            namemax: s.f_namelen as u64,
        })
    }

    fn mkdir_at(&self, dir: RawFd, path: &CStr, mode: u32) -> SysResult<()> {
        rfs::mkdirat(lend(dir)?, path, permissions(mode))
    }

    fn mknod_at(&self, dir: RawFd, path: &CStr, mode: u32, rdev: u64) -> SysResult<()> {
        let kind = match mode & libc::S_IFMT {
            0 => rfs::FileType::RegularFile,
            kind => rfs::FileType::from_raw_mode(kind),
        };
        if kind == rfs::FileType::Unknown {
            return Err(Errno::INVAL);
        }
        rfs::mknodat(lend(dir)?, path, kind, permissions(mode), rdev)
    }

    fn symlink_at(&self, target: &CStr, dir: RawFd, path: &CStr) -> SysResult<()> {
        rfs::symlinkat(target, lend(dir)?, path)
    }

    fn link_at(&self, old_dir: RawFd, old: &CStr, new_dir: RawFd, new: &CStr) -> SysResult<()> {
        rfs::linkat(lend(old_dir)?, old, lend(new_dir)?, new, rfs::AtFlags::empty())
    }

    fn link_fd(&self, fd: RawFd, new_dir: RawFd, new: &CStr) -> SysResult<()> {
        let new_dir = lend(new_dir)?;
        match rfs::linkat(lend(fd)?, c"", new_dir, new, EMPTY_PATH) {
            // Without CAP_DAC_READ_SEARCH the kernel pretends that nothing is there; the way through /proc is open to all.
            Err(Errno::NOENT | Errno::PERM) => {
                rfs::linkat(CWD, ProcPath::of_fd(fd)?.as_c_str()?, new_dir, new, rfs::AtFlags::SYMLINK_FOLLOW)
            }
            done => done,
        }
    }

    fn unlink_at(&self, dir: RawFd, path: &CStr, flags: AtFlags) -> SysResult<()> {
        rfs::unlinkat(lend(dir)?, path, rfs::AtFlags::from_bits_retain(flags.bits()))
    }

    fn rename_at(
        &self,
        old_dir: RawFd,
        old: &CStr,
        new_dir: RawFd,
        new: &CStr,
        flags: RenameFlags,
    ) -> SysResult<()> {
        let flags = rfs::RenameFlags::from_bits_retain(flags.bits());
        rfs::renameat_with(lend(old_dir)?, old, lend(new_dir)?, new, flags)
    }

    fn readlink_at(&self, dir: RawFd, path: &CStr) -> SysResult<Vec<u8>> {
        rfs::readlinkat(lend(dir)?, path, Vec::new()).map(std::ffi::CString::into_bytes)
    }

    fn read_dir(&self, fd: RawFd, offset: u64, budget: usize) -> SysResult<Vec<DirEntry>> {
        let fd = lend(fd)?;
        // The position belongs to the open file description, so two threads must not list one descriptor at a time.
        rfs::seek(fd, rfs::SeekFrom::Start(offset))?;
        let mut room = Vec::with_capacity(budget.clamp(MIN_DIR_BUFFER, MAX_DIR_BUFFER));
        let mut records = rfs::RawDir::new(fd, room.spare_capacity_mut());
        let mut entries = Vec::new();
        while let Some(record) = records.next() {
            let record = record?;
            entries.push(DirEntry {
                name: record.file_name().to_owned(),
                ino: record.ino(),
                offset: record.next_entry_cookie(),
                kind: dirent_kind(record.file_type()),
            });
            if records.is_buffer_empty() {
                break;
            }
        }
        Ok(entries)
    }

    fn pread(&self, fd: RawFd, buf: &mut [u8], offset: u64, flags: ReadFlags) -> SysResult<usize> {
        let fd = lend(fd)?;
        // To preadv2, -1 is the file's own position; to everybody else it is an error.
        i64::try_from(offset).map_err(|_| Errno::INVAL)?;
        if flags.is_empty() {
            return retry_on_intr(|| rustix::io::pread(fd, &mut *buf, offset));
        }
        let flags = rustix::io::ReadWriteFlags::from_bits_retain(flags.bits());
        retry_on_intr(|| rustix::io::preadv2(fd, &mut [IoSliceMut::new(buf)], offset, flags))
    }

    fn pwrite(&self, fd: RawFd, buf: &[u8], offset: u64) -> SysResult<usize> {
        let fd = lend(fd)?;
        retry_on_intr(|| rustix::io::pwrite(fd, buf, offset))
    }

    fn ftruncate(&self, fd: RawFd, len: u64) -> SysResult<()> {
        let fd = lend(fd)?;
        retry_on_intr(|| rfs::ftruncate(fd, len))
    }

    fn fallocate(&self, fd: RawFd, mode: u32, offset: u64, len: u64) -> SysResult<()> {
        let fd = lend(fd)?;
        let mode = rfs::FallocateFlags::from_bits_retain(mode);
        retry_on_intr(|| rfs::fallocate(fd, mode, offset, len))
    }

    fn seek(&self, fd: RawFd, to: SeekFrom) -> SysResult<u64> {
        let to = match to {
            SeekFrom::Data(offset) => rfs::SeekFrom::Data(offset),
            SeekFrom::Hole(offset) => rfs::SeekFrom::Hole(offset),
            SeekFrom::Start(offset) => rfs::SeekFrom::Start(offset),
        };
        rfs::seek(lend(fd)?, to)
    }

    fn copy_file_range(
        &self,
        from: RawFd,
        mut from_offset: u64,
        to: RawFd,
        mut to_offset: u64,
        len: usize,
    ) -> SysResult<usize> {
        let (from, to) = (lend(from)?, lend(to)?);
        retry_on_intr(|| rfs::copy_file_range(from, Some(&mut from_offset), to, Some(&mut to_offset), len))
    }

    fn fsync(&self, fd: RawFd, data_only: bool) -> SysResult<()> {
        let fd = lend(fd)?;
        retry_on_intr(|| if data_only { rfs::fdatasync(fd) } else { rfs::fsync(fd) })
    }

    fn syncfs(&self, fd: RawFd) -> SysResult<()> {
        rfs::syncfs(lend(fd)?)
    }

    fn map_shared(&self, fd: RawFd, len: usize) -> SysResult<Arc<SharedWords>> {
        SharedWords::map(fd, len).map(Arc::new)
    }

    fn getxattr(&self, target: XattrTarget<'_>, name: &CStr, buf: &mut [u8]) -> SysResult<usize> {
        match target {
            XattrTarget::At(dir, path) if self.xattrat => raw::getxattrat(dir, path, name, buf),
            // rustix answers an empty buffer with 0, not with the length.
            XattrTarget::Fd(fd) if buf.is_empty() => rfs::fgetxattr_query(lend(fd)?, name),
            XattrTarget::Fd(fd) => rfs::fgetxattr(lend(fd)?, name, buf),
            XattrTarget::At(dir, path) => {
                let path = ProcPath::new(dir, path)?;
                if buf.is_empty() {
                    return rfs::lgetxattr_query(path.as_c_str()?, name);
                }
                rfs::lgetxattr(path.as_c_str()?, name, buf)
            }
        }
    }

    fn setxattr(
        &self,
        target: XattrTarget<'_>,
        name: &CStr,
        value: &[u8],
        flags: XattrFlags,
    ) -> SysResult<()> {
        let plain = rfs::XattrFlags::from_bits_retain(flags.bits());
        match target {
            XattrTarget::Fd(fd) => rfs::fsetxattr(lend(fd)?, name, value, plain),
            XattrTarget::At(dir, path) if self.xattrat => raw::setxattrat(dir, path, name, value, flags),
            XattrTarget::At(dir, path) => {
                rfs::lsetxattr(ProcPath::new(dir, path)?.as_c_str()?, name, value, plain)
            }
        }
    }

    fn listxattr(&self, target: XattrTarget<'_>, buf: &mut [u8]) -> SysResult<usize> {
        match target {
            XattrTarget::At(dir, path) if self.xattrat => raw::listxattrat(dir, path, buf),
            XattrTarget::Fd(fd) if buf.is_empty() => rfs::flistxattr_query(lend(fd)?),
            XattrTarget::Fd(fd) => rfs::flistxattr(lend(fd)?, buf),
            XattrTarget::At(dir, path) => {
                let path = ProcPath::new(dir, path)?;
                if buf.is_empty() {
                    return rfs::llistxattr_query(path.as_c_str()?);
                }
                rfs::llistxattr(path.as_c_str()?, buf)
            }
        }
    }

    fn removexattr(&self, target: XattrTarget<'_>, name: &CStr) -> SysResult<()> {
        match target {
            XattrTarget::Fd(fd) => rfs::fremovexattr(lend(fd)?, name),
            XattrTarget::At(dir, path) if self.xattrat => raw::removexattrat(dir, path, name),
            XattrTarget::At(dir, path) => rfs::lremovexattr(ProcPath::new(dir, path)?.as_c_str()?, name),
        }
    }

    fn monotonic(&self) -> u64 {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        (t.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(t.tv_nsec as u64)
    }

    fn realtime(&self) -> Timespec {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        Timespec { sec: t.tv_sec, nsec: u32::try_from(t.tv_nsec).unwrap_or(0) }
    }

    fn random(&self, buf: &mut [u8]) {
        let mut filled = 0;
        while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match rustix::rand::getrandom(&mut *rest, rustix::rand::GetRandomFlags::empty()) {
                Ok(n) => filled += n,
                Err(Errno::INTR) => {}
                Err(_) => {
                    let device = std::fs::File::open("/dev/urandom");
                    if device.and_then(|mut urandom| urandom.read_exact(rest)).is_err() {
                        // Going on would hand out the same gfid twice.
                        tracing::error!(
                            "the kernel gives no random numbers, neither getrandom(2) nor /dev/urandom"
                        );
                        std::process::abort();
                    }
                    return;
                }
            }
        }
    }

    fn is_real(&self) -> bool {
        true
    }

    fn net(&self) -> &dyn Net {
        self
    }
}
