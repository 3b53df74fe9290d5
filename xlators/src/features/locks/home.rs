//! Where locks live: the table of one core, and those who wait there.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use kiln_uring::{Core, Errno};

use super::state::object::{Object, Want};
use super::state::range::Range;
use super::state::table::Table;
use super::state::{Effects, Holder, Scene, Ticket, Verdict};
use crate::handoff::{Giver, Taker, handoff};
use crate::types::Gfid;
use crate::upcall::Upcalls;

/// What a request is answered with.
pub type Answer = Result<(), Errno>;

/// How to take back what was granted to somebody who does not wait any more.
#[derive(Clone, Debug)]
pub enum Undo {
    /// There is nothing to take back.
    Nothing,
    /// A POSIX lock.
    Posix(Holder, Range),
    /// A reservation.
    Reserve(Holder, Range),
    /// An inodelk or entrylk: the request knows which.
    Request,
    /// A removal.
    Remove,
}

impl Undo {
    /// Of what `want` asks for.
    #[must_use]
    pub fn of(want: &Want) -> Self {
        match want {
            Want::Posix(segment) => Self::Posix(segment.holder.clone(), segment.range),
            Want::Reserve(segment) => Self::Reserve(segment.holder.clone(), segment.range),
            Want::Inode(..) | Want::Entry(..) => Self::Request,
            Want::Io(_) => Self::Nothing,
            Want::Remove(_) => Self::Remove,
        }
    }

    fn run(self, ticket: Ticket, object: &mut Object, scene: &mut Scene<'_>) {
        match self {
            Self::Nothing => {}
            Self::Posix(holder, range) => {
                object.posix.unlock(&holder, range, scene);
                object.settle(scene);
            }
            Self::Reserve(holder, range) => object.posix.unreserve(&holder, range, scene),
            Self::Request => object.forget(ticket, scene),
            Self::Remove => object.removed(scene),
        }
    }
}

/// Somebody who waits: how to tell, and what to do if nobody listens.
#[derive(Debug)]
struct Waiter {
    gfid: Gfid,
    giver: Giver<Answer>,
    undo: Undo,
}

/// One core's locks.
#[derive(Debug)]
pub struct Home {
    table: RefCell<Table>,
    waiters: RefCell<HashMap<Ticket, Waiter>>,
    upcalls: Upcalls,
    granted: Cell<u64>,
    contended: Cell<u64>,
}

/// Locks of one core, for statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Locks that are held or waited for: POSIX and flock, inodelk, entrylk.
    pub locks: [usize; 3],
    /// Requests that wait now.
    pub waiting: usize,
    /// Requests that were granted at once.
    pub granted: u64,
    /// Requests that found what they wanted taken: they waited, or were refused.
    pub contended: u64,
}

impl Home {
    /// With that table.
    #[must_use]
    pub fn new(table: Table, upcalls: Upcalls) -> Self {
        let (waiters, granted, contended) = Default::default();
        Self { table: RefCell::new(table), waiters, upcalls, granted, contended }
    }

    /// The table, to look at or to configure. Not to be held across anything else of this type.
    #[must_use]
    pub const fn table(&self) -> &RefCell<Table> {
        &self.table
    }

    /// How many wait here.
    #[must_use]
    pub fn waiters(&self) -> usize {
        self.waiters.borrow().len()
    }

    /// How many there are, and were.
    #[must_use]
    pub fn figures(&self) -> Figures {
        Figures {
            locks: self.table.borrow().counts(),
            waiting: self.waiters(),
            granted: self.granted.get(),
            contended: self.contended.get(),
        }
    }

