//! All locks of one object, and the operations that wait for them.
//!
//! Besides the three kinds of locks two kinds of operations wait here: reads and writes in mandatory mode, for POSIX locks
//! of others, and *removals* (unlink, rmdir, the victim of a rename), for inodelks of other clients. While a removal waits
//! or runs, ordinary clients get no new inodelk, unless they hold one already and need more to finish.

use std::collections::VecDeque;

use kiln_uring::Errno;

use super::domain::{Bytes, Domain, Entry, Lock, Target};
use super::posix::{PosixLocks, Segment};
use super::range::Range;
use super::{Holder, Scene, Ticket, Verdict};

/// Most operations that wait at one object.
const MOST: usize = 1 << 16;

/// What a request wants.
#[derive(Clone, Debug)]
pub enum Want {
    /// A POSIX or flock lock.
    Posix(Segment),
    /// A reservation.
    Reserve(Segment),
    /// An inodelk in that domain.
    Inode(Box<str>, Lock<Bytes>),
    /// An entrylk in that domain.
    Entry(Box<str>, Lock<Entry>),
    /// To read or write.
    Io(Io),
    /// To remove a name of the object, by this client.
    Remove(u64),
}

impl Want {
    /// Whether it stays, once granted, until somebody releases it.
    #[must_use]
    pub const fn is_lock(&self) -> bool {
        !matches!(self, Self::Io(_) | Self::Remove(_))
    }

    /// Whose request it is.
    #[must_use]
    pub const fn client(&self) -> u64 {
        match self {
            Self::Posix(segment) | Self::Reserve(segment) => segment.holder.client,
            Self::Inode(_, lock) => lock.holder.client,
            Self::Entry(_, lock) => lock.holder.client,
            Self::Io(io) => io.holder.client,
            Self::Remove(client) => *client,
        }
    }
}

/// A read or write, as mandatory locks see it.
#[derive(Clone, Debug)]
pub struct Io {
    /// Who.
    pub holder: Holder,
    /// Where.
    pub range: Range,
    /// Whether it changes the bytes.
    pub writes: bool,
    /// Only locks that were taken as mandatory count (mode `optimal`).
    pub only_mandatory: bool,
    /// The file is fenced: only who holds a lock on all of the range may, and others get this error at once.
    pub fenced: Option<Errno>,
}

/// Which kinds of locks, for counts and clearing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// POSIX and flock.
    Posix,
    /// Inodelks.
    Inode,
    /// Entrylks.
    Entry,
}

#[derive(Clone, Debug, Default)]
struct Removals {
    running: usize,
    waiting: VecDeque<(Ticket, u64)>,
}

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct Object {
    /// POSIX and flock locks.
    pub posix: PosixLocks,
    /// Inodelks by domain.
    pub inode: Vec<Domain<Bytes>>,
    /// Entrylks by domain.
    pub entry: Vec<Domain<Entry>>,
    io: VecDeque<(Ticket, Io)>,
    removals: Removals,
}

fn domain<'a, T: Target>(domains: &'a mut Vec<Domain<T>>, name: &str) -> &'a mut Domain<T> {
    let at = domains.iter().position(|domain| *domain.name == *name).unwrap_or_else(|| {
        domains.push(Domain::new(name));
        domains.len() - 1
    });
    &mut domains[at]
}

