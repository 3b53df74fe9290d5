//! Whether a job may run on the core: will the kernel answer from its caches?
//!
//! A metadata call on a cached object takes 1 µs and is made inline; on a cold one it waits for the disk and would stall the
//! whole core. The kernel can be asked (`RESOLVE_CACHED`, about 2 µs), which costs more than the call itself and has no answer
//! for a name that is absent, and a hop to a helper thread costs 5 µs and more. So every core keeps its own record, and asks
//! or hops only where the record says nothing:
//!
//! - **In memory.** A brick on tmpfs or ramfs is always warm.
//! - **Touched.** A name or an object that this core has used in the last two minutes ([`LIFETIME`]) is warm. It is a table of
//!   hashes: a collision, or an object that the kernel dropped meanwhile, only means that a call may block once.
//! - **Quick.** A directory whose last first look at a name, on a helper thread, took less than 50 µs ([`QUICK`]) is in memory
//!   or on a disk that hardly differs from it: its other names, absent ones too, are presumed to be warm. A look that takes
//!   longer after all takes the directory off the list. An NVMe disk takes 70 µs and more, ten times what the caches take.
//! - **Stalled.** A job on the core that took longer than 500 µs ([`SLOW`]) has waited for something: a full journal, a cold
//!   directory of handles. For a second ([`BAN`]) nothing is presumed, and changes of entries go to helpers, touched or not.
//!   500 µs are ten times a create and its unlink on ext4, whose journal lets one in a hundred wait for 300 µs.

use std::time::Duration;

use kiln_uring::{Class, Instant, Warmth};

/// Slots, a power of two: 512 KiB per core.
const SLOTS: usize = 1 << 16;

/// After this long everything counts as cold again.
const LIFETIME: Duration = Duration::from_secs(120);

/// Looks shorter than this came from the caches.
const QUICK: Duration = Duration::from_micros(50);

/// Jobs on the core longer than this have waited for something.
const SLOW: Duration = Duration::from_micros(500);

/// How long helpers do the work after one of those.
const BAN: Duration = Duration::from_secs(1);

/// What a file system in memory says it is (`statfs`): tmpfs, ramfs.
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// Whether a file system of this kind is nothing but the kernel's caches.
#[must_use]
pub const fn is_in_memory(kind: u64) -> bool {
    kind == IN_MEMORY[0] || kind == IN_MEMORY[1]
}

/// Whether jobs of this class are watched: those that must not wait for the disk, but may have to. Listings are not, they
/// take long for other reasons.
#[must_use]
pub const fn is_watched(class: Class) -> bool {
    matches!(class, Class::MetadataRead | Class::Open | Class::EntryChange | Class::AttrChange)
}

/// The record of one core; see the [module](self).
#[derive(Debug)]
pub struct WarmSet {
    in_memory: bool,
    slots: Box<[u64]>,
    since: Instant,
    /// The end of the ban, while there is one.
    banned: Option<Instant>,
}

impl WarmSet {
    /// An empty record. `in_memory` is whether the brick's file system [is](is_in_memory).
    #[must_use]
    pub fn new(in_memory: bool, now: Instant) -> Self {
        Self { in_memory, slots: vec![0; SLOTS].into(), since: now, banned: None }
    }

    /// Whether `key` was touched lately.
    #[must_use]
    pub fn is_touched(&self, key: u64) -> bool {
        self.slots[key as usize % SLOTS] == key | 1
    }

    /// What is known of the name or object `key` by itself.
    #[must_use]
    pub fn of(&self, key: u64) -> Warmth {
        if self.in_memory || self.is_touched(key) { Warmth::Warm } else { Warmth::Cold }
    }

    /// What is known of the name `key` in the directory `dir`.
    #[must_use]
    pub fn of_name(&mut self, dir: u64, key: u64, now: impl FnOnce() -> Instant) -> Warmth {
        let known = self.of(key);
        if known == Warmth::Warm || (self.is_touched(quick(dir)) && !self.is_banned(now)) {
            Warmth::Warm
        } else {
            Warmth::Cold
        }
    }

    /// The name or object `key` has just been used.
    pub fn touch(&mut self, key: u64, now: impl FnOnce() -> Instant) {
        if !self.in_memory {
            self.mark(key, now());
        }
    }

    /// Remembers any `key` for [`WarmSet::is_touched`], at most for [`LIFETIME`].
    pub fn mark(&mut self, key: u64, now: Instant) {
        if now - self.since > LIFETIME {
            self.slots.fill(0);
            self.since = now;
        }
        self.slots[key as usize % SLOTS] = key | 1;
    }

    /// A helper's first look at a name in directory `dir` took so long. Answers whether that was quick.
    pub fn looked(&mut self, dir: u64, took: Duration, now: Instant) -> bool {
        let is_quick = took < QUICK;
        if is_quick {
            self.mark(quick(dir), now);
        } else {
            self.forget_quick(dir);
        }
        is_quick
    }

    /// A look at a name in directory `dir`, on the core, took so long.
    pub fn looked_inline(&mut self, dir: u64, took: Duration) {
        if took >= QUICK {
            self.forget_quick(dir);
        }
    }

