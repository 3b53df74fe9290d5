//! What this core has touched lately, and is therefore in the kernel's caches: a fixed table of hashes.
//!
//! A metadata call on a cached object takes 1 µs and is made inline; on a cold one it waits for the disk and would stall the
//! whole core. The kernel can be asked (`RESOLVE_CACHED`, about 2 µs), which costs more than the call itself, so the answer
//! is remembered here. A hash collision or an object that the kernel dropped meanwhile only means that a call may block
//! once; a table that is cleared every so often keeps that rare.

use std::time::Duration;

use kiln_uring::{Instant, Warmth};

/// Slots, a power of two: 512 KiB per core.
const SLOTS: usize = 1 << 16;

/// After this long everything counts as cold again.
const LIFETIME: Duration = Duration::from_secs(120);

/// See the [module](self).
#[derive(Debug)]
pub struct WarmSet {
    slots: Box<[u64]>,
    since: Instant,
}

impl WarmSet {
    /// Everything is cold.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { slots: vec![0; SLOTS].into(), since: now }
    }

    /// Whether `key` was touched lately.
    #[must_use]
    pub fn get(&self, key: u64) -> Warmth {
        if self.slots[key as usize % SLOTS] == key | 1 { Warmth::Warm } else { Warmth::Cold }
    }

    /// `key` has just been touched.
    pub fn touch(&mut self, key: u64, now: Instant) {
        if now - self.since > LIFETIME {
            self.slots.fill(0);
            self.since = now;
        }
        self.slots[key as usize % SLOTS] = key | 1;
    }
}
