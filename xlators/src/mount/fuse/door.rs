//! What a request has at hand on its core.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::front::Front;
use super::times;
use super::wire::Header;
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

/// A request on its core. It counts as in flight until this is dropped, answered or not.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) graph: Rc<Graph>,
    front: Arc<Front>,
    lane: usize,
    caller: Caller,
    unique: u64,
}

impl Door {
    /// For a request that has come to the core of `lane`; `None` when there is no graph any more.
    pub(super) fn open(front: &Arc<Front>, lane: usize, header: &Header) -> Option<Self> {
        let caller = Caller {
            uid: header.uid,
            gid: header.gid,
            // Linux's process ids are positive ints; 0 is one that this PID namespace cannot see.
            pid: i32::try_from(header.pid).unwrap_or(0),
            client: front.client,
            ..Caller::default()
        };
        let graph = installed()?;
        front.lanes.enter(lane);
        Some(Self { graph, front: Arc::clone(front), lane, caller, unique: header.unique })
    }

    /// With the caller's supplementary groups, for fops that a layer may refuse. Root needs none.
    pub(super) fn with_groups(mut self) -> Self {
        if self.caller.uid != 0 {
            self.caller.groups = self.front.groups.of(self.caller.pid.unsigned_abs());
        }
        self
    }

    /// With the owner of locks.
    pub(super) fn with_owner(mut self, owner: u64) -> Self {
        self.caller.lock_owner = LockOwner::new(&owner.to_le_bytes());
        self
    }

    pub(super) const fn front(&self) -> &Arc<Front> {
        &self.front
    }

    pub(super) const fn unique(&self) -> u64 {
        self.unique
    }

    pub(super) const fn caller(&self) -> &Caller {
        &self.caller
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
        let caller = self.caller.clone();
        self.graph.begin(CallSpec { fop, subject, caller, times, unique: self.unique })
    }

    /// Whether whoever may not do something has been stopped already: the kernel checks modes and owners, and root may all.
    pub(super) fn is_checked(&self) -> bool {
        let config = &self.front.config;
        config.default_permissions || config.acl || self.caller.uid == 0
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.front.lanes.leave(self.lane);
    }
}
