//! Locks that stack, in one domain of one object: inodelks and entrylks.
//!
//! Equal locks of one holder count separately, and each is released by naming exactly what was locked. A new lock waits
//! behind those that wait already and that it conflicts with, unless its holder has a lock in the domain: so neither
//! writers nor healers starve, and who holds something can go on and finish.

use std::collections::VecDeque;

use kiln_uring::{Errno, Instant};

use super::range::Range;
use super::{Holder, Scene, Ticket, Verdict};
use crate::types::{Flock, LockType, Name};
use crate::upcall::UpcallEvent;

/// Most locks and waits of one domain.
const MOST: usize = 1 << 14;

/// What is locked.
pub trait Target: Clone {
    /// Whether locks of two holders on these exclude each other.
    fn conflicts(&self, other: &Self) -> bool;

    /// Whether a release of `other` is meant for this one.
    fn is_released_by(&self, other: &Self) -> bool;

    /// What the holder of a lock is told when somebody else wants it.
    fn contention(&self, domain: &str, holder: &Holder, pid: i32) -> UpcallEvent;
}

/// Target of an inodelk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes {
    /// Where.
    pub range: Range,
    /// Exclusive or shared.
    pub exclusive: bool,
}

impl Target for Bytes {
    fn conflicts(&self, other: &Self) -> bool {
        (self.exclusive || other.exclusive) && self.range.overlaps(other.range)
    }

    fn is_released_by(&self, other: &Self) -> bool {
        self.range == other.range
    }

    fn contention(&self, domain: &str, holder: &Holder, pid: i32) -> UpcallEvent {
        let flock = Flock {
            kind: if self.exclusive { LockType::Write } else { LockType::Read },
            start: self.range.first(),
            len: self.range.length(),
            pid,
            owner: holder.owner.clone(),
        };
        UpcallEvent::InodelkContention { domain: domain.into(), flock }
    }
}

/// Target of an entrylk. Its kind does not count for conflicts: two readers exclude each other, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which name; `None` for all.
    pub name: Option<Name>,
    /// Read or write.
    pub kind: LockType,
}

impl Target for Entry {
    fn conflicts(&self, other: &Self) -> bool {
        self.name.is_none() || other.name.is_none() || self.name == other.name
    }

    fn is_released_by(&self, other: &Self) -> bool {
        self == other
    }

    fn contention(&self, domain: &str, _: &Holder, pid: i32) -> UpcallEvent {
        UpcallEvent::EntrylkContention {
            domain: domain.into(),
            name: self.name.clone(),
            kind: self.kind,
            pid,
        }
    }
}

/// A lock that is held or waited for.
#[derive(Clone, Debug)]
pub struct Lock<T> {
    /// The request.
    pub ticket: Ticket,
    /// Whose.
    pub holder: Holder,
    /// The process that asked; negative for internal clients.
    pub pid: i32,
    /// What.
    pub target: T,
    /// When it was granted, or asked for.
    pub since: Instant,
    /// When its holder was last told that somebody wants it.
    pub told: Option<Instant>,
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Domain<T> {
    /// Its name.
    pub name: Box<str>,
    granted: Vec<Lock<T>>,
    waiting: VecDeque<Lock<T>>,
}

impl<T: Target> Domain<T> {
    /// Without locks.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), granted: Vec::new(), waiting: VecDeque::new() }
    }

    /// Locks that are held.
    #[must_use]
    pub fn granted(&self) -> &[Lock<T>] {
        &self.granted
    }

    /// Those who wait, first come first.
    pub fn waiting(&self) -> impl Iterator<Item = &Lock<T>> {
        self.waiting.iter()
    }

    /// How many are held or waited for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.granted.len() + self.waiting.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the client holds a lock here.
    #[must_use]
    pub fn is_held_by(&self, client: u64) -> bool {
        self.granted.iter().any(|held| held.holder.client == client)
    }

