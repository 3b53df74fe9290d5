//! One request on its way through the graph: who asks, when, and which layer holds it now.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bitflags::bitflags;
use kiln_uring::sys::Timespec;
use kiln_uring::{Core, Instant};
use slab::Slab;

use crate::fop::Fop;
use crate::graph::LayerId;
use crate::types::{Gfid, LockOwner};

/// Process ids that mark GlusterFS's internal clients (`GF_CLIENT_PID_*` of libglusterfs).
pub mod internal_pid {
    /// Rebalance.
    pub const DEFRAG: i32 = -3;
    /// Distribute's own operations (link files, layouts).
    pub const NO_ROOT_SQUASH: i32 = -4;
    /// Self-heal.
    pub const SELF_HEAL: i32 = -6;
    /// `glfsheal`.
    pub const GLFS_HEAL: i32 = -7;
    /// The trash translator.
    pub const TRASH: i32 = -11;
    /// The client's utime translator making `trusted.glusterfs.mdata`.
    pub const SET_UTIME: i32 = -13;
}

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Box<[u32]>,
    /// Process; negative for GlusterFS's internal clients.
    pub pid: i32,
    /// Owner of locks.
    pub lock_owner: LockOwner,
    /// The connection (or mount) it came through; lock owners are only unique within it.
    pub client: u64,
}

impl Caller {
    /// Whether it is one of GlusterFS's internal clients, which pass access checks, reserve, and read-only.
    #[must_use]
    pub const fn is_internal(&self) -> bool {
        self.pid < 0
    }

    /// Whether the caller is in group `gid`.
    #[must_use]
    pub fn in_group(&self, gid: u32) -> bool {
        self.gid == gid || self.groups.contains(&gid)
    }
}

bitflags! {
    /// Which times of `trusted.glusterfs.mdata` a fop moves (`MDATA_*` flags of the RPC header).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct TimeFlags: u16 {
        /// The object's change time.
        const CTIME = 0x1;
        /// The object's modification time.
        const MTIME = 0x2;
        /// The object's access time.
        const ATIME = 0x4;
        /// The parent's change time.
        const PARENT_CTIME = 0x8;
        /// The parent's modification time.
        const PARENT_MTIME = 0x10;
        /// The parent's access time.
        const PARENT_ATIME = 0x20;
    }
}

/// How a fop's times get into `trusted.glusterfs.mdata`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct CallTimes {
    /// Which times move; none leaves the xattr alone.
    pub flags: TimeFlags,
    /// The caller's clock.
    pub stamp: Timespec,
    /// Only objects that have the xattr get their times moved; none is made. A local mount asks for this: on a brick
    /// that a ctime-aware client has used, its writes must be seen in the times, and on a fresh brick the kernel's own
    /// time stamps do.
    pub only_existing: bool,
}

/// Everything that is known of a request when it enters the graph.
#[derive(Clone, Debug)]
pub struct CallSpec {
    /// The fop.
    pub fop: Fop,
    /// The object (or, for entry fops, the parent), for dumps.
    pub subject: Gfid,
    /// Who asks.
    pub caller: Caller,
    /// Times.
    pub times: CallTimes,
    /// The front door's number of the request.
    pub unique: u64,
}

impl CallSpec {
    /// A request of the brick itself (root, an internal pid), such as a start-up lookup or a test's fop.
    #[must_use]
    pub fn internal(fop: Fop, subject: Gfid) -> Self {
        let caller = Caller { pid: internal_pid::NO_ROOT_SQUASH, ..Caller::default() };
        Self { fop, subject, caller, times: CallTimes::default(), unique: 0 }
    }
}

#[derive(Debug)]
struct Body {
    spec: CallSpec,
    started: Instant,
    holder: Cell<LayerId>,
}

/// A request in flight. It is in its core's [`CallTable`] from [`CallTable::begin`] until it is dropped.
#[derive(Debug)]
pub struct Call {
    body: Rc<Body>,
    slot: usize,
    table: CallTable,
}

impl Call {
    /// The fop that the client asked for; a layer that winds another fop keeps it.
    #[must_use]
    pub fn fop(&self) -> Fop {
        self.body.spec.fop
    }

    /// Who asks.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.body.spec.caller
    }

    /// How times get into `trusted.glusterfs.mdata`.
    #[must_use]
    pub fn times(&self) -> &CallTimes {
        &self.body.spec.times
    }

    /// The front door's number of the request.
    #[must_use]
    pub fn unique(&self) -> u64 {
        self.body.spec.unique
    }

    /// When it entered the graph.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.body.started
    }

    /// Says which layer has it now.
    pub(crate) fn hold(&self, layer: LayerId) {
        self.body.holder.set(layer);
    }

    /// The layer that has it now.
    #[must_use]
    pub fn holder(&self) -> LayerId {
        self.body.holder.get()
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.table.0.borrow_mut().try_remove(self.slot);
    }
}

/// All calls in flight on one core.
#[derive(Clone, Debug, Default)]
pub struct CallTable(Rc<RefCell<Slab<Rc<Body>>>>);

/// One call in flight, as `kiln dump` shows it.
#[derive(Clone, Debug)]
pub struct CallView {
    /// What is known of the request.
    pub spec: CallSpec,
    /// How long it has been under way.
    pub age: Duration,
    /// The layer that has it.
    pub holder: LayerId,
}

impl CallTable {
    /// Enters a request.
    #[must_use]
    pub fn begin(&self, core: &Core, spec: CallSpec) -> Call {
        let body = Rc::new(Body { spec, started: core.now(), holder: Cell::new(LayerId::FRONT_DOOR) });
        let slot = self.0.borrow_mut().insert(Rc::clone(&body));
        Call { body, slot, table: self.clone() }
    }

    /// How many are in flight.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// Whether none is in flight.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A copy of every record, oldest first.
    #[must_use]
    pub fn view(&self, now: Instant) -> Vec<CallView> {
        let mut views: Vec<CallView> = self
            .0
            .borrow()
            .iter()
            .map(|(_, body)| CallView {
                spec: body.spec.clone(),
                age: now - body.started,
                holder: body.holder.get(),
            })
            .collect();
        views.sort_by_key(|view| std::cmp::Reverse(view.age));
        views
    }
}
