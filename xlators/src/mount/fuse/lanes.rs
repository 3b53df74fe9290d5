//! The cores that serve a mount.

use std::sync::atomic::{AtomicUsize, Ordering};

use kiln_uring::Remote;

/// One core, seen from outside. Each on cache lines of its own: every request counts itself in and out.
#[derive(Debug)]
#[repr(align(128))]
struct Lane {
    remote: Remote,
    /// The CPU that the core is bound to.
    cpu: Option<usize>,
    in_flight: AtomicUsize,
}

/// All cores that serve a mount.
#[derive(Debug)]
pub(super) struct Lanes(Vec<Lane>);

impl Lanes {
    /// The cores with the CPU that each is bound to.
    pub(super) fn new(cores: Vec<(Remote, Option<usize>)>) -> Self {
        let lane = |(remote, cpu)| Lane { remote, cpu, in_flight: AtomicUsize::new(0) };
        Self(cores.into_iter().map(lane).collect())
    }

    /// The address of a lane's core.
    pub(super) fn remote(&self, lane: usize) -> &Remote {
        &self.0[lane].remote
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The lane for the requests of a CPU: the core that is bound to it, or the one whose turn it is.
    pub(super) fn of_cpu(&self, cpu: usize) -> usize {
        self.0.iter().position(|lane| lane.cpu == Some(cpu)).unwrap_or(cpu % self.len().max(1))
    }

    pub(super) fn enter(&self, lane: usize) {
        self.0[lane].in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// The answers of a lane are visible to whoever then reads its count.
    pub(super) fn leave(&self, lane: usize) {
        self.0[lane].in_flight.fetch_sub(1, Ordering::Release);
    }

    /// Requests in flight on all cores.
    pub(super) fn total(&self) -> usize {
        self.0.iter().map(|lane| lane.in_flight.load(Ordering::Acquire)).sum()
    }
}