    /// Whether nothing stands in the way of `wanted`, given those who wait in front of it.
    fn is_free<'a>(&self, wanted: &Lock<T>, mut ahead: impl Iterator<Item = &'a Lock<T>>) -> bool
    where
        T: 'a,
    {
        let blocks =
            |other: &Lock<T>| other.holder != wanted.holder && other.target.conflicts(&wanted.target);
        !self.granted.iter().any(blocks)
            && (!ahead.any(blocks) || self.granted.iter().any(|held| held.holder == wanted.holder))
    }

    /// Locks, if nothing stands in the way and `open` says that the object takes locks of this client now.
    pub fn lock(&mut self, wanted: Lock<T>, wait: bool, open: bool, scene: &mut Scene<'_>) -> Verdict {
        if self.len() >= MOST {
            return Verdict::Refused(Errno::NOLCK);
        }
        if open {
            self.revoke(&wanted, scene);
        }
        if open && self.is_free(&wanted, self.waiting.iter()) {
            self.granted.push(wanted);
            return Verdict::Granted;
        }
        self.tell_holders(&wanted, scene);
        if !wait {
            return Verdict::Refused(Errno::AGAIN);
        }
        self.waiting.push_back(wanted);
        Verdict::Waits
    }

    /// Takes locks that are in the way of `wanted` from those who have held them for too long.
    fn revoke(&mut self, wanted: &Lock<T>, scene: &mut Scene<'_>) {
        let rule = scene.settings.revocation;
        let crowded = rule.max_waiting.is_some_and(|most| self.waiting.len() >= most);
        let expired = |held: &Lock<T>| rule.after.is_some_and(|after| scene.now - held.since > after);
        let revoked = self.granted.iter().any(|held| {
            held.holder != wanted.holder
                && held.target.conflicts(&wanted.target)
                && (crowded || expired(held))
        });
        if !revoked {
            return;
        }
        tracing::warn!(
            gfid = %scene.gfid, domain = %self.name, held = self.granted.len(), waiting = self.waiting.len(),
            "locks are held for too long and are revoked"
        );
        self.granted.clear();
        if rule.clear_all {
            for wait in self.waiting.drain(..) {
                scene.answer(wait.ticket, Err(Errno::AGAIN));
            }
        }
        self.settle(scene, |_| true);
    }

    /// Tells the holders of what `wanted` conflicts with, not too often.
    fn tell_holders(&mut self, wanted: &Lock<T>, scene: &mut Scene<'_>) {
        self.tell_if(|held| held.holder != wanted.holder && held.target.conflicts(&wanted.target), scene);
    }

    /// Tells all holders but `client` that somebody waits for them, not too often.
    pub fn tell_others(&mut self, client: u64, scene: &mut Scene<'_>) {
        self.tell_if(|held| held.holder.client != client, scene);
    }

    fn tell_if(&mut self, whom: impl Fn(&Lock<T>) -> bool, scene: &mut Scene<'_>) {
        let Some(every) = scene.settings.notify_every else { return };
        for held in self.granted.iter_mut().filter(|held| whom(held)) {
            if held.told.is_some_and(|told| scene.now - told < every) {
                continue;
            }
            held.told = Some(scene.now);
            scene.tell(held.holder.client, held.target.contention(&self.name, &held.holder, held.pid));
        }
    }

    /// Releases one lock; false when the holder has none that is exactly this.
    pub fn unlock(&mut self, holder: &Holder, target: &T) -> bool {
        let exact = |held: &Lock<T>| held.holder == *holder && held.target.is_released_by(target);
        let at = self.granted.iter().position(exact);
        at.map(|at| self.granted.remove(at)).is_some()
    }

    /// Grants what can be granted, in the order of the queue; those for whom `open` is false go on waiting.
    pub fn settle(&mut self, scene: &mut Scene<'_>, open: impl Fn(&Lock<T>) -> bool) -> bool {
        let mut granted = false;
        let mut at = 0;
        while at < self.waiting.len() {
            let wanted = &self.waiting[at];
            if !open(wanted) || !self.is_free(wanted, self.waiting.iter().take(at)) {
                at += 1;
                continue;
            }
            let Some(wanted) = self.waiting.remove(at) else { break };
            scene.answer(wanted.ticket, Ok(()));
            self.granted.push(Lock { since: scene.now, ..wanted });
            granted = true;
            // Its holder has a lock now, so that others of its requests need not stand behind anybody.
            at = 0;
        }
        if granted && scene.settings.notify_every.is_some() {
            self.tell_all(scene);
        }
        granted
    }

    /// Tells the holders on whom somebody waits.
    fn tell_all(&mut self, scene: &mut Scene<'_>) {
        let waiting = std::mem::take(&mut self.waiting);
        for wanted in &waiting {
            self.tell_holders(wanted, scene);
        }
        self.waiting = waiting;
    }

    /// Takes a request back, whether it waits or was granted; false when there is none.
    pub fn forget(&mut self, ticket: Ticket) -> bool {
        let before = self.len();
        self.waiting.retain(|wait| wait.ticket != ticket);
        self.granted.retain(|held| held.ticket != ticket);
        self.len() != before
    }

    /// A client is gone: its locks go, and its waits end with `EAGAIN`.
    pub fn drop_client(&mut self, client: u64, scene: &mut Scene<'_>) {
        self.clear(true, true, |lock| lock.holder.client == client, scene);
    }

    /// Clears locks: how many waits (they end with `EAGAIN`) and how many held ones went.
    pub fn clear(
        &mut self,
        waiting: bool,
        granted: bool,
        which: impl Fn(&Lock<T>) -> bool,
        scene: &mut Scene<'_>,
    ) -> (usize, usize) {
        let before = (self.waiting.len(), self.granted.len());
        self.waiting.retain(|wait| {
            let gone = waiting && which(wait);
            if gone {
                scene.answer(wait.ticket, Err(Errno::AGAIN));
            }
            !gone
        });
        self.granted.retain(|held| !(granted && which(held)));
        (before.0 - self.waiting.len(), before.1 - self.granted.len())
    }
}
