//! `kiln load`: a short mixed load on a mounted directory, as an application sees it.
//!
//! Each thread works in a directory of its own and draws one operation after the other from a fixed mix; the time of every
//! operation goes into a histogram. Everything it made is removed at the end.

mod mix;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};

pub use mix::Operation;
use mix::Worker;

/// What to run.
#[derive(Clone, Debug)]
pub struct LoadConfig {
    /// The mounted directory.
    pub dir: PathBuf,
    /// How long.
    pub duration: Duration,
    /// How many threads, at least one.
    pub threads: usize,
    /// Whether a progress bar is drawn on standard error.
    pub progress: bool,
}

/// What came out.
#[derive(Debug)]
pub struct LoadReport {
    /// How long it ran.
    pub elapsed: Duration,
    /// Per operation, its times in nanoseconds.
    pub operations: Vec<(Operation, Histogram<u64>)>,
}

/// Longest time that the histograms tell apart: a minute.
const MAX_NS: u64 = 60_000_000_000;

/// Runs the load.
///
/// # Errors
/// The first operation that failed.
pub fn run(config: &LoadConfig) -> io::Result<LoadReport> {
    let root = config.dir.join(format!("kiln-load-{}", std::process::id()));
    std::fs::create_dir(&root)?;
    let _cleanup = RemoveOnDrop(&root);
    let done = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let start = Instant::now();
    let results = std::thread::scope(|scope| -> io::Result<Vec<Vec<Histogram<u64>>>> {
        let workers: Vec<_> = (0..config.threads.max(1))
            .map(|index| {
                let (dir, done, stop) = (root.join(index.to_string()), &done, &stop);
                scope.spawn(move || work(&dir, index as u64, done, stop))
            })
            .collect();
        watch(config, start, &done, &stop, || workers.iter().any(|worker| worker.is_finished()));
        stop.store(true, Ordering::Relaxed);
        workers
            .into_iter()
            .map(|worker| worker.join().map_err(|_| io::Error::other("a load thread panicked"))?)
            .collect()
    })?;
    let elapsed = start.elapsed();
    let mut operations: Vec<(Operation, Histogram<u64>)> =
        Operation::ALL.iter().map(|operation| (*operation, histogram())).collect();
    for histograms in results {
        for (total, one) in operations.iter_mut().zip(histograms) {
            total.1.add(one).map_err(io::Error::other)?;
        }
    }
    Ok(LoadReport { elapsed, operations })
}

fn histogram() -> Histogram<u64> {
    // The bounds are constants that hdrhistogram takes.
    Histogram::new_with_bounds(1, MAX_NS, 2).unwrap_or_else(|_| unreachable!("constant bounds"))
}

fn work(dir: &Path, seed: u64, done: &AtomicU64, stop: &AtomicBool) -> io::Result<Vec<Histogram<u64>>> {
    let mut worker = Worker::new(dir, seed)?;
    let mut histograms: Vec<_> = Operation::ALL.iter().map(|_| histogram()).collect();
    while !stop.load(Ordering::Relaxed) {
        let operation = worker.draw();
        let start = Instant::now();
        worker
            .perform(operation)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", operation.name())))?;
        histograms[operation as usize].saturating_record(start.elapsed().as_nanos() as u64);
        done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(histograms)
}

/// Draws the progress until the time is over, or a worker ended early.
fn watch(
    config: &LoadConfig,
    start: Instant,
    done: &AtomicU64,
    stop: &AtomicBool,
    failed: impl Fn() -> bool,
) {
    let bar = if config.progress {
        ProgressBar::new(config.duration.as_millis() as u64)
    } else {
        ProgressBar::hidden()
    };
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {percent:>3} %  {msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    let mut before = 0;
    let mut at = start;
    while start.elapsed() < config.duration && !stop.load(Ordering::Relaxed) && !failed() {
        std::thread::sleep(Duration::from_millis(100).min(config.duration.saturating_sub(start.elapsed())));
        bar.set_position(start.elapsed().as_millis() as u64);
        if at.elapsed() >= Duration::from_millis(500) {
            let now = done.load(Ordering::Relaxed);
            bar.set_message(format!(
                "{:.0} operations/s",
                (now - before) as f64 / at.elapsed().as_secs_f64()
            ));
            (before, at) = (now, Instant::now());
        }
    }
    bar.finish_and_clear();
}

struct RemoveOnDrop<'a>(&'a Path);

impl Drop for RemoveOnDrop<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0);
    }
}

impl std::fmt::Display for LoadReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let us = |ns: u64| ns as f64 / 1000.0;
        writeln!(
            f,
            "{:<10} {:>9} {:>10} {:>9} {:>9} {:>9} {:>10}",
            "operation", "count", "per second", "p50 µs", "p90 µs", "p99 µs", "max µs"
        )?;
        for (operation, times) in self.operations.iter().filter(|(_, times)| !times.is_empty()) {
            writeln!(
                f,
                "{:<10} {:>9} {:>10.0} {:>9.1} {:>9.1} {:>9.1} {:>10.1}",
                operation.name(),
                times.len(),
                times.len() as f64 / self.elapsed.as_secs_f64(),
                us(times.value_at_quantile(0.5)),
                us(times.value_at_quantile(0.9)),
                us(times.value_at_quantile(0.99)),
                us(times.max()),
            )?;
        }
        let count: u64 = self.operations.iter().map(|(_, times)| times.len()).sum();
        let seconds = self.elapsed.as_secs_f64();
        write!(f, "{count} operations in {seconds:.1} s: {:.0} per second", count as f64 / seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_happens_and_nothing_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let config = LoadConfig {
            dir: dir.path().into(),
            duration: Duration::from_millis(300),
            threads: 2,
            progress: false,
        };
        let report = run(&config).unwrap();
        for (operation, times) in &report.operations {
            assert!(!times.is_empty(), "no {}", operation.name());
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(report.to_string().contains("operations in"));
    }

    #[test]
    fn a_missing_directory_is_an_error() {
        let config =
            LoadConfig { dir: "/nonexistent".into(), duration: Duration::ZERO, threads: 1, progress: false };
        assert_eq!(run(&config).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