    /// Does something with an object's locks, and tells everybody whom it concerns.
    pub fn with<R>(
        &self,
        core: &Core,
        gfid: Gfid,
        client: Option<u64>,
        work: impl FnOnce(&mut Object, &mut Scene<'_>) -> R,
    ) -> R {
        let mut effects = Effects::default();
        let result = self.table.borrow_mut().with(gfid, client, core.now(), &mut effects, work);
        self.deliver(core, effects);
        result
    }

    /// Asks on behalf of somebody on this core; the end to wait at, if it must wait.
    ///
    /// # Errors
    /// When it does not get it.
    pub fn acquire(
        &self,
        core: &Core,
        gfid: Gfid,
        ticket: Ticket,
        want: Want,
        wait: bool,
    ) -> Result<Option<(Taker<Answer>, Undo)>, Errno> {
        let undo = Undo::of(&want);
        let (verdict, effects) = self.request(core, gfid, ticket, want, wait);
        let answer = match verdict {
            Verdict::Granted => Ok(None),
            Verdict::Refused(errno) => Err(errno),
            Verdict::Waits => {
                let (giver, taker) = handoff();
                self.waiters.borrow_mut().insert(ticket, Waiter { gfid, giver, undo: undo.clone() });
                Ok(Some((taker, undo)))
            }
        };
        self.deliver(core, effects);
        answer
    }

    /// Asks on behalf of somebody on another core.
    pub fn acquire_for(
        &self,
        core: &Core,
        gfid: Gfid,
        ticket: Ticket,
        want: Want,
        wait: bool,
        to: Giver<Answer>,
    ) {
        let waiter = Waiter { gfid, giver: to, undo: Undo::of(&want) };
        let (verdict, effects) = self.request(core, gfid, ticket, want, wait);
        let answer = match verdict {
            Verdict::Granted => Ok(()),
            Verdict::Refused(errno) => Err(errno),
            Verdict::Waits => {
                self.waiters.borrow_mut().insert(ticket, waiter);
                return self.deliver(core, effects);
            }
        };
        self.deliver(core, effects);
        self.tell(core, ticket, waiter, answer);
    }

    fn request(&self, core: &Core, gfid: Gfid, ticket: Ticket, want: Want, wait: bool) -> (Verdict, Effects) {
        let mut effects = Effects::default();
        let client = want.client();
        let mut table = self.table.borrow_mut();
        if want.is_lock() && table.is_full(client, gfid) {
            tracing::debug!(client, %gfid, "a lock is refused: there are too many");
            return (Verdict::Refused(Errno::NOLCK), effects);
        }
        let verdict = table.with(gfid, Some(client), core.now(), &mut effects, |object, scene| {
            object.acquire(ticket, want, wait, scene)
        });
        let counter = if verdict == Verdict::Granted { &self.granted } else { &self.contended };
        counter.set(counter.get() + 1);
        (verdict, effects)
    }

    /// Somebody does not wait any more: the request ends, and what it was granted (`granted`) is taken back.
    pub fn cancel(&self, core: &Core, gfid: Gfid, ticket: Ticket, granted: Option<Undo>) {
        self.waiters.borrow_mut().remove(&ticket);
        self.with(core, gfid, None, |object, scene| match granted {
            Some(undo) => undo.run(ticket, object, scene),
            None => object.forget(ticket, scene),
        });
    }

    /// A client is gone.
    pub fn drop_client(&self, core: &Core, client: u64) {
        let mut effects = Effects::default();
        self.table.borrow_mut().drop_client(client, core.now(), &mut effects);
        self.deliver(core, effects);
    }

    fn deliver(&self, core: &Core, effects: Effects) {
        for (ticket, answer) in effects.answers {
            let waiter = self.waiters.borrow_mut().remove(&ticket);
            if let Some(waiter) = waiter {
                self.tell(core, ticket, waiter, answer);
            }
        }
        effects.upcalls.into_iter().for_each(|upcall| self.upcalls.send(upcall));
    }

    fn tell(&self, core: &Core, ticket: Ticket, waiter: Waiter, answer: Answer) {
        let Waiter { gfid, giver, undo } = waiter;
        if giver.give(answer) == Err(Ok(())) {
            self.with(core, gfid, None, |object, scene| undo.run(ticket, object, scene));
        }
    }
}
