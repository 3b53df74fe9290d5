//! The locks themselves: plain data without clock, engine or messages. Whoever calls says what time it is, and gets back what
//! is to be told to whom.
//!
//! | module | subject |
//! | --- | --- |
//! | [`range`] | byte ranges |
//! | [`posix`] | one object's POSIX and flock locks, which merge and split |
//! | [`domain`] | locks that stack, in a domain: inodelks and entrylks |
//! | [`object`] | all locks of one object, and the operations that wait for them |
//! | [`table`] | all objects that one core owns |

pub mod domain;
pub mod object;
pub mod posix;
pub mod range;
pub mod table;

#[cfg(test)]
mod tests;

use std::time::Duration;

use kiln_uring::{Errno, Instant};

use crate::types::{Gfid, LockOwner};
use crate::upcall::{Upcall, UpcallEvent};

/// Who holds or wants a lock: owners are only unique within their client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Holder {
    /// The client.
    pub client: u64,
    /// The owner within it.
    pub owner: LockOwner,
}

/// One request for a lock, unique among all cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket(pub u64);

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has the lock.
    Granted,
    /// It does not get it.
    Refused(Errno),
    /// It waits; an [`Effects::answers`] will tell.
    Waits,
}

/// When locks are taken from those who hold them for too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Revocation {
    /// Somebody else wants a lock that is held for longer than this.
    pub after: Option<Duration>,
    /// At least so many wait in the domain.
    pub max_waiting: Option<usize>,
    /// Those who wait go, too.
    pub clear_all: bool,
}

/// The options that the locks themselves depend on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Holders are told of contention, at most once per this time and lock; `None` leaves them alone.
    pub notify_every: Option<Duration>,
    /// Locks that are held for too long.
    pub revocation: Revocation,
}

/// What an operation on the locks did to others.
#[derive(Debug, Default)]
pub struct Effects {
    /// Requests that waited, and what became of them.
    pub answers: Vec<(Ticket, Result<(), Errno>)>,
    /// What clients are to be told.
    pub upcalls: Vec<Upcall>,
}

/// Where and when an operation takes place.
#[derive(Debug)]
pub struct Scene<'a> {
    /// The object.
    pub gfid: Gfid,
    /// The time.
    pub now: Instant,
    /// The options.
    pub settings: Settings,
    /// What it does to others.
    pub effects: &'a mut Effects,
}

impl Scene<'_> {
    fn answer(&mut self, ticket: Ticket, answer: Result<(), Errno>) {
        self.effects.answers.push((ticket, answer));
    }

    fn tell(&mut self, client: u64, event: UpcallEvent) {
        self.effects.upcalls.push(Upcall { client, gfid: self.gfid, event });
    }
}
