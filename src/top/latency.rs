//! Latencies of an interval: the difference of two histograms that a brick told.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How many fops took from each lower bound (in nanoseconds) to the next, in eight steps per power of two, as
/// `debug/io-stats` tells its `latency_histogram`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct Histogram(BTreeMap<u64, u64>);

/// In nanoseconds, within a few percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Percentiles {
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p999: u64,
}

impl Histogram {
    /// What came after `then`. After a clearing, all that came.
    pub fn since(self, then: &Self) -> Self {
        let grown = then.0.iter().all(|(from, count)| self.0.get(from).is_some_and(|now| now >= count));
        if !grown {
            return self;
        }
        let counts = self.0.into_iter().map(|(from, count)| (from, count - then.0.get(&from).unwrap_or(&0)));
        Self(counts.filter(|(_, count)| *count > 0).collect())
    }

    /// Adds `other`.
    pub fn add(&mut self, other: &Self) {
        for (from, count) in &other.0 {
            *self.0.entry(*from).or_default() += count;
        }
    }

    /// `None` when nothing was measured. `longest` is the longest latency that ever was.
    pub fn percentiles(&self, longest: Option<u64>) -> Option<Percentiles> {
        let total: u64 = self.0.values().sum();
        if total == 0 {
            return None;
        }
        let at = |share: f64| {
            let rank = ((total as f64 * share).ceil() as u64).clamp(1, total);
            let mut below = 0;
            for (from, count) in &self.0 {
                if below + count >= rank {
                    // As if those of one step were spread evenly.
                    let width = 1_u64 << from.checked_ilog2().unwrap_or(0).saturating_sub(3);
                    let into = width as f64 * (rank - below) as f64 / (*count).max(1) as f64;
                    return (from + into as u64).min(longest.unwrap_or(u64::MAX)).max(*from);
                }
                below += count;
            }
            longest.unwrap_or(0)
        };
        Some(Percentiles { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(counts: &[(u64, u64)]) -> Histogram {
        Histogram(counts.iter().copied().collect())
    }

    #[test]
    fn percentiles_are_those_of_the_difference() {
        let then = histogram(&[(1024, 1000), (8192, 1)]);
        let now = histogram(&[(1024, 1090), (8192, 10), (1 << 20, 1)]);
        let found = now.since(&then).percentiles(Some((1 << 20) + 5)).unwrap();
        assert!((1024..1152).contains(&found.p50), "{found:?}");
        assert!((1024..=1152).contains(&found.p90), "{found:?}");
        assert!((8192..=9216).contains(&found.p99), "{found:?}");
        assert_eq!(found.p999, (1 << 20) + 5);
        assert_eq!(histogram(&[]).percentiles(None), None);
        assert_eq!(histogram(&[(0, 5)]).percentiles(Some(0)).unwrap().p50, 0);
    }

    #[test]
    fn after_a_clearing_all_counts() {
        let now = histogram(&[(16, 3)]).since(&histogram(&[(16, 5)]));
        assert_eq!(now.0[&16], 3);
        let now = histogram(&[(16, 9)]).since(&histogram(&[(16, 5), (32, 1)]));
        assert_eq!(now.0[&16], 9);
    }

    #[test]
    fn keys_are_read_as_numbers() {
        let read: Histogram = serde_json::from_value(serde_json::json!({ "1024": 5, "8": 1 })).unwrap();
        assert_eq!(read.0.into_iter().collect::<Vec<_>>(), [(8, 1), (1024, 5)]);
    }
}
