//! A kernel whose caller can be killed: after so many calls nothing that it does has an effect any more.

use std::ffi::CStr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use kiln_uring::Errno;
use kiln_uring::sys::{
    AtFlags, DirEntry, How, OpenFlags, RawFd, ReadFlags, RenameFlags, SeekFrom, SharedWords, Stat, StatFs,
    Sys, SysResult, TimeSet, Timespec, XattrFlags, XattrTarget,
};

/// How the calls go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// After the counted calls none does anything.
    Killed,
    /// The call after the counted ones fails with this, if it could change something; all others work.
    FailsOnce(Errno),
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Mortal {
    inner: Arc<dyn Sys>,
    left: AtomicI64,
    fate: Mutex<Fate>,
    made: AtomicU64,
    maps: Mutex<Vec<Arc<SharedWords>>>,
    /// What was in the mapped files when it was killed.
    frozen: Mutex<Option<Vec<Vec<u64>>>>,
}

impl Mortal {
    pub(super) fn new(inner: Arc<dyn Sys>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            left: AtomicI64::new(i64::MAX),
            fate: Mutex::new(Fate::Killed),
            made: AtomicU64::new(0),
            maps: Mutex::default(),
            frozen: Mutex::default(),
        })
    }

    /// Lets `calls` more calls through.
    pub(super) fn doom(&self, calls: u64, fate: Fate) {
        *self.fate.lock().unwrap() = fate;
        self.made.store(0, Ordering::Relaxed);
        self.left.store(i64::try_from(calls).unwrap(), Ordering::Relaxed);
    }

    /// Ends the faults (not the death).
    pub(super) fn pardon(&self) {
        self.left.store(i64::MAX, Ordering::Relaxed);
    }

    /// How many calls there were since the last [`Mortal::doom`].
    pub(super) fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// Puts back what was in mapped files at the moment of death: stores need no call, so the dead went on storing.
    pub(super) fn bury(&self) {
        let Some(frozen) = self.frozen.lock().unwrap().take() else { return };
        for (map, words) in self.maps.lock().unwrap().iter().zip(frozen) {
            map.words().iter().zip(words).for_each(|(to, from)| to.store(from, Ordering::Relaxed));
        }
    }

    fn step(&self, changes: bool) -> SysResult<()> {
        self.made.fetch_add(1, Ordering::Relaxed);
        let fate = *self.fate.lock().unwrap();
        if fate == Fate::Killed || changes {
            let left = self.left.fetch_sub(1, Ordering::Relaxed);
            match fate {
                _ if left > 0 => {}
                Fate::Killed => {
                    if left == 0 {
                        let maps = self.maps.lock().unwrap();
                        let words = |map: &Arc<SharedWords>| {
                            map.words().iter().map(|word| word.load(Ordering::Relaxed)).collect()
                        };
                        *self.frozen.lock().unwrap() = Some(maps.iter().map(words).collect());
                    }
                    return Err(Errno::IO);
                }
                Fate::FailsOnce(errno) if left == 0 => return Err(errno),
                Fate::FailsOnce(_) => {}
            }
        }
        Ok(())
    }
}

macro_rules! pass_on {
    ($($changes:literal $name:ident($($arg:ident: $kind:ty),*) -> $result:ty;)*) => {
        $(fn $name(&self, $($arg: $kind),*) -> $result {
            self.step($changes)?;
            self.inner.$name($($arg),*)
        })*
    };
}

