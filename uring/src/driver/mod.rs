//! Who performs a core's operations: the ring, or the simulation.

mod ring;
mod setup;
mod sqe;

pub(crate) use ring::{Ring, RingParts};
pub(crate) use setup::{Facts, check_pool, create, explain};
pub use setup::{SetupError, Step};

use crate::handle::Inner;
use crate::helper::HelperJob;
use crate::op::Request;
use crate::sim::Port;

/// The two drivers.
pub(crate) enum Driver {
    /// The kernel's ring and helper threads.
    Ring(Box<Ring>),
    /// A simulated kernel with virtual time.
    Sim(Port),
}

impl Driver {
    /// Whether operations of this kind can be submitted here; a helper does the others.
    pub(crate) const fn can(&self, request: &Request) -> bool {
        match self {
            Self::Ring(ring) => ring.can(request),
            Self::Sim(_) => true,
        }
    }

    /// Starts the operation in slot `key` of the op table.
    pub(crate) fn start(&self, core: &Inner, key: usize) {
        match self {
            Self::Ring(ring) => ring.start(core, key),
            Self::Sim(port) => port.start(core, key),
        }
    }

    /// Asks for an early end of the operation in slot `key`; it completes in any case.
    pub(crate) fn cancel(&self, core: &Inner, key: usize) {
        match self {
            Self::Ring(ring) => ring.cancel(core, key),
            Self::Sim(port) => port.cancel(core, key),
        }
    }

    /// Runs a job on a helper thread.
    pub(crate) fn help(&self, core: &Inner, job: HelperJob) {
        match self {
            Self::Ring(ring) => ring.help(job),
            Self::Sim(port) => port.help(core, job),
        }
    }
}
