//! The way up: what the brick tells a client of its own accord.
//!
//! A layer that keeps state for clients (locks, cached attributes) now and then has to speak first. It hands an [`Upcall`] to
//! the [`Upcalls`] of its core, and whoever brought the clients in (protocol/server) has set a sink there with
//! [`crate::graph::Graph::on_upcall`]. The sink runs on the core where the upcall arose, which need not be the core of the
//! client's connection. Without a sink, or for a client that is gone, an upcall is dropped: every upcall is a hint, and
//! clients get along without it.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use bitflags::bitflags;

use crate::types::{Flock, Gfid, Iatt, LockType, Name, Xdata};

bitflags! {
    /// What a client's cache no longer has right (`UP_*` of GlusterFS's upcall-utils).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
    pub struct Stale: u32 {
        /// Number of links.
        const NLINK = 0x1;
        /// Type and mode.
        const MODE = 0x2;
        /// Owner.
        const OWN = 0x4;
        /// Size.
        const SIZE = 0x8;
        /// Times.
        const TIMES = 0x10;
        /// Access time.
        const ATIME = 0x20;
        /// Permission.
        const PERM = 0x40;
        /// It has another name.
        const RENAME = 0x80;
        /// It is gone.
        const FORGET = 0x100;
        /// Times of the parent.
        const PARENT_TIMES = 0x200;
        /// An extended attribute was set.
        const XATTR = 0x400;
        /// An extended attribute was removed.
        const XATTR_RM = 0x800;
        /// A lookup must ask the brick.
        const EXPLICIT_LOOKUP = 0x1000;
        /// No attribute is right.
        const INVAL_ATTR = 0x2000;
    }
}

/// What a client has to know of a change by another one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Invalidation {
    /// What changed.
    pub stale: Stale,
    /// How long the client may go on caching what this tells.
    pub expires: Duration,
    /// The object; empty when unknown.
    pub iatt: Iatt,
    /// Its parent; empty when the change had nothing to do with it.
    pub parent: Iatt,
    /// The parent that it was moved out of; empty otherwise.
    pub old_parent: Iatt,
    /// Extended attributes that changed.
    pub xdata: Xdata,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum UpcallEvent {
    /// Another client changed the object.
    CacheInvalidation(Box<Invalidation>),
    /// Somebody waits for an inodelk that the client holds.
    InodelkContention {
        /// The domain.
        domain: Box<str>,
        /// The lock that the client holds.
        flock: Flock,
    },
    /// Somebody waits for an entrylk that the client holds.
    EntrylkContention {
        /// The domain.
        domain: Box<str>,
        /// The name that the client holds; `None` for all names.
        name: Option<Name>,
        /// Read or write.
        kind: LockType,
        /// The process that took the lock.
        pid: i32,
    },
}

/// One message to one client.
#[derive(Clone, Debug, PartialEq)]
pub struct Upcall {
    /// For whom: [`crate::call::Caller::client`].
    pub client: u64,
    /// About which object.
    pub gfid: Gfid,
    /// What happened.
    pub event: UpcallEvent,
}

type Sink = Rc<dyn Fn(Upcall)>;

/// The upcalls of one core's graph. Clones share the sink.
#[derive(Clone, Default)]
pub struct Upcalls(Rc<RefCell<Option<Sink>>>);

impl Upcalls {
    /// From now on `sink` gets every upcall of this core. It must not call back into the graph at once.
    pub(crate) fn listen(&self, sink: impl Fn(Upcall) + 'static) {
        *self.0.borrow_mut() = Some(Rc::new(sink));
    }

    /// Hands an upcall over; dropped when nobody listens.
    pub fn send(&self, upcall: Upcall) {
        let sink = self.0.borrow().clone();
        if let Some(sink) = sink {
            sink(upcall);
        }
    }
}

impl fmt::Debug for Upcalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upcalls").field("listened", &self.0.borrow().is_some()).finish()
    }
}
