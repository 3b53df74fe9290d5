//! What happened, as one thread has seen it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Instant;

use hdrhistogram::Histogram;
use kiln_uring::Errno;

use super::kinds::Kind;

/// Longest time that is told apart: ten minutes.
pub const MAX_NS: u64 = 600_000_000_000;
/// Digits that times are exact to.
const DIGITS: u8 = 3;
/// Nanoseconds of one interval of the log.
const INTERVAL_NS: u64 = 1_000_000_000;

/// A histogram of nanoseconds. It grows with what is recorded.
pub fn histogram() -> Histogram<u64> {
    // The bounds are constants that hdrhistogram takes.
    let mut histogram =
        Histogram::new_with_bounds(1, 1_000_000, DIGITS).unwrap_or_else(|_| unreachable!("constant bounds"));
    histogram.auto(true);
    histogram
}

/// What happened of one kind.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Went well.
    pub count: u64,
    /// Failed.
    pub errors: u64,
    /// By errno.
    pub by_errno: BTreeMap<i32, u64>,
    /// Moved.
    pub bytes: u64,
    /// Nanoseconds of those that went well.
    pub times: Histogram<u64>,
}

impl Default for Tally {
    fn default() -> Self {
        Self { count: 0, errors: 0, by_errno: BTreeMap::new(), bytes: 0, times: histogram() }
    }
}

impl Tally {
    /// Adds what another thread has seen.
    pub fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.errors += other.errors;
        self.bytes += other.bytes;
        for (errno, count) in &other.by_errno {
            *self.by_errno.entry(*errno).or_default() += count;
        }
        // It grows as it has to, so nothing is out of its bounds.
        let _ = self.times.add(&other.times);
    }
}

/// All kinds, by their place in [`Kind::ALL`].
pub type Tallies = Vec<Option<Box<Tally>>>;

/// A second of one kind.
#[derive(Clone, Debug)]
pub struct Interval {
    /// Which second.
    pub index: u64,
    /// Of what.
    pub kind: Kind,
    /// Nanoseconds.
    pub times: Histogram<u64>,
}

/// See the [module](self).
pub struct Recorder {
    base: Instant,
    /// What ends from the first on and before the second counts, in nanoseconds since the base.
    window: Cell<(u64, u64)>,
    tallies: RefCell<Tallies>,
    /// The last end that counted.
    last: Cell<u64>,
    intervals: Option<RefCell<Vec<Interval>>>,
}

impl Recorder {
    /// Counts nothing until [`Recorder::open`].
    pub fn new(base: Instant, intervals: bool) -> Self {
        Self {
            base,
            window: Cell::new((u64::MAX, u64::MAX)),
            tallies: RefCell::new(vec![None; Kind::COUNT]),
            last: Cell::new(0),
            intervals: intervals.then(RefCell::default),
        }
    }

    /// Nanoseconds since the base.
    pub fn now(&self) -> u64 {
        self.base.elapsed().as_nanos() as u64
    }

    /// Counts what ends in this window.
    pub fn open(&self, from: u64, to: u64) {
        self.window.set((from, to));
    }

    /// Something of `kind`, meant to begin at `since`, ended at `end`. Returns whether that counts.
    pub fn record(&self, kind: Kind, since: u64, end: u64, outcome: Result<u64, Errno>) -> bool {
        let (from, to) = self.window.get();
        if end < from || end >= to {
            return false;
        }
        self.last.set(self.last.get().max(end));
        let mut tallies = self.tallies.borrow_mut();
        let Some(tally) = tallies.get_mut(kind as usize) else { return false };
        let tally = tally.get_or_insert_default();
        let bytes = match outcome {
            Ok(bytes) => bytes,
            Err(errno) => {
                tally.errors += 1;
                *tally.by_errno.entry(errno.raw_os_error()).or_default() += 1;
                return true;
            }
        };
        tally.count += 1;
        tally.bytes += bytes;
        let took = end.saturating_sub(since).clamp(1, MAX_NS);
        // It grows, so nothing is out of its bounds.
        let _ = tally.times.record(took);
        if let Some(intervals) = &self.intervals {
            keep(&mut intervals.borrow_mut(), (end - from) / INTERVAL_NS, kind, took);
        }
        true
    }

    /// The last end that counted, in nanoseconds since the base.
    pub fn last(&self) -> u64 {
        self.last.get()
    }

    /// What there is, leaving nothing.
    pub fn take(&self) -> (Tallies, Vec<Interval>) {
        let tallies = std::mem::replace(&mut *self.tallies.borrow_mut(), vec![None; Kind::COUNT]);
        (tallies, self.intervals.as_ref().map(RefCell::take).unwrap_or_default())
    }
}

fn keep(intervals: &mut Vec<Interval>, index: u64, kind: Kind, took: u64) {
    // The present second is among the last ones.
    let recent = intervals.iter_mut().rev().take(Kind::COUNT * 2);
    let known = recent.into_iter().find(|interval| interval.index == index && interval.kind == kind);
    match known {
        Some(interval) => _ = interval.times.record(took),
        None => {
            let mut times = histogram();
            let _ = times.record(took);
            intervals.push(Interval { index, kind, times });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_window_counts() {
        let recorder = Recorder::new(Instant::now(), true);
        recorder.record(Kind::Read, 0, 10, Ok(1));
        recorder.open(100, 3_000_000_000);
        recorder.record(Kind::Read, 50, 99, Ok(1));
        recorder.record(Kind::Read, 50, 100, Ok(4096));
        recorder.record(Kind::Read, 60, 2_000_000_050, Ok(4096));
        recorder.record(Kind::Read, 60, 170, Err(Errno::NOENT));
        recorder.record(Kind::Read, 60, 3_000_000_000, Ok(4096));
        let last = recorder.last();
        let (tallies, intervals) = recorder.take();
        let tally = tallies[Kind::Read as usize].as_deref().unwrap();
        assert_eq!((tally.count, tally.errors, tally.bytes, last), (2, 1, 8192, 2_000_000_050));
        assert_eq!((tally.times.min(), tally.by_errno.get(&2)), (50, Some(&1)));
        assert!(tally.times.max() >= 1_999_000_000);
        assert_eq!(intervals.iter().map(|interval| interval.index).collect::<Vec<_>>(), [0, 1]);
        assert!(recorder.take().0.iter().all(Option::is_none));
    }

    #[test]
    fn tallies_add_up() {
        let mut one = Tally::default();
        let mut other = Tally { count: 2, errors: 1, bytes: 9, ..Tally::default() };
        other.by_errno.insert(5, 1);
        other.times.record(MAX_NS).unwrap();
        one.add(&other);
        one.add(&other);
        assert_eq!((one.count, one.errors, one.bytes, one.times.len(), one.by_errno[&5]), (4, 2, 18, 2, 2));
    }

    #[test]
    fn kinds_are_in_the_order_of_their_numbers() {
        for (index, kind) in Kind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, index);
        }
        assert!(Kind::CreateUnlink.is_whole() && !Kind::PartCreate.is_whole());
    }
}
