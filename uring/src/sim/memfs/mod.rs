//! A file system in memory behind [`Sys`](crate::sys::Sys), which answers like ext4 answers root.
//!
//! Everything in it is determined by what is called and in which order: the clock stands still unless the simulation
//! moves it, random numbers come from a seed, and numbers of objects and descriptors are handed out in a fixed way.
//!
//! What differs from a mounted ext4:
//! - The caller is root with an empty umask; no permission is ever checked. The `fs.protected_*` settings of sticky
//!   directories are off, as the kernel has them by default.
//! - Sockets, device nodes, and fifos that would wait for their other end cannot be opened (ENXIO).
//! - `fallocate` can reserve, zero and punch, but not collapse, insert or unshare ranges (EOPNOTSUPP).
//! - Only file data and the number of objects count against the capacity; directories and attributes are free.
//! - What is stored through a mapping is seen through mappings only, not by reads, and no sync makes it durable.
//! - Extended attributes may be as large as the kernel's general limits allow, unless [`MemFs::set_xattr_room`] says so.

mod acl;
mod attrs;
mod calls;
mod crash;
mod data;
mod faults;
mod handles;
mod inode;
mod io;
mod names;
mod open;
mod state;
mod tree;
mod walk;
mod xattr;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::crash::Journal;
use self::faults::Faults;
use self::state::{Limits, State};
use self::tree::Tree;
use crate::sys::{Errno, Timespec};

/// A file system in memory.
///
/// `AT_FDCWD` and absolute paths mean its root. Descriptors are large numbers that the real kernel refuses.
pub struct MemFs {
    state: Mutex<State>,
}

impl std::fmt::Debug for MemFs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.lock();
        f.debug_struct("MemFs")
            .field("inodes", &state.live.inodes.len())
            .field("pages", &state.used_pages)
            .field("open", &state.fds.len())
            .finish_non_exhaustive()
    }
}

impl MemFs {
    /// An empty file system of 1 TiB with seed 0, at 2020-01-01.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Self::with_seed(0)
    }

    /// An empty file system whose random numbers come from `seed`.
    #[must_use]
    pub fn with_seed(seed: u64) -> Arc<Self> {
        let now = Timespec { sec: 1_577_836_800, nsec: 0 };
        let limits = Limits { pages: 1 << 28, inodes: 1 << 24, xattr_room: usize::MAX };
        Self::mount(Tree::new(now), now, 1_000_000_000, seed, limits, 1)
    }

    fn mount(
        tree: Tree,
        now: Timespec,
        monotonic: u64,
        rng: u64,
        limits: Limits,
        next_generation: u32,
    ) -> Arc<Self> {
        let last = tree.last_ino().max(10);
        let state = State {
            used_pages: tree.page_count(),
            free_inos: (inode::ROOT + 1..last).rev().filter(|ino| !tree.inodes.contains_key(ino)).collect(),
            next_ino: last,
            next_generation,
            journal: Journal::new(tree.clone()),
            live: tree,
            txn: Vec::new(),
            fds: BTreeMap::new(),
            free_fds: BTreeSet::new(),
            opens: BTreeMap::new(),
            locks: BTreeMap::new(),
            now,
            monotonic,
            rng,
            limits,
            cold_names: BTreeSet::new(),
            cold_data: BTreeSet::new(),
            faults: Faults::default(),
            maps: BTreeMap::new(),
        };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// Nothing is half done when a call panics, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets both clocks: what time stamps get, and the monotonic one in nanoseconds.
    pub fn set_time(&self, realtime: Timespec, monotonic: u64) {
        let mut state = self.lock();
        (state.now, state.monotonic) = (realtime, monotonic);
    }

    /// Moves both clocks on.
    pub fn advance(&self, by: Duration) {
        let mut state = self.lock();
        let nanos = u64::from(state.now.nsec) + u64::from(by.subsec_nanos());
        let carry = i64::from(nanos >= 1_000_000_000);
        state.now.nsec = (nanos % 1_000_000_000) as u32;
        state.now.sec = state.now.sec.saturating_add_unsigned(by.as_secs()).saturating_add(carry);
        state.monotonic = state.monotonic.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Starts the random numbers anew.
    pub fn set_seed(&self, seed: u64) {
        self.lock().rng = seed;
    }

    /// Sets the capacity: blocks of 4096 bytes for data, and objects. What is already there stays if it is more.
    pub fn set_capacity(&self, blocks: u64, inodes: u64) {
        let mut state = self.lock();
        (state.limits.pages, state.limits.inodes) = (blocks, inodes);
    }

    /// Limits the names and values of the extended attributes of one object to so many bytes in all (ENOSPC); ext4 has
    /// about 4000.
    pub fn set_xattr_room(&self, bytes: usize) {
        self.lock().limits.xattr_room = bytes;
    }

    /// Empties the caches: until it is used the slow way, each object answers a `RESOLVE_CACHED` walk and each file a
    /// `RWF_NOWAIT` read with EAGAIN. Everything is in the cache to begin with.
    pub fn drop_caches(&self) {
        let mut state = self.lock();
        state.cold_names = state.live.inodes.keys().copied().collect();
        state.cold_data = state.cold_names.clone();
    }

    /// Takes one object, by its number, out of the caches; see [`MemFs::drop_caches`].
    pub fn make_cold(&self, ino: u64) {
        let mut state = self.lock();
        state.cold_names.insert(ino);
        state.cold_data.insert(ino);
    }

    /// Lets the `nth` call from now (1 is the next) of `operation` fail with `errno` and do nothing.
    ///
    /// # Panics
    ///
    /// If `operation` is not the name of a method of [`Sys`](crate::sys::Sys) that returns a result, or `nth` is 0.
    pub fn fail(&self, operation: &str, nth: u64, errno: Errno) {
        self.lock().faults.fail(operation, nth, errno);
    }

    /// Lets the `nth` call from now of `pread`, `pwrite` or `copy_file_range` move at most `len` bytes.
    ///
    /// # Panics
    ///
    /// If `operation` is none of these, or `nth` is 0.
    pub fn shorten(&self, operation: &str, nth: u64, len: usize) {
        self.lock().faults.shorten(operation, nth, len);
    }

    /// How often `operation` was called, failures included.
    #[must_use]
    pub fn calls(&self, operation: &str) -> u64 {
        self.lock().faults.calls(operation)
    }

    /// How many of the planned faults have not happened yet.
    #[must_use]
    pub fn pending_faults(&self) -> usize {
        self.lock().faults.pending()
    }

    /// How many descriptors are open.
    #[must_use]
    pub fn open_files(&self) -> usize {
        self.lock().fds.len()
    }

    /// What a power cut now would leave, mounted again: no descriptors, no locks, no faults, the same clocks and limits.
    /// Of what was not synced, `seed` decides how much survives; the model is described in the source of this module's
    /// `crash` part and in short is: a prefix of the metadata operations, and no unsynced data. `self` stays as it is.
    #[must_use]
    pub fn crash(&self, seed: u64) -> Arc<Self> {
        let state = self.lock();
        let tree = state.after_power_cut(|pending| {
            let mut dice = seed;
            (state::splitmix64(&mut dice) % (pending as u64 + 1)) as usize
        });
        Self::mount(tree, state.now, state.monotonic, state.rng ^ seed, state.limits, state.next_generation)
    }

    /// Whether names, link counts and parents agree everywhere, now and in what a power cut could leave at the least.
    /// For tests of this file system and of whoever uses it.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        let state = self.lock();
        state.live.is_consistent() && state.after_power_cut(|_| 0).is_consistent()
    }
}
