//! The bar on standard error while a load runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::units;

/// How often the rate is told anew.
const PERIOD: Duration = Duration::from_millis(500);

/// See the [module](self).
pub struct Progress {
    shown: bool,
    bar: ProgressBar,
    counters: Vec<Arc<AtomicU64>>,
    before: (Instant, u64),
}

impl Progress {
    /// Of what the threads count; hidden unless `shown`.
    pub fn new(shown: bool, counters: Vec<Arc<AtomicU64>>) -> Self {
        Self { shown, bar: ProgressBar::hidden(), counters, before: (Instant::now(), 0) }
    }

    /// Begins a part that is over when `len` is reached.
    pub fn begin(&mut self, what: &'static str, len: u64) {
        self.counters.iter().for_each(|counter| counter.store(0, Ordering::Relaxed));
        self.before = (Instant::now(), 0);
        self.end();
        if !self.shown {
            return;
        }
        self.bar = ProgressBar::new(len.max(1));
        if let Ok(style) = ProgressStyle::with_template("{prefix:>9} {bar:40} {percent:>3} %  {msg}") {
            self.bar.set_style(style.progress_chars("=> "));
        }
        self.bar.set_prefix(what);
    }

    /// What has been done of the part.
    pub fn done(&self) -> u64 {
        self.counters.iter().map(|counter| counter.load(Ordering::Relaxed)).sum()
    }

    /// Shows where the part is: at `position`, or as far as the threads have counted.
    pub fn tick(&mut self, position: Option<u64>) {
        let done = self.done();
        self.bar.set_position(position.unwrap_or(done));
        let (since, before) = self.before;
        let elapsed = since.elapsed();
        if elapsed >= PERIOD {
            let rate = done.saturating_sub(before) as f64 / elapsed.as_secs_f64();
            self.bar.set_message(format!("{}/s", units::rate(rate)));
            self.before = (Instant::now(), done);
        }
    }

    /// Takes the bar away.
    pub fn end(&mut self) {
        self.bar.finish_and_clear();
    }
}
