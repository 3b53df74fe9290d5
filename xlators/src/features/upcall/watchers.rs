//! Who used which object, and when: plain data of one core.

use std::num::NonZeroUsize;
use std::time::Duration;

use kiln_uring::Instant;
use lru::LruCache;

use crate::types::Gfid;

/// Most objects that one core watches.
const OBJECTS: NonZeroUsize = NonZeroUsize::new(1 << 18).expect("it is not zero");
/// Old records that each new one takes along.
const SWEEP: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Watcher {
    client: u64,
    /// Its last use.
    last: Instant,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Watchers(LruCache<Gfid, Vec<Watcher>>);

impl Default for Watchers {
    fn default() -> Self {
        Self(LruCache::unbounded())
    }
}

/// Uses are announced a quarter late at most.
fn is_watching(watcher: &Watcher, now: Instant, timeout: Duration) -> bool {
    now - watcher.last <= timeout + timeout / 4
}

impl Watchers {
    /// How many objects are watched.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A client used an object. A record that had to make room comes back, with the clients to be told.
    pub fn used(
        &mut self,
        gfid: Gfid,
        client: u64,
        now: Instant,
        timeout: Duration,
    ) -> Option<(Gfid, Vec<u64>)> {
        let watcher = Watcher { client, last: now };
        if let Some(watchers) = self.0.get_mut(&gfid) {
            match watchers.iter_mut().find(|known| known.client == client) {
                Some(known) => *known = watcher,
                None => {
                    watchers.retain(|known| is_watching(known, now, timeout));
                    watchers.push(watcher);
                }
            }
            return None;
        }
        for _ in 0..SWEEP {
            let old = self.0.peek_lru().map(|(_, watchers)| watchers);
            if old.is_some_and(|watchers| !watchers.iter().any(|known| is_watching(known, now, timeout))) {
                self.0.pop_lru();
            }
        }
        let evicted = if self.0.len() >= OBJECTS.get() { self.0.pop_lru() } else { None };
        self.0.put(gfid, vec![watcher]);
        evicted.map(|(gfid, watchers)| (gfid, watchers.into_iter().map(|watcher| watcher.client).collect()))
    }

    /// The clients but `client` that used the object lately.
    pub fn others(&mut self, gfid: Gfid, client: Option<u64>, now: Instant, timeout: Duration) -> Vec<u64> {
        let watchers = self.0.peek(&gfid).map_or(&[][..], |watchers| watchers);
        let lately = watchers.iter().filter(|known| is_watching(known, now, timeout));
        lately.map(|known| known.client).filter(|known| Some(*known) != client).collect()
    }

    /// Nobody watches the object any more.
    pub fn forget(&mut self, gfid: Gfid) {
        self.0.pop(&gfid);
    }

    /// A client is gone.
    pub fn drop_client(&mut self, client: u64) {
        let mut idle = Vec::new();
        for (gfid, watchers) in self.0.iter_mut() {
            watchers.retain(|known| known.client != client);
            if watchers.is_empty() {
                idle.push(*gfid);
            }
        }
        idle.iter().for_each(|gfid| self.forget(*gfid));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::gfid;

    #[test]
    fn only_recent_users_count() {
        let mut watchers = Watchers::default();
        let timeout = Duration::from_secs(60);
        let at = |seconds: u64| Instant::from_nanos(seconds * 1_000_000_000);
        watchers.used(gfid(1), 1, at(0), timeout);
        watchers.used(gfid(1), 2, at(30), timeout);
        assert_eq!(watchers.others(gfid(1), Some(2), at(75), timeout), [1]);
        assert_eq!(watchers.others(gfid(1), None, at(76), timeout), [2]);
        assert!(watchers.others(gfid(2), None, at(76), timeout).is_empty());
        // A new record takes the old ones along.
        watchers.used(gfid(2), 2, at(1000), timeout);
        assert_eq!(watchers.len(), 1);
        watchers.drop_client(2);
        assert!(watchers.is_empty());
    }
}
