//! The most frequent and the fastest, in bounded space.

use hashbrown::HashTable;
use kiln_uring::sys::Timespec;

use crate::types::Gfid;

/// Length of a list.
pub(super) const LIMIT: usize = 100;

/// One object of a [`Frequent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counted {
    pub gfid: Gfid,
    /// Not less than the true count.
    pub count: u64,
    /// By how much `count` may be too high.
    pub error: u64,
}

/// The objects that were named most often (the *space-saving* sketch of Metwally, Agrawal and El Abbadi, 2005): a newcomer
/// takes the place of the least frequent one and inherits its count as error. Whatever makes up more than 1 % of all events
/// is sure to be listed.
#[derive(Clone, Default)]
pub(super) struct Frequent {
    entries: Vec<Counted>,
    by_gfid: HashTable<u8>,
    /// A lower bound of all counts, and where to look for an entry that has it.
    least: u64,
    cursor: usize,
}

const _: () = assert!(LIMIT <= u8::MAX as usize, "places fit in the index");

/// Gfids are random, but for a few well-known ones: a little mixing is enough.
fn hash(gfid: Gfid) -> u64 {
    let number = u128::from_le_bytes(*gfid.as_bytes());
    let (low, high) = (number as u64, (number >> 64) as u64);
    low.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ high.rotate_left(23)
}

impl Frequent {
    /// One event of this object.
    pub(super) fn count(&mut self, gfid: Gfid) {
        let Self { entries, by_gfid, .. } = self;
        let hash = hash(gfid);
        if let Some(place) = by_gfid.find(hash, |place| entries[usize::from(*place)].gfid == gfid) {
            entries[usize::from(*place)].count += 1;
            return;
        }
        let place = if entries.len() < LIMIT {
            entries.push(Counted { gfid, count: 1, error: 0 });
            self.least = 0;
            entries.len() - 1
        } else {
            self.replace_least(gfid)
        };
        let Self { entries, by_gfid, .. } = self;
        by_gfid.insert_unique(hash, place as u8, |place| self::hash(entries[usize::from(*place)].gfid));
    }

    /// Gives the place of an entry with the lowest count to `gfid`. Counts only grow, so the search goes on where the last
    /// one ended, and a whole round without success raises the bound: constant work per event on average.
    fn replace_least(&mut self, gfid: Gfid) -> usize {
        let mut looked = 0;
        while self.entries[self.cursor].count > self.least {
            self.cursor = (self.cursor + 1) % self.entries.len();
            looked += 1;
            if looked == self.entries.len() {
                self.least = self.entries.iter().map(|entry| entry.count).min().unwrap_or_default();
                looked = 0;
            }
        }
        let place = self.cursor;
        let old = self.entries[place];
        if let Ok(found) = self.by_gfid.find_entry(hash(old.gfid), |known| usize::from(*known) == place) {
            found.remove();
        }
        self.entries[place] = Counted { gfid, count: old.count + 1, error: old.count };
        place
    }

    /// The lists of several cores as one, most frequent first.
    pub(super) fn merge<'a>(lists: impl Iterator<Item = &'a Self>) -> Vec<Counted> {
        let mut sums = hashbrown::HashMap::<Gfid, Counted>::new();
        for entry in lists.flat_map(|list| &list.entries) {
            let sum = sums.entry(entry.gfid).or_insert(Counted { gfid: entry.gfid, count: 0, error: 0 });
            sum.count += entry.count;
            sum.error += entry.error;
        }
        let mut all: Vec<_> = sums.into_values().collect();
        all.sort_unstable_by_key(|entry| (std::cmp::Reverse(entry.count), entry.gfid));
        all.truncate(LIMIT);
        all
    }
}

/// One object of a [`Fastest`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Speed {
    pub gfid: Gfid,
    /// Bytes per microsecond of its best request.
    pub rate: f64,
    /// When that was.
    pub at: Timespec,
}

/// The objects with the best throughput of a single request.
#[derive(Clone, Default)]
pub(super) struct Fastest {
    entries: Vec<Speed>,
    /// What a request must exceed to matter, once the list is full.
    floor: f64,
}

