//! Who performs a core's operations: the ring, or the simulation.

use crate::handle::Inner;
use crate::helper::HelperJob;
use crate::op::Request;
use crate::sim::Port;

/// The two drivers.
pub(crate) enum Driver {
    /// A simulated kernel with virtual time.
    Sim(Port),
}

impl Driver {
    /// Whether operations of this kind can be submitted here; a helper does the others.
    pub(crate) fn can(&self, _request: &Request) -> bool {
        match self {
            Self::Sim(_) => true,
        }
    }

    /// Starts the operation in slot `key` of the op table.
    pub(crate) fn start(&self, core: &Inner, key: usize) {
        match self {
            Self::Sim(port) => port.start(core, key),
        }
    }

    /// Asks for an early end of the operation in slot `key`; it completes in any case.
    pub(crate) fn cancel(&self, core: &Inner, key: usize) {
        match self {
            Self::Sim(port) => port.cancel(core, key),
        }
    }

    /// Runs a job on a helper thread.
    pub(crate) fn help(&self, core: &Inner, job: HelperJob) {
        match self {
            Self::Sim(port) => port.help(core, job),
        }
    }
}