impl Object {
    /// Whether there is nothing to remember.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.posix.is_empty()
            && self.inode.is_empty()
            && self.entry.is_empty()
            && self.io.is_empty()
            && self.removals.running == 0
            && self.removals.waiting.is_empty()
    }

    /// Locks of a kind, held or waited for, in all domains.
    #[must_use]
    pub fn count(&self, kind: Kind) -> usize {
        match kind {
            Kind::Posix => self.posix.len(),
            Kind::Inode => self.inode.iter().map(Domain::len).sum(),
            Kind::Entry => self.entry.iter().map(Domain::len).sum(),
        }
    }

    /// Whether somebody holds an entrylk on exactly this name.
    #[must_use]
    pub fn holds_name(&self, name: &[u8]) -> bool {
        let locks = self.entry.iter().flat_map(Domain::granted);
        locks.into_iter().any(|lock| lock.target.name.as_ref().is_some_and(|held| held.as_bytes() == name))
    }

    /// How many removals wait and run.
    #[must_use]
    pub fn removals(&self) -> usize {
        self.removals.running + self.removals.waiting.len()
    }

    /// How many reads and writes wait.
    #[must_use]
    pub fn io_waits(&self) -> usize {
        self.io.len()
    }

    /// Asks for something.
    pub fn acquire(&mut self, ticket: Ticket, want: Want, wait: bool, scene: &mut Scene<'_>) -> Verdict {
        match want {
            Want::Posix(segment) => {
                let verdict = self.posix.set(segment, ticket, wait, scene);
                self.settle(scene);
                verdict
            }
            Want::Reserve(segment) => self.posix.reserve(segment, ticket, wait, scene),
            Want::Inode(name, lock) => {
                let open = self.is_open(lock.holder.client, lock.pid);
                let verdict = domain(&mut self.inode, &name).lock(lock, wait, open, scene);
                self.tidy();
                verdict
            }
            Want::Entry(name, lock) => {
                let verdict = domain(&mut self.entry, &name).lock(lock, wait, true, scene);
                self.tidy();
                verdict
            }
            Want::Io(io) => {
                if self.allows(&io) {
                    return Verdict::Granted;
                }
                if let Some(errno) = io.fenced {
                    return Verdict::Refused(errno);
                }
                if !wait || self.io.len() >= MOST {
                    return Verdict::Refused(Errno::AGAIN);
                }
                self.io.push_back((ticket, io));
                Verdict::Waits
            }
            Want::Remove(client) => {
                if !self.is_held_by_others(client) {
                    self.removals.running += 1;
                    return Verdict::Granted;
                }
                if self.removals.waiting.len() >= MOST {
                    return Verdict::Refused(Errno::AGAIN);
                }
                self.inode.iter_mut().for_each(|domain| domain.tell_others(client, scene));
                self.removals.waiting.push_back((ticket, client));
                Verdict::Waits
            }
        }
    }

    fn is_held_by_others(&self, client: u64) -> bool {
        self.inode.iter().flat_map(Domain::granted).any(|held| held.holder.client != client)
    }

    /// Whether the client gets new inodelks, with regard to removals.
    fn is_open(&self, client: u64, pid: i32) -> bool {
        let removals = &self.removals;
        pid < 0
            || (removals.running == 0
                && (removals.waiting.is_empty() || self.inode.iter().any(|domain| domain.is_held_by(client))))
    }

    /// Whether the read or write may go on.
    #[must_use]
    pub fn allows(&self, io: &Io) -> bool {
        if io.fenced.is_some() {
            return self
                .posix
                .granted()
                .iter()
                .any(|held| held.holder == io.holder && held.range.covers(io.range));
        }
        !self.posix.granted().iter().any(|held| {
            held.range.overlaps(io.range)
                && held.holder != io.holder
                && (io.writes || held.exclusive)
                && (held.mandatory || !io.only_mandatory)
        })
    }

    /// Takes a lock on a fenced file: whatever others hold of it goes, and everybody who waits hears so (`EBUSY`).
    pub fn seize(&mut self, segment: Segment, scene: &mut Scene<'_>) {
        self.posix.seize(segment, scene);
        self.io.drain(..).for_each(|(ticket, _)| scene.answer(ticket, Err(Errno::BUSY)));
        self.settle(scene);
    }

    /// Releases an inodelk; false when there is none.
    pub fn unlock_inode(
        &mut self,
        name: &str,
        holder: &Holder,
        target: &Bytes,
        scene: &mut Scene<'_>,
    ) -> bool {
        let found = domain(&mut self.inode, name).unlock(holder, target);
        self.settle(scene);
        found
    }

    /// Releases an entrylk; false when there is none.
    pub fn unlock_entry(
        &mut self,
        name: &str,
        holder: &Holder,
        target: &Entry,
        scene: &mut Scene<'_>,
    ) -> bool {
        let found = domain(&mut self.entry, name).unlock(holder, target);
        self.settle(scene);
        found
    }

    /// A removal is over.
    pub fn removed(&mut self, scene: &mut Scene<'_>) {
        self.removals.running = self.removals.running.saturating_sub(1);
        self.settle(scene);
    }

    /// Takes a request back: it waits no more, and an inodelk or entrylk that it got is released.
    pub fn forget(&mut self, ticket: Ticket, scene: &mut Scene<'_>) {
        self.posix.cancel(ticket, scene);
        self.inode.iter_mut().for_each(|domain| _ = domain.forget(ticket));
        self.entry.iter_mut().for_each(|domain| _ = domain.forget(ticket));
        self.io.retain(|(waiting, _)| *waiting != ticket);
        self.removals.waiting.retain(|(waiting, _)| *waiting != ticket);
        self.settle(scene);
    }

    /// A client is gone with all that it holds and waits for. Its removals that run end by themselves.
    pub fn drop_client(&mut self, client: u64, scene: &mut Scene<'_>) {
        self.posix.drop_client(client, scene);
        self.inode.iter_mut().for_each(|domain| domain.drop_client(client, scene));
        self.entry.iter_mut().for_each(|domain| domain.drop_client(client, scene));
        self.io.retain(|(ticket, io)| io.holder.client != client || gone(*ticket, scene));
        self.removals.waiting.retain(|(ticket, waiting)| *waiting != client || gone(*ticket, scene));
        self.settle(scene);
    }

    /// Lets everything go on that can, and forgets domains without locks. To be called after every change.
    pub fn settle(&mut self, scene: &mut Scene<'_>) {
        let mut at = 0;
        while let Some((ticket, io)) = self.io.get(at) {
            if self.allows(io) {
                scene.answer(*ticket, Ok(()));
                self.io.remove(at);
            } else {
                at += 1;
            }
        }
        // Removals first: new inodelks stand behind them.
        let mut at = 0;
        while let Some(&(ticket, client)) = self.removals.waiting.get(at) {
            if self.is_held_by_others(client) {
                at += 1;
            } else {
                scene.answer(ticket, Ok(()));
                self.removals.waiting.remove(at);
                self.removals.running += 1;
            }
        }
        // An inodelk in one domain opens the others for its client.
        while self.settle_inodelks(scene) {}
        self.entry.iter_mut().for_each(|domain| _ = domain.settle(scene, |_| true));
        self.tidy();
    }

    fn settle_inodelks(&mut self, scene: &mut Scene<'_>) -> bool {
        let mut any = false;
        for at in 0..self.inode.len() {
            if self.inode[at].waiting().next().is_none() {
                continue;
            }
            if self.removals() == 0 {
                any |= self.inode[at].settle(scene, |_| true);
                continue;
            }
            let mut clients: Vec<(u64, i32, bool)> = Vec::new();
            for wait in self.inode[at].waiting() {
                let (client, pid) = (wait.holder.client, wait.pid);
                if !clients.iter().any(|(known, internal, _)| *known == client && *internal == pid) {
                    clients.push((client, pid, self.is_open(client, pid)));
                }
            }
            let open = |wait: &Lock<Bytes>| {
                clients
                    .iter()
                    .any(|(client, pid, open)| *open && (*client, *pid) == (wait.holder.client, wait.pid))
            };
            any |= self.inode[at].settle(scene, open);
        }
        any
    }

    fn tidy(&mut self) {
        self.inode.retain(|domain| !domain.is_empty());
        self.entry.retain(|domain| !domain.is_empty());
    }
}

fn gone(ticket: Ticket, scene: &mut Scene<'_>) -> bool {
    scene.answer(ticket, Err(Errno::AGAIN));
    false
}