impl Fastest {
    /// A request of this rate; `now` is asked only when it is listed.
    pub(super) fn record(&mut self, gfid: Gfid, rate: f64, now: impl FnOnce() -> Timespec) {
        if rate <= self.floor {
            return;
        }
        if let Some(known) = self.entries.iter_mut().find(|entry| entry.gfid == gfid) {
            if rate > known.rate {
                (known.rate, known.at) = (rate, now());
            }
        } else if self.entries.len() < LIMIT {
            self.entries.push(Speed { gfid, rate, at: now() });
        } else if let Some(slowest) = self.entries.iter_mut().min_by(|a, b| a.rate.total_cmp(&b.rate)) {
            *slowest = Speed { gfid, rate, at: now() };
        }
        if self.entries.len() == LIMIT {
            self.floor = self.entries.iter().map(|entry| entry.rate).fold(f64::INFINITY, f64::min);
        }
    }

    /// The lists of several cores as one, fastest first.
    pub(super) fn merge<'a>(lists: impl Iterator<Item = &'a Self>) -> Vec<Speed> {
        let mut all: Vec<_> = lists.flat_map(|list| &list.entries).copied().collect();
        all.sort_unstable_by(|a, b| b.rate.total_cmp(&a.rate).then_with(|| a.gfid.cmp(&b.gfid)));
        let mut seen = hashbrown::HashSet::new();
        all.retain(|entry| seen.insert(entry.gfid));
        all.truncate(LIMIT);
        all
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn gfid(number: u16) -> Gfid {
        let [high, low] = number.to_be_bytes();
        Gfid::from_bytes([high, low, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, low])
    }

    proptest! {
        #[test]
        fn heavy_ones_are_never_missed(events in prop::collection::vec((0_u16..400, 0_u16..4), 1..3000)) {
            let mut list = Frequent::default();
            let mut truth = HashMap::<Gfid, u64>::new();
            for (number, heavy) in events {
                // Three of four events go to ten objects.
                let gfid = gfid(if heavy > 0 { number % 10 } else { number });
                list.count(gfid);
                *truth.entry(gfid).or_default() += 1;
            }
            let total: u64 = truth.values().sum();
            let found = Frequent::merge([&list].into_iter());
            prop_assert!(found.len() <= LIMIT);
            prop_assert_eq!(found.iter().map(|entry| entry.count).sum::<u64>(), total);
            for (gfid, count) in truth {
                match found.iter().find(|entry| entry.gfid == gfid) {
                    Some(entry) => prop_assert!(entry.count >= count && entry.count - entry.error <= count),
                    None => prop_assert!(count <= total / LIMIT as u64),
                }
            }
        }
    }

    #[test]
    fn lists_of_cores_add_up() {
        let (mut one, mut two) = (Frequent::default(), Frequent::default());
        (0..5).for_each(|_| one.count(gfid(1)));
        (0..3).for_each(|_| two.count(gfid(1)));
        (0..7).for_each(|_| two.count(gfid(2)));
        let merged = Frequent::merge([&one, &two].into_iter());
        assert_eq!(
            merged.iter().map(|entry| (entry.gfid, entry.count)).collect::<Vec<_>>(),
            [(gfid(1), 8), (gfid(2), 7)]
        );
    }

    #[test]
    fn the_fastest_request_of_each_object_counts() {
        let at = |sec| Timespec { sec, nsec: 0 };
        let mut list = Fastest::default();
        for number in 0..300_u16 {
            list.record(gfid(number), f64::from(number % 150), || at(i64::from(number)));
        }
        let merged = Fastest::merge([&list, &list].into_iter());
        assert_eq!(merged.len(), LIMIT);
        assert_eq!((merged[0].rate, merged[99].rate), (149.0, 100.0));
        list.record(gfid(1), 1000.0, || at(5));
        list.record(gfid(1), 500.0, || at(6));
        let merged = Fastest::merge([&list].into_iter());
        assert_eq!(merged[0], Speed { gfid: gfid(1), rate: 1000.0, at: at(5) });
    }
}
