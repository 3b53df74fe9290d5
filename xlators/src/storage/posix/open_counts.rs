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

    /// One descriptor less; true when it was the last.
    pub fn closed(&self, gfid: Gfid, anonymous: bool) -> bool {
        let mut shard = self.shard(gfid);
        let Some(count) = shard.get_mut(&gfid) else { return false };
        count.total = count.total.saturating_sub(1);
        count.active = count.active.saturating_sub(u32::from(!anonymous));
        if count.total == 0 {
            shard.remove(&gfid);
            return true;
        }
        false
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
    fn the_last_close_is_told() {
        let counts = OpenCounts::default();
        counts.opened(Gfid::ROOT, false);
        counts.opened(Gfid::ROOT, true);
        assert_eq!(counts.get(Gfid::ROOT), OpenCount { total: 2, active: 1 });
        assert!(!counts.closed(Gfid::ROOT, false));
        assert!(counts.closed(Gfid::ROOT, true));
        assert!(!counts.closed(Gfid::ROOT, true));
        assert_eq!(counts.objects(), 0);
    }
}
