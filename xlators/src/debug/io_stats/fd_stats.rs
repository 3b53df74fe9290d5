//! What happened on one descriptor, logged when it is closed (option `dump-fd-stats`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use kiln_uring::Instant;

use crate::fd::FdRef;
use crate::graph::LayerId;

/// Counters of one descriptor; fops on it may run on several cores.
#[derive(Debug)]
pub(super) struct FdStats {
    opened: Instant,
    reads: AtomicU64,
    writes: AtomicU64,
    read: AtomicU64,
    written: AtomicU64,
}

impl FdStats {
    /// Begins to count on `fd`.
    pub(super) fn begin(fd: &FdRef, layer: LayerId, now: Instant) {
        let zero = AtomicU64::default;
        let stats = Self { opened: now, reads: zero(), writes: zero(), read: zero(), written: zero() };
        fd.set_context(layer, Arc::new(stats));
    }

    /// Counts a read.
    pub(super) fn read(fd: &FdRef, layer: LayerId, bytes: usize) {
        if let Some(stats) = fd.context::<Self>(layer) {
            stats.reads.fetch_add(1, Relaxed);
            stats.read.fetch_add(bytes as u64, Relaxed);
        }
    }

    /// Counts a write.
    pub(super) fn wrote(fd: &FdRef, layer: LayerId, bytes: usize) {
        if let Some(stats) = fd.context::<Self>(layer) {
            stats.writes.fetch_add(1, Relaxed);
            stats.written.fetch_add(bytes as u64, Relaxed);
        }
    }

    /// Logs the counters of `fd`, if there are some.
    pub(super) fn log(fd: &FdRef, layer: LayerId, now: Instant) {
        if let Some(stats) = fd.context::<Self>(layer) {
            tracing::info!(
                gfid = %fd.gfid(), seconds = (now - stats.opened).as_secs_f64(),
                reads = stats.reads.load(Relaxed), bytes_read = stats.read.load(Relaxed),
                writes = stats.writes.load(Relaxed), bytes_written = stats.written.load(Relaxed),
                "descriptor closed",
            );
        }
    }
}
