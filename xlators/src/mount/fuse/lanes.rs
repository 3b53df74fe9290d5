//! Which core serves a request.
//!
//! A hop to a thread that sleeps on the CPU where the request was read costs about 4 µs, one to another CPU ten times as
//! much. So the core of this CPU is preferred; only when it has more to do than the detour costs, and another has
//! nothing to do, the other gets the request.

use std::sync::atomic::{AtomicUsize, Ordering};

use kiln_uring::{Remote, host};

/// Requests that a core may have in flight before an idle one is preferred.
const BUSY: usize = 8;

/// One core, seen from the session threads.
#[derive(Debug)]
struct Lane {
    remote: Remote,
    in_flight: AtomicUsize,
}

/// All cores that serve a mount.
#[derive(Debug)]
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    /// The lane of each CPU.
    by_cpu: Vec<usize>,
    /// The CPU of each lane, where it is bound to one.
    cpus: Vec<Option<usize>>,
}

impl Lanes {
    /// The cores with the CPU that each is bound to.
    pub(super) fn new(cores: Vec<(Remote, Option<usize>)>) -> Self {
        let cpus: Vec<_> = cores.iter().map(|(_, cpu)| *cpu).collect();
        let lanes: Vec<_> =
            cores.into_iter().map(|(remote, _)| Lane { remote, in_flight: AtomicUsize::new(0) }).collect();
        Self { by_cpu: by_cpu(&cpus), lanes, cpus }
    }

    /// The lane for a request that this thread has read.
    pub(super) fn choose(&self) -> usize {
        if self.lanes.len() == 1 {
            return 0;
        }
        let here = self.by_cpu.get(host::current_cpu()).copied().unwrap_or(0);
        choose(here, self.lanes.len(), |lane| self.in_flight(lane))
    }

    /// The address of a lane's core.
    pub(super) fn remote(&self, lane: usize) -> &Remote {
        &self.lanes[lane].remote
    }

    /// The CPU of a lane.
    pub(super) fn cpu(&self, lane: usize) -> Option<usize> {
        self.cpus.get(lane).copied().flatten()
    }

    pub(super) fn len(&self) -> usize {
        self.lanes.len()
    }

    pub(super) fn enter(&self, lane: usize) {
        self.lanes[lane].in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// The replies of a lane are visible to whoever then reads its count.
    pub(super) fn leave(&self, lane: usize) {
        self.lanes[lane].in_flight.fetch_sub(1, Ordering::Release);
    }

    fn in_flight(&self, lane: usize) -> usize {
        self.lanes[lane].in_flight.load(Ordering::Acquire)
    }

    /// Requests in flight on all cores.
    pub(super) fn total(&self) -> usize {
        (0..self.len()).map(|lane| self.in_flight(lane)).sum()
    }
}

/// The lane of every CPU number: the one bound to it, or the one whose turn it is.
fn by_cpu(cpus: &[Option<usize>]) -> Vec<usize> {
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let highest = cpus.iter().flatten().copied().max().unwrap_or(0);
    (0..count.max(highest + 1))
        .map(|cpu| cpus.iter().position(|bound| *bound == Some(cpu)).unwrap_or(cpu % cpus.len().max(1)))
        .collect()
}

fn choose(here: usize, lanes: usize, in_flight: impl Fn(usize) -> usize) -> usize {
    if in_flight(here) < BUSY {
        return here;
    }
    (0..lanes).find(|lane| in_flight(*lane) == 0).unwrap_or(here)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_core_of_the_cpu_is_preferred_until_it_is_busy() {
        assert_eq!(choose(1, 3, |_| BUSY - 1), 1);
        assert_eq!(choose(1, 3, |lane| if lane == 1 { BUSY } else { 0 }), 0);
        assert_eq!(choose(1, 3, |lane| if lane == 2 { 0 } else { BUSY }), 2);
        assert_eq!(choose(1, 3, |_| BUSY), 1);
    }

    #[test]
    fn every_cpu_has_a_lane() {
        let table = by_cpu(&[Some(2), Some(0)]);
        assert_eq!((table[0], table[2]), (1, 0));
        assert!(table.iter().all(|lane| *lane < 2));
        assert!(by_cpu(&[None, None]).iter().all(|lane| *lane < 2));
    }
}
