//! Which objects may have locks, for all cores to see: most have none, and then nobody needs to ask the owner core.

use std::sync::atomic::{AtomicU32, Ordering};

use super::state::object::Kind;
use crate::types::Gfid;

const BUCKETS: usize = 4096;

#[derive(Debug, Default)]
struct Counts([AtomicU32; 3]);

/// Counters of locks (held and waited for) by a hash of the gfid. Only owner cores change them, before they answer; so a
/// client that knows of a lock finds it counted.
#[derive(Debug)]
pub struct Presence {
    buckets: Box<[Counts]>,
    total: Counts,
}

impl Default for Presence {
    fn default() -> Self {
        Self { buckets: (0..BUCKETS).map(|_| Counts::default()).collect(), total: Counts::default() }
    }
}

impl Presence {
    fn bucket(&self, gfid: Gfid) -> &Counts {
        &self.buckets[gfid.ino() as usize % BUCKETS]
    }

    /// Whether the object may have locks of that kind.
    #[must_use]
    pub fn may_have(&self, gfid: Gfid, kind: Kind) -> bool {
        self.bucket(gfid).0[kind as usize].load(Ordering::Acquire) != 0
    }

    /// Whether any object has locks of that kind.
    #[must_use]
    pub fn any(&self, kind: Kind) -> bool {
        self.total.0[kind as usize].load(Ordering::Acquire) != 0
    }

    /// An object had `before` locks and has `after`.
    pub fn publish(&self, gfid: Gfid, kind: Kind, before: usize, after: usize) {
        // Wrapping: a decrease is the addition of its complement.
        let change = (after as u32).wrapping_sub(before as u32);
        if change != 0 {
            self.bucket(gfid).0[kind as usize].fetch_add(change, Ordering::AcqRel);
            self.total.0[kind as usize].fetch_add(change, Ordering::AcqRel);
        }
    }
}
