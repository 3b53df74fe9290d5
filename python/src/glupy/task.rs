//! What travels between a core and Python.

use std::sync::Arc;

use kiln_xlators::call::Caller;
use kiln_xlators::error::{FopError, FopResult};
use kiln_xlators::fd::FdRef;
use kiln_xlators::fop::Fop;
use kiln_xlators::fop::any::{AnyReply, AnyRequest};
use kiln_xlators::types::Gfid;

use super::instance::Instance;

/// Names a request that waits on its core. A number is used again, its generation is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub slot: u32,
    pub generation: u32,
}

/// Names what Python keeps of a request between its halves. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Kept(pub u64);

/// What is known of a request when it comes to Python first.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub caller: Caller,
    pub unique: u64,
}

/// Work for Python.
#[derive(Debug)]
pub(crate) enum Task {
    /// A request that waits.
    Ask { instance: Arc<Instance>, ticket: Ticket, step: Step },
    /// Something that has no answer.
    Tell { instance: Arc<Instance>, news: News },
    /// The request is over; nobody will ask for what was kept.
    Drop(Kept),
}

#[derive(Debug)]
pub(crate) enum Step {
    /// The fop half of a request.
    Call { origin: Origin, request: Arc<AnyRequest> },
    /// The reply half of a request that has no fop half. The request comes along where the handler wants to see it.
    FirstReply { origin: Origin, fop: Fop, request: Option<Arc<AnyRequest>>, reply: FopResult<Arc<AnyReply>> },
    /// The reply of what a request wound, for whoever of its first half waits for it.
    Reply { kept: Kept, reply: FopResult<Arc<AnyReply>> },
}

#[derive(Debug)]
pub(crate) enum News {
    /// No client remembers the object any more.
    Forget(Gfid),
    /// The last holder of the descriptor is gone.
    Release(FdRef),
}

/// What Python says to a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub ticket: Ticket,
    pub verdict: Verdict,
}

#[derive(Debug)]
pub(crate) enum Verdict {
    /// Go on with what there is: wind the request, or unwind the reply. With `Some`, Python wants to see the reply.
    Pass(Option<Kept>),
    /// Wind this. With `Some`, Python wants to see the reply.
    Wind(Arc<AnyRequest>, Option<Kept>),
    /// Unwind this.
    Reply(Arc<AnyReply>),
    /// Unwind this failure.
    Fail(FopError),
    /// The handler is at fault; the policy decides.
    Broken,
    /// Not yet; another answer will come for the same ticket.
    Later(Kept),
}

impl Verdict {
    /// What Python keeps for the request.
    pub(crate) const fn kept(&self) -> Option<Kept> {
        match self {
            Self::Pass(kept) | Self::Wind(_, kept) => *kept,
            Self::Later(kept) => Some(*kept),
            Self::Reply(_) | Self::Fail(_) | Self::Broken => None,
        }
    }
}
