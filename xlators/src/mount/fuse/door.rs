//! From a session thread to a core, and what a request has at hand there.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

use fuser::{LockOwner as FuseOwner, Request};

use super::front::Front;
use super::times;
use crate::call::{Call, CallSpec, CallTimes, Caller};
use crate::fop::Fop;
use crate::graph::{Graph, Next};
use crate::keys;
use crate::types::{Dict, Gfid, LockOwner, Value, Xdata};

thread_local! {
    /// The graph of the core that runs on this thread.
    static GRAPH: RefCell<Option<Rc<Graph>>> = const { RefCell::new(None) };
}

/// Makes `graph` the one that mounts reach on this core. Call it on the core's own thread, before a mount starts.
pub fn install(graph: &Rc<Graph>) {
    GRAPH.set(Some(Rc::clone(graph)));
}

/// Takes the graph of this core away, before the core stops. Requests that come later get EIO.
pub fn uninstall() {
    GRAPH.set(None);
}

/// The graph of this core.
pub(super) fn installed() -> Option<Rc<Graph>> {
    GRAPH.with_borrow(Clone::clone)
}

/// A request with a place on a lane, which it gives up when dropped, answered or not.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) front: Arc<Front>,
    lane: usize,
    caller: Caller,
    unique: u64,
}

impl Ticket {
    /// For the request at hand, without the caller's supplementary groups.
    pub(super) fn new(front: &Arc<Front>, request: &Request) -> Self {
        let caller = Caller {
            uid: request.uid(),
            gid: request.gid(),
            // Linux's process ids are positive ints; 0 is one that this PID namespace cannot see.
            pid: i32::try_from(request.pid()).unwrap_or(0),
            client: front.client,
            ..Caller::default()
        };
        Self::enter(front, caller, request.unique().0)
    }

    fn enter(front: &Arc<Front>, caller: Caller, unique: u64) -> Self {
        let lane = front.lanes.choose();
        front.lanes.enter(lane);
        Self { front: Arc::clone(front), lane, caller, unique }
    }

    /// For work of the mount itself.
    pub(super) fn internal(front: &Arc<Front>) -> Self {
        Self::enter(front, Caller { client: front.client, ..Caller::default() }, 0)
    }

    /// With the caller's supplementary groups, for fops that a layer may refuse. Root needs none.
    pub(super) fn with_groups(mut self) -> Self {
        if self.caller.uid != 0 {
            self.caller.groups = self.front.groups.of(self.caller.pid.unsigned_abs());
        }
        self
    }

    /// With the owner of locks.
    pub(super) fn with_owner(mut self, owner: FuseOwner) -> Self {
        self.caller.lock_owner = LockOwner::new(&owner.0.to_le_bytes());
        self
    }

    /// Goes to the core, where `work` becomes a task. If the core has stopped, the reply in `work` is dropped, and `fuser`
    /// answers EIO for it.
    pub(super) fn serve<F, T>(self, work: F)
    where
        F: FnOnce(Door) -> T + Send + 'static,
        T: Future<Output = ()> + 'static,
    {
        let front = Arc::clone(&self.front);
        let _ = front.lanes.remote(self.lane).post(move |core| {
            if let Some(graph) = installed() {
                core.spawn(work(Door { graph, ticket: self }));
            }
        });
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.front.lanes.leave(self.lane);
    }
}

/// A request on its core.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) graph: Rc<Graph>,
    ticket: Ticket,
}

impl Door {
    pub(super) fn front(&self) -> &Arc<Front> {
        &self.ticket.front
    }

    pub(super) fn caller(&self) -> &Caller {
        &self.ticket.caller
    }

    /// Where fops enter.
    pub(super) fn top(&self) -> &Next {
        self.graph.top()
    }

    /// The gfid that a new object shall have: it is the client who gives it.
    pub(super) fn gfid_request(&self) -> Xdata {
        let mut random = [0; 16];
        self.graph.core().random_bytes(&mut random);
        let pair = (keys::GFID_REQ, Value::Gfid(Gfid::from_random(random)));
        Xdata::new(Dict::from_iter([pair]))
    }

    /// Enters `fop`.
    pub(super) fn begin(&self, fop: Fop, subject: Gfid) -> Call {
        self.begin_at(fop, subject, times::of(fop, || self.graph.core().realtime()))
    }

    /// Enters `fop` with times of its own.
    pub(super) fn begin_at(&self, fop: Fop, subject: Gfid, times: CallTimes) -> Call {
        let caller = self.ticket.caller.clone();
        self.graph.begin(CallSpec { fop, subject, caller, times, unique: self.ticket.unique })
    }

    /// Whether whoever may not do something has been stopped already: the kernel checks modes and owners, and root may all.
    pub(super) fn is_checked(&self) -> bool {
        let config = &self.ticket.front.config;
        config.default_permissions || config.acl || self.ticket.caller.uid == 0
    }
}