    /// A job on the core took so long until `now`.
    pub fn ran_inline(&mut self, took: Duration, now: Instant) {
        if took > SLOW && !self.in_memory {
            self.banned = Some(now + BAN);
        }
    }

    /// How warm a job of this class is to be taken, when its names and objects are as warm as `warmth`.
    #[must_use]
    pub fn judge(&mut self, class: Class, warmth: Warmth, now: impl FnOnce() -> Instant) -> Warmth {
        if class == Class::EntryChange && self.is_banned(now) { Warmth::Cold } else { warmth }
    }

    fn is_banned(&mut self, now: impl FnOnce() -> Instant) -> bool {
        let Some(end) = self.banned else { return false };
        let lasts = now() < end;
        if !lasts {
            self.banned = None;
        }
        lasts
    }

    fn forget_quick(&mut self, dir: u64) {
        let key = quick(dir);
        if self.is_touched(key) {
            self.slots[key as usize % SLOTS] = 0;
        }
    }
}

/// The key under which a directory counts as quick.
const fn quick(dir: u64) -> u64 {
    dir.rotate_left(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln_uring::Core;
    use kiln_uring::sim::Sim;

    const DIR: u64 = 0x1234_5678_9abc_def0;
    const FAST: Duration = Duration::from_micros(20);
    const DISK: Duration = Duration::from_micros(80);
    const STALL: Duration = Duration::from_millis(3);

    /// Runs a test with an empty record and the simulator's clock.
    fn on_a_core(test: impl AsyncFnOnce(Core, WarmSet)) {
        Sim::new(1).run(async |core: Core| {
            let set = WarmSet::new(false, core.now());
            test(core, set).await;
        });
    }

    #[test]
    fn what_was_touched_is_warm_for_two_minutes() {
        on_a_core(async |core, mut set| {
            set.touch(7, || core.now());
            assert_eq!((set.of(7), set.of(8)), (Warmth::Warm, Warmth::Cold));
            core.sleep(LIFETIME + FAST).await;
            set.touch(9 << 32, || core.now());
            assert_eq!(set.of(7), Warmth::Cold);
        });
    }

    #[test]
    fn a_quick_directory_is_warm_for_names_never_seen_until_one_is_slow() {
        on_a_core(async |core, mut set| {
            assert_eq!(set.of_name(DIR, 7, || core.now()), Warmth::Cold);
            assert!(set.looked(DIR, FAST, core.now()));
            assert_eq!(set.of_name(DIR, 8, || core.now()), Warmth::Warm);
            assert_eq!(set.of_name(DIR + 64, 8, || core.now()), Warmth::Cold);
            set.looked_inline(DIR, FAST);
            assert_eq!(set.of_name(DIR, 9, || core.now()), Warmth::Warm);
            set.looked_inline(DIR, DISK);
            assert_eq!(set.of_name(DIR, 9, || core.now()), Warmth::Cold);
            set.looked(DIR, FAST, core.now());
            assert!(!set.looked(DIR, DISK, core.now()));
            assert_eq!(set.of_name(DIR, 9, || core.now()), Warmth::Cold);
        });
    }

    #[test]
    fn a_stall_sends_changes_and_unknown_names_to_helpers_for_a_second() {
        on_a_core(async |core, mut set| {
            set.looked(DIR, FAST, core.now());
            set.touch(7, || core.now());
            set.ran_inline(SLOW, core.now());
            let judge = |set: &mut WarmSet, class| set.judge(class, Warmth::Warm, || core.now());
            assert_eq!(judge(&mut set, Class::EntryChange), Warmth::Warm);
            set.ran_inline(STALL, core.now());
            assert_eq!(judge(&mut set, Class::EntryChange), Warmth::Cold);
            assert_eq!(judge(&mut set, Class::MetadataRead), Warmth::Warm);
            assert_eq!(set.of_name(DIR, 8, || core.now()), Warmth::Cold);
            assert_eq!(set.of_name(DIR, 7, || core.now()), Warmth::Warm);
            core.sleep(BAN - FAST).await;
            assert_eq!(judge(&mut set, Class::EntryChange), Warmth::Cold);
            core.sleep(FAST).await;
            assert_eq!(judge(&mut set, Class::EntryChange), Warmth::Warm);
            assert_eq!(set.of_name(DIR, 8, || core.now()), Warmth::Warm);
        });
    }

    #[test]
    fn a_file_system_in_memory_is_warm_and_never_stalls() {
        assert!(is_in_memory(0x0102_1994) && !is_in_memory(0xef53));
        on_a_core(async |core, _| {
            let mut set = WarmSet::new(true, core.now());
            set.ran_inline(STALL, core.now());
            set.looked_inline(DIR, STALL);
            assert_eq!(set.of_name(DIR, 8, || core.now()), Warmth::Warm);
            assert_eq!(set.judge(Class::EntryChange, Warmth::Warm, || core.now()), Warmth::Warm);
            assert!(!set.is_touched(8));
        });
    }
}