#[rustfmt::skip]
impl Sys for Mortal {
    pass_on! {
        false open_by_handle(mount: RawFd, handle: &[u8], flags: OpenFlags) -> SysResult<RawFd>;
        false name_to_handle(dir: RawFd, path: &CStr) -> SysResult<Vec<u8>>;
        false set_flags(fd: RawFd, flags: OpenFlags) -> SysResult<()>;
        false lock_exclusive(fd: RawFd) -> SysResult<()>;
        false stat_at(dir: RawFd, path: &CStr) -> SysResult<Stat>;
        false stat(fd: RawFd) -> SysResult<Stat>;
        true chmod(fd: RawFd, mode: u32) -> SysResult<()>;
        true chmod_at(dir: RawFd, path: &CStr, mode: u32) -> SysResult<()>;
        true chown(fd: RawFd, uid: u32, gid: u32) -> SysResult<()>;
        true chown_at(dir: RawFd, path: &CStr, uid: u32, gid: u32) -> SysResult<()>;
        true set_times(fd: RawFd, atime: TimeSet, mtime: TimeSet) -> SysResult<()>;
        true set_times_at(dir: RawFd, path: &CStr, atime: TimeSet, mtime: TimeSet) -> SysResult<()>;
        false statfs(fd: RawFd) -> SysResult<StatFs>;
        true mkdir_at(dir: RawFd, path: &CStr, mode: u32) -> SysResult<()>;
        true mknod_at(dir: RawFd, path: &CStr, mode: u32, rdev: u64) -> SysResult<()>;
        true symlink_at(target: &CStr, dir: RawFd, path: &CStr) -> SysResult<()>;
        true link_at(old_dir: RawFd, old: &CStr, new_dir: RawFd, new: &CStr) -> SysResult<()>;
        true link_fd(fd: RawFd, new_dir: RawFd, new: &CStr) -> SysResult<()>;
        false unlink_at(dir: RawFd, path: &CStr, flags: AtFlags) -> SysResult<()>;
        true rename_at(old_dir: RawFd, old: &CStr, new_dir: RawFd, new: &CStr, flags: RenameFlags) -> SysResult<()>;
        false readlink_at(dir: RawFd, path: &CStr) -> SysResult<Vec<u8>>;
        false read_dir(fd: RawFd, offset: u64, budget: usize) -> SysResult<Vec<DirEntry>>;
        false pread(fd: RawFd, buf: &mut [u8], offset: u64, flags: ReadFlags) -> SysResult<usize>;
        true pwrite(fd: RawFd, buf: &[u8], offset: u64) -> SysResult<usize>;
        true ftruncate(fd: RawFd, len: u64) -> SysResult<()>;
        true fallocate(fd: RawFd, mode: u32, offset: u64, len: u64) -> SysResult<()>;
        false seek(fd: RawFd, to: SeekFrom) -> SysResult<u64>;
        true copy_file_range(from: RawFd, from_offset: u64, to: RawFd, to_offset: u64, len: usize) -> SysResult<usize>;
        false fsync(fd: RawFd, data_only: bool) -> SysResult<()>;
        false syncfs(fd: RawFd) -> SysResult<()>;
        false getxattr(target: XattrTarget<'_>, name: &CStr, buf: &mut [u8]) -> SysResult<usize>;
        true setxattr(target: XattrTarget<'_>, name: &CStr, value: &[u8], flags: XattrFlags) -> SysResult<()>;
        false listxattr(target: XattrTarget<'_>, buf: &mut [u8]) -> SysResult<usize>;
        false removexattr(target: XattrTarget<'_>, name: &CStr) -> SysResult<()>;
    }

    fn openat2(&self, dir: RawFd, path: &CStr, how: How) -> SysResult<RawFd> {
        let tmpfile = how.flags.contains(OpenFlags::TMPFILE);
        self.step(tmpfile || how.flags.contains(OpenFlags::CREAT))?;
        self.inner.openat2(dir, path, how)
    }

    fn map_shared(&self, fd: RawFd, len: usize) -> SysResult<Arc<SharedWords>> {
        self.step(false)?;
        let map = self.inner.map_shared(fd, len)?;
        self.maps.lock().unwrap().push(Arc::clone(&map));
        Ok(map)
    }

    fn close(&self, fd: RawFd) {
        self.inner.close(fd);
    }

    fn monotonic(&self) -> u64 {
        self.inner.monotonic()
    }

    fn realtime(&self) -> Timespec {
        self.inner.realtime()
    }

    fn random(&self, buf: &mut [u8]) {
        self.inner.random(buf);
    }

    fn is_real(&self) -> bool {
        self.inner.is_real()
    }
}
