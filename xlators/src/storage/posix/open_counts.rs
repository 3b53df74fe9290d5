//! Which objects are open, on all cores together: what an unlink must know, and what clients ask for in xdata.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;

use crate::types::Gfid;

const SHARDS: usize = 64;

/// How often an object is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenCount {
    /// Descriptors.
    pub total: u32,
    /// Descriptors that somebody opened (not anonymous ones).
    pub active: u32,
    /// It has lost its last name meanwhile, and waits in `unlink/` for the last close.
    pub parked: bool,
}

/// What closing a descriptor has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// An object that others have open, or that keeps its name.
    Object,
    /// A file in `unlink/` that nobody has open any more.
    Parked,
}

/// See the [module](self).
#[derive(Debug)]
pub struct OpenCounts(Box<[Mutex<HashMap<Gfid, OpenCount>>]>);

impl Default for OpenCounts {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }
}

impl OpenCounts {
    /// One more descriptor.
    pub fn opened(&self, gfid: Gfid, anonymous: bool) {
        let mut shard = self.shard(gfid);
        let count = shard.entry(gfid).or_default();
        count.total += 1;
        count.active += u32::from(!anonymous);
    }

    /// One descriptor less.
    pub fn closed(&self, gfid: Gfid, anonymous: bool) -> Left {
        let mut shard = self.shard(gfid);
        let Some(count) = shard.get_mut(&gfid) else { return Left::Object };
        count.total = count.total.saturating_sub(1);
        count.active = count.active.saturating_sub(u32::from(!anonymous));
        let left = if count.total == 0 && count.parked { Left::Parked } else { Left::Object };
        if count.total == 0 {
            shard.remove(&gfid);
        }
        left
    }

    /// An open object has been moved to `unlink/`.
    pub fn parked(&self, gfid: Gfid) {
        if let Some(count) = self.shard(gfid).get_mut(&gfid) {
            count.parked = true;
        }
    }

    /// How often it is open now.
    #[must_use]
    pub fn get(&self, gfid: Gfid) -> OpenCount {
        self.shard(gfid).get(&gfid).copied().unwrap_or_default()
    }

    /// How many objects are open.
    #[must_use]
    pub fn objects(&self) -> usize {
        (0..SHARDS).map(|index| self.0[index].lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    fn shard(&self, gfid: Gfid) -> MutexGuard<'_, HashMap<Gfid, OpenCount>> {
        self.0[usize::from(gfid.as_bytes()[15]) % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_close_of_a_parked_object_is_told() {
        let counts = OpenCounts::default();
        counts.opened(Gfid::ROOT, false);
        counts.opened(Gfid::ROOT, true);
        assert_eq!(counts.get(Gfid::ROOT), OpenCount { total: 2, active: 1, parked: false });
        counts.parked(Gfid::ROOT);
        assert_eq!(counts.closed(Gfid::ROOT, false), Left::Object);
        assert_eq!(counts.closed(Gfid::ROOT, true), Left::Parked);
        assert_eq!(counts.closed(Gfid::ROOT, true), Left::Object);
        counts.opened(Gfid::ROOT, false);
        assert_eq!(counts.closed(Gfid::ROOT, false), Left::Object);
        assert_eq!(counts.objects(), 0);
    }
}
