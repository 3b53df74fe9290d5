//! The counters of one stretch of time on one core.

use hdrhistogram::Histogram;
use kiln_uring::Errno;

use crate::fop::Fop;

/// The longest latency that is told apart, in nanoseconds (70 s); longer ones count as this.
const LONGEST: u64 = 70_000_000_000;
/// Significant decimal digits of recorded latencies: within 1 %.
const DIGITS: u8 = 2;

/// Latencies of one fop.
#[derive(Clone)]
pub(super) struct Latency {
    /// In nanoseconds.
    pub histogram: Histogram<u64>,
    /// Sum in nanoseconds, for an exact mean.
    pub total: u64,
}

impl Latency {
    fn new() -> Self {
        let histogram =
            Histogram::new_with_bounds(1, LONGEST, DIGITS).expect("constant bounds, accepted by a test");
        Self { histogram, total: 0 }
    }

    /// How many took as long as each of the ascending `bounds` and longer than the one before it, and how many longer than
    /// the last. Within a percent of a bound it may be the next bucket.
    pub(super) fn counts(&self, bounds: &[u64]) -> Vec<u64> {
        let mut counts = vec![0; bounds.len() + 1];
        for step in self.histogram.iter_recorded() {
            let bucket = bounds.partition_point(|bound| *bound < step.value_iterated_to());
            counts[bucket] += step.count_at_value();
        }
        counts
    }

    /// How many took from each lower bound (in nanoseconds) to the next, in eight steps per power of two; the filled ones.
    pub(super) fn fine(&self) -> Vec<(u64, u64)> {
        let mut counts: Vec<(u64, u64)> = Vec::new();
        for step in self.histogram.iter_recorded() {
            // Aligned to a power of two and narrower than our steps, so that all of it is in one of them.
            let nanos = step.value_iterated_to();
            let shift = nanos.checked_ilog2().unwrap_or(0).saturating_sub(3);
            let from = nanos >> shift << shift;
            match counts.last_mut() {
                Some((last, count)) if *last == from => *count += step.count_at_value(),
                _ => counts.push((from, step.count_at_value())),
            }
        }
        counts
    }

    fn absorb(&mut self, other: &Self) {
        // Both have the same bounds.
        let _ = self.histogram.add(&other.histogram);
        self.total = self.total.saturating_add(other.total);
    }
}

/// What is counted of one fop.
#[derive(Clone, Default)]
pub(super) struct FopCounters {
    /// Finished calls.
    pub hits: u64,
    /// Failed ones, by errno; a handful of different ones at most, so the list is searched in order.
    pub errors: Vec<(Errno, u64)>,
    /// Made at the first call, since a histogram takes 30 KiB and most fops never come.
    pub latency: Option<Box<Latency>>,
}

impl FopCounters {
    pub(super) fn fail(&mut self, errno: Errno, times: u64) {
        match self.errors.iter_mut().find(|(known, _)| *known == errno) {
            Some((_, count)) => *count += times,
            None => self.errors.push((errno, times)),
        }
    }

    pub(super) fn took(&mut self, nanos: u64) {
        let latency = self.latency.get_or_insert_with(|| Box::new(Latency::new()));
        latency.histogram.saturating_record(nanos);
        latency.total = latency.total.saturating_add(nanos);
    }

    fn absorb(&mut self, other: &Self) {
        self.hits += other.hits;
        other.errors.iter().for_each(|(errno, times)| self.fail(*errno, *times));
        if let Some(theirs) = &other.latency {
            self.latency.get_or_insert_with(|| Box::new(Latency::new())).absorb(theirs);
        }
    }
}

/// Bytes moved in one direction.
#[derive(Clone, Copy, Default)]
pub(super) struct Traffic {
    /// In total.
    pub bytes: u64,
    /// Requests by size: bucket `i` has those of 2^i to 2^(i+1)-1 bytes; the last one also all larger ones.
    pub sizes: [u64; 32],
}

impl Traffic {
    pub(super) fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        if let Some(bucket) = bytes.checked_ilog2() {
            self.sizes[bucket.min(31) as usize] += 1;
        }
    }

    fn absorb(&mut self, other: &Self) {
        self.bytes += other.bytes;
        self.sizes.iter_mut().zip(&other.sizes).for_each(|(mine, theirs)| *mine += theirs);
    }
}

/// Counters of one stretch of time.
#[derive(Clone)]
pub(super) struct Window {
    /// By [`Fop`].
    pub fops: Vec<FopCounters>,
    /// Bytes read.
    pub read: Traffic,
    /// Bytes written.
    pub written: Traffic,
    /// Descriptors of files that were closed.
    pub releases: u64,
    /// Descriptors of directories that were closed.
    pub releasedirs: u64,
    /// Objects that no client remembers any more.
    pub forgets: u64,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            fops: vec![FopCounters::default(); Fop::COUNT],
            read: Traffic::default(),
            written: Traffic::default(),
            releases: 0,
            releasedirs: 0,
            forgets: 0,
        }
    }
}

impl Window {
    pub(super) fn fop(&mut self, fop: Fop) -> &mut FopCounters {
        &mut self.fops[fop as usize]
    }

    /// Adds the counters of `other`.
    pub(super) fn absorb(&mut self, other: &Self) {
        self.fops.iter_mut().zip(&other.fops).for_each(|(mine, theirs)| mine.absorb(theirs));
        self.read.absorb(&other.read);
        self.written.absorb(&other.written);
        self.releases += other.releases;
        self.releasedirs += other.releasedirs;
        self.forgets += other.forgets;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_fall_into_powers_of_two() {
        let mut traffic = Traffic::default();
        for bytes in [0, 1, 4095, 4096, 8191, usize::MAX / 4] {
            traffic.add(bytes);
        }
        let filled: Vec<_> = (0..32).filter(|bucket| traffic.sizes[*bucket] > 0).collect();
        assert_eq!(filled, [0, 11, 12, 31]);
        assert_eq!(traffic.sizes[12], 2);
    }

    #[test]
    fn latencies_are_kept_within_a_percent_and_never_lost() {
        let mut one = FopCounters::default();
        for nanos in [0, 1, 999, 123_456, LONGEST * 9] {
            one.took(nanos);
        }
        let mut sum = FopCounters::default();
        sum.fail(Errno::IO, 2);
        sum.absorb(&one);
        sum.absorb(&one);
        let latency = sum.latency.unwrap();
        assert_eq!(latency.histogram.len(), 10);
        assert_eq!(latency.counts(&[1, 1000]), [4, 2, 4]);
        let fine = latency.fine();
        assert_eq!(fine.iter().map(|(_, count)| count).sum::<u64>(), 10);
        assert_eq!(fine[fine.len() - 3..fine.len() - 1], [(960, 2), (122_880, 2)]);
        let close = latency.histogram.value_at_quantile(0.8) as f64 / 123_456.0;
        assert!((0.99..=1.01).contains(&close), "{close}");
        assert!(latency.histogram.max() >= LONGEST);
        assert_eq!(sum.errors, [(Errno::IO, 2)]);
    }
}
