//! What the instances on all cores share: the intervals, and how many files are open.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kiln_uring::sys::Timespec;
use kiln_uring::{Instant, Sys};

/// Where a stretch of time began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    /// By the wall clock.
    pub at: Timespec,
    /// By the monotonic clock, in nanoseconds.
    pub monotonic: u64,
}

/// The stretches that are counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Periods {
    /// Number of the present interval, from 0.
    pub interval: u64,
    /// When counting began.
    pub total: Start,
    /// When the present interval began.
    pub current: Start,
    /// When the interval before it began.
    pub previous: Option<Start>,
    /// How often everything was cleared.
    pub clears: u64,
    /// How often the top lists were cleared.
    pub top_clears: u64,
}

/// Steers the statistics of one io-stats layer, on all cores at once. It is the layer's shared state in the
/// [`Blueprint`](crate::graph::Blueprint), where whoever serves `gluster volume profile` finds it.
///
/// Cores notice a change when they next count or report something, so that no core has to be asked.
#[derive(Debug)]
pub struct Control {
    sys: Arc<dyn Sys>,
    /// Changes with every change of `periods`: what a core compares on each fop.
    epoch: AtomicU64,
    periods: Mutex<Periods>,
    open: AtomicI64,
    most_open: AtomicI64,
    /// Nanoseconds since the epoch.
    most_open_at: AtomicU64,
}

impl Control {
    pub(super) fn new(sys: &Arc<dyn Sys>) -> Self {
        let start = Start { at: sys.realtime(), monotonic: sys.monotonic() };
        let periods =
            Periods { interval: 0, total: start, current: start, previous: None, clears: 0, top_clears: 0 };
        Self {
            sys: Arc::clone(sys),
            epoch: AtomicU64::new(0),
            periods: Mutex::new(periods),
            open: AtomicI64::new(0),
            most_open: AtomicI64::new(0),
            most_open_at: AtomicU64::new(0),
        }
    }

    /// Ends the present interval. Its counters are then reported as `last_interval`, those of the next start at zero.
    pub fn close_interval(&self) {
        let now = self.now();
        self.change(|periods| {
            periods.interval += 1;
            periods.previous = Some(periods.current);
            periods.current = now;
        });
    }

    /// Forgets everything that was counted.
    pub fn clear(&self) {
        let now = self.now();
        self.change(|periods| {
            let (clears, top_clears) = (periods.clears + 1, periods.top_clears + 1);
            *periods = Periods { interval: 0, total: now, current: now, previous: None, clears, top_clears };
        });
    }

    /// Forgets the lists of most used and fastest objects.
    pub fn clear_top(&self) {
        self.change(|periods| periods.top_clears += 1);
    }

    fn change(&self, change: impl FnOnce(&mut Periods)) {
        let mut periods = self.lock();
        change(&mut periods);
        self.epoch.fetch_add(1, Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Periods> {
        self.periods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Start {
        Start { at: self.sys.realtime(), monotonic: self.sys.monotonic() }
    }

    /// The monotonic clock.
    pub(super) fn clock(&self) -> Instant {
        Instant::from_nanos(self.sys.monotonic())
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Relaxed)
    }

    pub(super) fn periods(&self) -> Periods {
        *self.lock()
    }

    /// How long ago that was.
    pub(super) fn since(&self, start: Start) -> Duration {
        Duration::from_nanos(self.sys.monotonic().saturating_sub(start.monotonic))
    }

    /// A file was opened.
    pub(super) fn opened(&self) {
        let open = self.open.fetch_add(1, Relaxed) + 1;
        if self.most_open.fetch_max(open, Relaxed) < open {
            let now = self.sys.realtime();
            let nanos = u64::try_from(now.sec).unwrap_or(0) * 1_000_000_000 + u64::from(now.nsec);
            self.most_open_at.store(nanos, Relaxed);
        }
    }

    /// A file was closed.
    pub(super) fn closed(&self) {
        self.open.fetch_sub(1, Relaxed);
    }

    /// Files open now, most ever open, and when that was in nanoseconds since the epoch.
    pub(super) fn open_files(&self) -> (i64, i64, u64) {
        (self.open.load(Relaxed).max(0), self.most_open.load(Relaxed), self.most_open_at.load(Relaxed))
    }
}
