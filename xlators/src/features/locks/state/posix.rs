//! One object's POSIX and flock locks.
//!
//! A holder's locks never overlap each other: a new one replaces what it covers, and merges with its neighbours of the same
//! kind. Those who wait are served in the order in which they came, each as soon as nothing that is granted is in its way,
//! as GlusterFS does; there is no detection of deadlocks, as there is none in GlusterFS.
//!
//! *Reservations* (`F_RESLK_*`) are a second set of exclusive ranges: who has one keeps others from locking in it.

use std::collections::VecDeque;

use kiln_uring::{Errno, Instant};

use super::range::Range;
use super::{Holder, Scene, Ticket, Verdict};
use crate::types::{Flock, LockType};

/// Most ranges and waits of one object.
const MOST: usize = 1 << 16;

/// A range that is, or is to be, locked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where.
    pub range: Range,
    /// Exclusive or shared.
    pub exclusive: bool,
    /// Whose.
    pub holder: Holder,
    /// The descriptor that it came through; 0 for none.
    pub fd: u64,
    /// The process, informational.
    pub pid: i32,
    /// The thread that called, who alone can interrupt its wait; 0 for none.
    pub caller: i32,
    /// Whether it binds others in mandatory mode `optimal`.
    pub mandatory: bool,
    /// When it was granted, or asked for.
    pub since: Instant,
}

impl Segment {
    /// As a reply tells it.
    #[must_use]
    pub fn to_flock(&self) -> Flock {
        Flock {
            kind: if self.exclusive { LockType::Write } else { LockType::Read },
            start: self.range.first(),
            len: self.range.length(),
            pid: self.pid,
            owner: self.holder.owner.clone(),
        }
    }

    fn conflicts(&self, other: &Self) -> bool {
        (self.exclusive || other.exclusive) && self.range.overlaps(other.range) && self.holder != other.holder
    }

    fn is_like(&self, other: &Self) -> bool {
        self.exclusive == other.exclusive
            && self.mandatory == other.mandatory
            && self.fd == other.fd
            && self.holder == other.holder
    }
}

/// Somebody who waits.
#[derive(Clone, Debug)]
pub struct Wait {
    /// The request.
    pub ticket: Ticket,
    /// What is wanted.
    pub segment: Segment,
    /// Into the reservations.
    reserve: bool,
    /// It was not to wait, but came while the locks were frozen.
    once: bool,
}

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct PosixLocks {
    granted: Vec<Segment>,
    reserved: Vec<Segment>,
    waiting: VecDeque<Wait>,
    /// A migration looks at the locks: none is set meanwhile.
    frozen: Option<u64>,
    /// What is left to tell of a descriptor's locks (`F_GETLK_FD`).
    listings: Vec<(u64, VecDeque<Flock>)>,
}

impl PosixLocks {
    /// Locks that are held.
    #[must_use]
    pub fn granted(&self) -> &[Segment] {
        &self.granted
    }

    /// Those who wait, first come first.
    pub fn waiting(&self) -> impl Iterator<Item = &Wait> {
        self.waiting.iter()
    }

