//! Who performs a core's operations: the ring, or the simulation.

mod message;
mod provided;
mod ring;
mod setup;
mod sqe;

pub(crate) use message::Message;
pub(crate) use provided::Provided;
pub(crate) use ring::{Ring, RingParts};
pub(crate) use setup::{Facts, check_pool, create, explain};
pub use setup::{SetupError, Step};

use std::sync::Arc;

use crate::buf::Arena;
use crate::handle::Inner;
use crate::helper::HelperJob;
use crate::op::Request;
use crate::sim::Port;

/// The kernel's ring as Kiln has it: with long entries, because those of commands are; they cost the others nothing
/// (128 entries of either size take 119 and 128 ns).
pub(crate) type Uring = io_uring::IoUring<io_uring::squeue::Entry128>;

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

    /// Whether commands of drivers can be submitted here.
    pub(crate) const fn carries_commands(&self) -> bool {
        match self {
            Self::Ring(ring) => ring.carries_commands(),
            Self::Sim(_) => false,
        }
    }

    /// Whether an accept can go on for many connections.
    pub(crate) const fn accepts_many(&self) -> bool {
        match self {
            Self::Ring(ring) => ring.accepts_many(),
            Self::Sim(_) => true,
        }
    }

    /// Whether a receive into buffers of the driver can go on.
    pub(crate) const fn receives_many(&self) -> bool {
        match self {
            Self::Ring(ring) => ring.receives_many(),
            Self::Sim(_) => true,
        }
    }

    /// Whether the driver has buffers for receives to pick from, and the memory that they lie in.
    pub(crate) fn receives(&self) -> Option<Option<Arc<Arena>>> {
        match self {
            Self::Ring(ring) => ring.provided().map(|provided| {
                // All of it may be out, in which case only this finds what came back from other threads.
                provided.collect();
                Some(provided.memory().clone())
            }),
            Self::Sim(_) => Some(None),
        }
    }

    /// Takes back a block of the memory that receives pick from; false when it is not of that.
    pub(crate) fn take_back(&self, arena: &Arc<Arena>, offset: usize) -> bool {
        match self {
            Self::Ring(ring) => ring.provided().is_some_and(|provided| provided.take_back(arena, offset)),
            Self::Sim(_) => false,
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
