//! Faults on demand, around any kernel: the errors, short counts and cache misses that a healthy test machine never shows.

use std::collections::HashMap;
use std::ffi::CStr;
use std::io::IoSlice;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::MemFs;
use super::net::{NetConditions, Network};
use super::rng::Rng;
use crate::net::{Address, ConnectOptions, Credentials, Family, ListenOptions, Net, Shutdown, StreamOptions};
use crate::sys::{
    AtFlags, DirEntry, Errno, How, OpenFlags, RawFd, ReadFlags, RenameFlags, SeekFrom, SharedWords, Stat,
    StatFs, Sys, SysResult, TimeSet, Timespec, XattrFlags, XattrTarget,
};
use crate::time::Instant;

/// Both clocks at the start of a simulation on a kernel that has real ones: 2020-01-01, one second after boot. A
/// [`MemFs`] brings its own.
const START: (Timespec, u64) = (Timespec { sec: 1_577_836_800, nsec: 0 }, 1_000_000_000);

/// The calls of [`Sys`] and [`Net`] that can fail, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // Named after the functions of the trait.
pub enum Call {
    Openat2,
    OpenByHandle,
    NameToHandle,
    SetFlags,
    LockExclusive,
    StatAt,
    Stat,
    Chmod,
    ChmodAt,
    Chown,
    ChownAt,
    SetTimes,
    SetTimesAt,
    Statfs,
    MkdirAt,
    MknodAt,
    SymlinkAt,
    LinkAt,
    LinkFd,
    UnlinkAt,
    RenameAt,
    ReadlinkAt,
    ReadDir,
    Pread,
    Pwrite,
    Ftruncate,
    Fallocate,
    Seek,
    CopyFileRange,
    Fsync,
    Syncfs,
    MapShared,
    Getxattr,
    Setxattr,
    Listxattr,
    Removexattr,
    Listen,
    Socket,
    Configure,
    Shutdown,
    LocalAddress,
    PeerAddress,
    PeerCredentials,
    Connect,
    Accept,
    Recv,
    Send,
}

/// What goes wrong, and when. All chances are drawn from the seed of the simulation.
#[derive(Debug, Default)]
struct Plan {
    /// How often each call was made so far.
    made: HashMap<Call, u64>,
    /// Fails the call with this number (counted from 1).
    planned: HashMap<(Call, u64), Errno>,
    /// Fails this many of 1000 calls.
    chances: HashMap<Call, (u32, Errno)>,
    /// Of 1000 reads and writes, so many move only a part.
    short: u32,
    /// Of 1000 reads with `NOWAIT`, so many miss the page cache.
    miss: u32,
}