    /// How many are held or waited for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.granted.len() + self.waiting.len()
    }

    /// Whether there is nothing to remember.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.reserved.is_empty() && self.frozen.is_none() && self.listings.is_empty()
    }

    /// What keeps `wanted` from being granted.
    #[must_use]
    pub fn conflict(&self, wanted: &Segment) -> Option<&Segment> {
        self.granted.iter().find(|held| held.conflicts(wanted))
    }

    fn is_free(&self, wanted: &Segment, reserve: bool) -> bool {
        let reserved = self
            .reserved
            .iter()
            .any(|held| held.range.overlaps(wanted.range) && held.holder != wanted.holder);
        !reserved && (reserve || self.conflict(wanted).is_none())
    }

    /// Sets a lock.
    pub fn set(&mut self, wanted: Segment, ticket: Ticket, wait: bool, scene: &mut Scene<'_>) -> Verdict {
        self.request(wanted, ticket, wait, false, scene)
    }

    /// Reserves a range.
    pub fn reserve(&mut self, wanted: Segment, ticket: Ticket, wait: bool, scene: &mut Scene<'_>) -> Verdict {
        self.request(wanted, ticket, wait, true, scene)
    }

    fn request(
        &mut self,
        wanted: Segment,
        ticket: Ticket,
        wait: bool,
        reserve: bool,
        scene: &mut Scene<'_>,
    ) -> Verdict {
        if self.len() >= MOST {
            return Verdict::Refused(Errno::NOLCK);
        }
        let frozen = self.frozen.is_some() && !reserve;
        if !frozen && self.is_free(&wanted, reserve) {
            self.put(wanted, reserve);
            self.settle(scene);
            return Verdict::Granted;
        }
        if !wait && !frozen {
            return Verdict::Refused(Errno::AGAIN);
        }
        if wait && !frozen && !reserve {
            // Two holders who share a lock and both want to write would wait for each other for ever otherwise.
            cut(&mut self.granted, &wanted.holder, wanted.range);
        }
        self.waiting.push_back(Wait { ticket, segment: wanted, reserve, once: !wait });
        self.settle(scene);
        Verdict::Waits
    }

    /// Sets a lock and takes what is in its way; all waits end with `EBUSY`.
    pub fn seize(&mut self, wanted: Segment, scene: &mut Scene<'_>) {
        self.end_waits(|_| true, Errno::BUSY, scene);
        self.granted.retain(|held| held.holder == wanted.holder || !held.range.overlaps(wanted.range));
        self.put(wanted, false);
        self.settle(scene);
    }

    fn put(&mut self, wanted: Segment, reserve: bool) {
        insert(if reserve { &mut self.reserved } else { &mut self.granted }, wanted);
    }

    /// Removes a holder's locks within `range`.
    pub fn unlock(&mut self, holder: &Holder, range: Range, scene: &mut Scene<'_>) {
        if cut(&mut self.granted, holder, range) {
            self.settle(scene);
        }
    }

    /// Gives a reservation up.
    pub fn unreserve(&mut self, holder: &Holder, range: Range, scene: &mut Scene<'_>) {
        if cut(&mut self.reserved, holder, range) {
            self.settle(scene);
        }
    }

    /// Whether any lock came through that descriptor.
    #[must_use]
    pub fn has_fd(&self, fd: u64) -> bool {
        self.granted.iter().any(|held| held.fd == fd)
    }

    /// The next of a descriptor's locks; `None` after the last, and then it starts again.
    pub fn next_of_fd(&mut self, fd: u64) -> Option<Flock> {
        let at = self.listings.iter().position(|(known, _)| *known == fd).unwrap_or_else(|| {
            let locks = self.granted.iter().filter(|held| held.fd == fd).map(Segment::to_flock).collect();
            self.listings.push((fd, locks));
            self.listings.len() - 1
        });
        let next = self.listings[at].1.pop_front();
        if next.is_none() {
            self.listings.swap_remove(at);
        }
        next
    }

    /// A descriptor is flushed: the locks of `holder` go, or all of the descriptor when `holder` is `None`.
    pub fn flush(&mut self, holder: Option<&Holder>, fd: u64, scene: &mut Scene<'_>) {
        match holder {
            Some(holder) => self.unlock(holder, Range::WHOLE, scene),
            None => self.drop_fd(fd, scene),
        }
    }

    /// A descriptor is closed: everything that came through it goes, and its waits end with `EAGAIN`.
    pub fn drop_fd(&mut self, fd: u64, scene: &mut Scene<'_>) {
        self.listings.retain(|(known, _)| *known != fd);
        self.drop_if(|segment| segment.fd == fd, Errno::AGAIN, scene);
    }

    /// A client is gone with all that it holds and waits for.
    pub fn drop_client(&mut self, client: u64, scene: &mut Scene<'_>) {
        self.frozen = self.frozen.filter(|freezer| *freezer != client);
        self.drop_if(|segment| segment.holder.client == client, Errno::AGAIN, scene);
    }

    fn drop_if(&mut self, gone: impl Fn(&Segment) -> bool, errno: Errno, scene: &mut Scene<'_>) {
        self.granted.retain(|held| !gone(held));
        self.reserved.retain(|held| !gone(held));
        self.end_waits(|wait| gone(&wait.segment), errno, scene);
        self.settle(scene);
    }

    fn end_waits(&mut self, gone: impl Fn(&Wait) -> bool, errno: Errno, scene: &mut Scene<'_>) -> usize {
        let before = self.waiting.len();
        self.waiting.retain(|wait| {
            let gone = gone(wait);
            if gone {
                scene.answer(wait.ticket, Err(errno));
            }
            !gone
        });
        before - self.waiting.len()
    }

    /// Takes a wait back; false when that request does not wait.
    pub fn cancel(&mut self, ticket: Ticket, scene: &mut Scene<'_>) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|wait| wait.ticket != ticket);
        let found = self.waiting.len() != before;
        if found {
            self.settle(scene);
        }
        found
    }

    /// Clears locks by an administrator's order: how many waits (they end with `EINTR`) and how many held ones went.
    pub fn clear(
        &mut self,
        waiting: bool,
        granted: bool,
        which: impl Fn(&Segment) -> bool,
        scene: &mut Scene<'_>,
    ) -> (usize, usize) {
        let mut gone = (0, 0);
        if waiting {
            gone.0 = self.end_waits(|wait| which(&wait.segment), Errno::INTR, scene);
        }
        if granted {
            let before = self.granted.len();
            self.granted.retain(|held| !which(held));
            gone.1 = before - self.granted.len();
        }
        self.settle(scene);
        gone
    }

    /// The locks that came through descriptor `old` belong to `new` of `client` from now on.
    pub fn rehome(&mut self, old: u64, new: u64, client: u64) {
        for held in self.granted.iter_mut().filter(|held| held.fd == old) {
            held.fd = new;
            held.holder.client = client;
        }
    }

    /// Adds locks that were granted elsewhere: all, or none when one conflicts with what is held here.
    pub fn adopt(&mut self, segments: Vec<Segment>) -> bool {
        let fits = segments.iter().all(|segment| self.conflict(segment).is_none())
            && self.len() + segments.len() <= MOST;
        if fits {
            segments.into_iter().for_each(|segment| insert(&mut self.granted, segment));
        }
        fits
    }

    /// From now on no lock is set, until [`PosixLocks::thaw`] or until `client` is gone; false when it is frozen already.
    pub fn freeze(&mut self, client: u64) -> bool {
        let free = self.frozen.is_none();
        self.frozen = self.frozen.or(Some(client));
        free
    }

    /// Ends a freeze. When the locks have moved elsewhere, those here go, and those who wait are told so (`EREMOTE`).
    pub fn thaw(&mut self, moved: bool, scene: &mut Scene<'_>) {
        self.frozen = None;
        if moved {
            self.drop_if(|_| true, Errno::REMOTE, scene);
        } else {
            self.settle(scene);
        }
    }

    /// Grants what can be granted, in the order of the queue, until nothing more can.
    fn settle(&mut self, scene: &mut Scene<'_>) {
        let mut at = 0;
        while at < self.waiting.len() {
            let wait = &self.waiting[at];
            let frozen = self.frozen.is_some() && !wait.reserve;
            let free = !frozen && self.is_free(&wait.segment, wait.reserve);
            if !free && (frozen || !wait.once) {
                at += 1;
                continue;
            }
            let Some(wait) = self.waiting.remove(at) else { break };
            if !free {
                scene.answer(wait.ticket, Err(Errno::AGAIN));
                continue;
            }
            scene.answer(wait.ticket, Ok(()));
            let loosened = !wait.segment.exclusive;
            self.put(Segment { since: scene.now, ..wait.segment }, wait.reserve);
            if loosened {
                // A shared lock may have replaced an exclusive one of the same holder.
                at = 0;
            }
        }
    }
}

/// Takes `range` away from the holder's segments; whether there was any of it.
fn cut(segments: &mut Vec<Segment>, holder: &Holder, range: Range) -> bool {
    let mut rest = Vec::new();
    let before = segments.len();
    segments.retain_mut(|held| {
        if held.holder != *holder || !held.range.overlaps(range) {
            return true;
        }
        rest.extend(held.range.without(range).into_iter().flatten().map(|left| (held.clone(), left)));
        false
    });
    let cut = segments.len() != before;
    segments.extend(rest.into_iter().map(|(held, range)| Segment { range, ..held }));
    cut
}

/// Adds a segment that conflicts with none of another holder.
fn insert(segments: &mut Vec<Segment>, mut new: Segment) {
    cut(segments, &new.holder, new.range);
    segments.retain(|held| {
        let merges = held.is_like(&new) && held.range.touches(new.range);
        if merges {
            new.range = new.range.join(held.range);
        }
        !merges
    });
    segments.push(new);
}