/// A kernel with faults, virtual time and seeded randomness around another one.
#[derive(Debug)]
pub struct Kernel {
    inner: Arc<dyn Sys>,
    /// The same, when its clock is ours to move.
    fs: Option<Arc<MemFs>>,
    plan: Mutex<Plan>,
    rng: Mutex<Rng>,
    network: Network,
    /// Wall-clock and monotonic time at the start.
    start: (Timespec, u64),
    now: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kernel {
    /// Around a kernel with clocks of its own, which are not used.
    pub(crate) fn around(inner: Arc<dyn Sys>, seed: u64) -> Self {
        Self::new(inner, None, START, seed)
    }

    /// Around a file system whose clocks this one moves.
    pub(crate) fn over(fs: Arc<MemFs>, seed: u64) -> Self {
        let start = (fs.realtime(), fs.monotonic());
        Self::new(fs.clone(), Some(fs), start, seed)
    }

    fn new(inner: Arc<dyn Sys>, fs: Option<Arc<MemFs>>, start: (Timespec, u64), seed: u64) -> Self {
        // Another stream than the scheduler's, so that a plan of faults does not change the interleaving by itself.
        let rng = Mutex::new(Rng::new(seed ^ 0xfa_u64.rotate_left(32)));
        let network = Network::new(seed);
        Self { inner, fs, plan: Mutex::default(), rng, network, start, now: AtomicU64::new(start.1) }
    }

    /// Fails the `nth` call of this kind from now on (1 is the next) with `errno`.
    pub fn fail_nth(&self, call: Call, nth: u64, errno: Errno) {
        let mut plan = lock(&self.plan);
        let number = plan.made.get(&call).copied().unwrap_or(0) + nth;
        plan.planned.insert((call, number), errno);
    }

    /// Fails `per_mille` of 1000 calls of this kind with `errno`; 0 ends it.
    pub fn fail_some(&self, call: Call, per_mille: u32, errno: Errno) {
        lock(&self.plan).chances.insert(call, (per_mille, errno));
    }

    /// Makes `per_mille` of 1000 reads and writes move only a part of what was asked (at least one byte).
    pub fn short_counts(&self, per_mille: u32) {
        lock(&self.plan).short = per_mille;
    }

    /// Makes `per_mille` of 1000 reads with `NOWAIT` fail with EAGAIN, as if the data were not in the page cache.
    pub fn cache_misses(&self, per_mille: u32) {
        lock(&self.plan).miss = per_mille;
    }

    /// Ends all faults.
    pub fn heal(&self) {
        *lock(&self.plan) = Plan::default();
    }

    /// How often this call was made since the start or the last [`Kernel::heal`], failed ones included.
    #[must_use]
    pub fn calls(&self, call: Call) -> u64 {
        lock(&self.plan).made.get(&call).copied().unwrap_or(0)
    }

    /// Changes what the network is like from now on.
    pub fn set_network(&self, conditions: NetConditions) {
        self.network.set_conditions(conditions);
    }

    /// Breaks every connection that there is.
    pub fn reset_connections(&self) {
        self.network.reset_all();
    }

    pub(crate) const fn network(&self) -> &Network {
        &self.network
    }

    pub(crate) fn now(&self) -> Instant {
        Instant::from_nanos(self.now.load(Ordering::Relaxed))
    }

    pub(crate) fn advance_to(&self, at: Instant) {
        self.now.fetch_max(at.as_nanos(), Ordering::Relaxed);
        if let Some(fs) = &self.fs {
            fs.set_time(self.realtime(), self.monotonic());
        }
    }

    /// Counts a call and decides whether it fails.
    fn check(&self, call: Call) -> SysResult<()> {
        let mut plan = lock(&self.plan);
        let made = plan.made.entry(call).or_insert(0);
        *made += 1;
        let number = *made;
        if let Some(errno) = plan.planned.remove(&(call, number)) {
            return Err(errno);
        }
        match plan.chances.get(&call) {
            Some(&(per_mille, errno)) if lock(&self.rng).chance(per_mille) => Err(errno),
            _ => Ok(()),
        }
    }

    /// How many of `len` bytes a read or write may move.
    fn allowance(&self, len: usize) -> usize {
        let short = lock(&self.plan).short;
        let mut rng = lock(&self.rng);
        if len > 1 && rng.chance(short) { 1 + rng.below(len as u64 - 1) as usize } else { len }
    }
}

/// Calls that are only checked and passed on.
macro_rules! pass_on {
    ($($call:ident: $name:ident($($arg:ident: $kind:ty),*) -> $result:ty;)*) => {
        $(fn $name(&self, $($arg: $kind),*) -> $result {
            self.check(Call::$call)?;
            self.inner.$name($($arg),*)
        })*
    };
}

#[rustfmt::skip]
impl Sys for Kernel {
    pass_on! {
        Openat2: openat2(dir: RawFd, path: &CStr, how: How) -> SysResult<RawFd>;
        OpenByHandle: open_by_handle(mount: RawFd, handle: &[u8], flags: OpenFlags) -> SysResult<RawFd>;
        NameToHandle: name_to_handle(dir: RawFd, path: &CStr) -> SysResult<Vec<u8>>;
        SetFlags: set_flags(fd: RawFd, flags: OpenFlags) -> SysResult<()>;
        LockExclusive: lock_exclusive(fd: RawFd) -> SysResult<()>;
        StatAt: stat_at(dir: RawFd, path: &CStr) -> SysResult<Stat>;
        Stat: stat(fd: RawFd) -> SysResult<Stat>;
        Chmod: chmod(fd: RawFd, mode: u32) -> SysResult<()>;
        ChmodAt: chmod_at(dir: RawFd, path: &CStr, mode: u32) -> SysResult<()>;
        Chown: chown(fd: RawFd, uid: u32, gid: u32) -> SysResult<()>;
        ChownAt: chown_at(dir: RawFd, path: &CStr, uid: u32, gid: u32) -> SysResult<()>;
        SetTimes: set_times(fd: RawFd, atime: TimeSet, mtime: TimeSet) -> SysResult<()>;
        SetTimesAt: set_times_at(dir: RawFd, path: &CStr, atime: TimeSet, mtime: TimeSet) -> SysResult<()>;
        Statfs: statfs(fd: RawFd) -> SysResult<StatFs>;
        MkdirAt: mkdir_at(dir: RawFd, path: &CStr, mode: u32) -> SysResult<()>;
        MknodAt: mknod_at(dir: RawFd, path: &CStr, mode: u32, rdev: u64) -> SysResult<()>;
        SymlinkAt: symlink_at(target: &CStr, dir: RawFd, path: &CStr) -> SysResult<()>;
        LinkAt: link_at(old_dir: RawFd, old: &CStr, new_dir: RawFd, new: &CStr) -> SysResult<()>;
        LinkFd: link_fd(fd: RawFd, new_dir: RawFd, new: &CStr) -> SysResult<()>;
        UnlinkAt: unlink_at(dir: RawFd, path: &CStr, flags: AtFlags) -> SysResult<()>;
        RenameAt: rename_at(old_dir: RawFd, old: &CStr, new_dir: RawFd, new: &CStr, flags: RenameFlags) -> SysResult<()>;
        ReadlinkAt: readlink_at(dir: RawFd, path: &CStr) -> SysResult<Vec<u8>>;
        ReadDir: read_dir(fd: RawFd, offset: u64, budget: usize) -> SysResult<Vec<DirEntry>>;
        Ftruncate: ftruncate(fd: RawFd, len: u64) -> SysResult<()>;
        Fallocate: fallocate(fd: RawFd, mode: u32, offset: u64, len: u64) -> SysResult<()>;
        Seek: seek(fd: RawFd, to: SeekFrom) -> SysResult<u64>;
        CopyFileRange: copy_file_range(from: RawFd, from_offset: u64, to: RawFd, to_offset: u64, len: usize) -> SysResult<usize>;
        Fsync: fsync(fd: RawFd, data_only: bool) -> SysResult<()>;
        Syncfs: syncfs(fd: RawFd) -> SysResult<()>;
        MapShared: map_shared(fd: RawFd, len: usize) -> SysResult<Arc<SharedWords>>;
        Getxattr: getxattr(target: XattrTarget<'_>, name: &CStr, buf: &mut [u8]) -> SysResult<usize>;
        Setxattr: setxattr(target: XattrTarget<'_>, name: &CStr, value: &[u8], flags: XattrFlags) -> SysResult<()>;
        Listxattr: listxattr(target: XattrTarget<'_>, buf: &mut [u8]) -> SysResult<usize>;
        Removexattr: removexattr(target: XattrTarget<'_>, name: &CStr) -> SysResult<()>;
    }

    fn close(&self, fd: RawFd) {
        if Network::owns(fd) {
            self.network.close(fd, self.now());
        } else {
            self.inner.close(fd);
        }
    }

    fn pread(&self, fd: RawFd, buf: &mut [u8], offset: u64, flags: ReadFlags) -> SysResult<usize> {
        self.check(Call::Pread)?;
        let miss = lock(&self.plan).miss;
        if flags.contains(ReadFlags::NOWAIT) && lock(&self.rng).chance(miss) {
            return Err(Errno::AGAIN);
        }
        let len = self.allowance(buf.len());
        self.inner.pread(fd, &mut buf[..len], offset, flags)
    }

    fn pwrite(&self, fd: RawFd, buf: &[u8], offset: u64) -> SysResult<usize> {
        self.check(Call::Pwrite)?;
        self.inner.pwrite(fd, &buf[..self.allowance(buf.len())], offset)
    }

    fn monotonic(&self) -> u64 {
        self.now().as_nanos()
    }

    fn realtime(&self) -> Timespec {
        let (start, monotonic) = self.start;
        let since = self.now().as_nanos() - monotonic + u64::from(start.nsec);
        let since = Duration::from_nanos(since);
        Timespec { sec: start.sec.saturating_add_unsigned(since.as_secs()), nsec: since.subsec_nanos() }
    }

    fn random(&self, buf: &mut [u8]) {
        lock(&self.rng).fill(buf);
    }

    fn is_real(&self) -> bool {
        false
    }

    /// Sockets are simulated whatever the kernel beneath.
    fn net(&self) -> &dyn Net {
        self
    }
}

/// Calls on the network that are only checked and passed on, some of them with the time.
macro_rules! to_network {
    ($($call:ident: $name:ident($($arg:ident: $kind:ty),* $(; $now:ident)?) -> $result:ty;)*) => {
        $(fn $name(&self, $($arg: $kind),*) -> $result {
            self.check(Call::$call)?;
            self.network.$name($($arg),* $(, self.$now())?)
        })*
    };
}

#[rustfmt::skip]
impl Net for Kernel {
    to_network! {
        Listen: listen(at: &Address, options: &ListenOptions) -> SysResult<RawFd>;
        Socket: socket(family: Family, options: &ConnectOptions) -> SysResult<RawFd>;
        Configure: configure(fd: RawFd, options: &StreamOptions) -> SysResult<()>;
        Shutdown: shutdown(fd: RawFd, how: Shutdown; now) -> SysResult<()>;
        LocalAddress: local_address(fd: RawFd) -> SysResult<Address>;
        PeerAddress: peer_address(fd: RawFd) -> SysResult<Address>;
        PeerCredentials: peer_credentials(fd: RawFd) -> SysResult<Credentials>;
        Connect: connect(fd: RawFd, to: &Address) -> SysResult<()>;
        Accept: accept(fd: RawFd) -> SysResult<RawFd>;
        Recv: recv(fd: RawFd, buf: &mut [u8]) -> SysResult<usize>;
        Send: send(fd: RawFd, parts: &[IoSlice<'_>]; now) -> SysResult<usize>;
    }
}
