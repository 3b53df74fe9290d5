//! What the brick knows of its objects' `trusted.glusterfs.mdata`, so that it need not read it for every reply.
//!
//! One table for all cores, of bounded size. Whoever changes the attribute of an object holds the object's stripe of the
//! table while it does, so among cores the table is right by construction. Whether somebody else has changed it (a backup
//! that is restored, an administrator with `setfattr`) the kernel tells: with every attribute it changes the inode's own
//! change time, which each reply asks for anyway. An entry counts only for the inode and the change time that it was
//! read under, or that the brick itself has seen right after a change of its own.
//!
//! Since Linux 6.13 no two changes with a look in between have the same change time, on the file systems that bricks are made
//! of. Before, those of one clock tick (4 ms at most) have, so that a stranger's change may go unnoticed that comes within a
//! tick of a look of ours. Stock, which keeps the times of every inode it knows, does not notice any.

use std::sync::{Mutex, MutexGuard, PoisonError};

use kiln_uring::sys::{Stat, Timespec};

use super::stripes::object_key;
use crate::types::{Gfid, MdataTimes};

const STRIPES: usize = 1024;

/// Objects per stripe. A full table takes less than 1 MiB.
const WAYS: usize = 8;

/// See the [module](self).
#[derive(Debug)]
pub struct KnownTimes(Box<[Mutex<Stripe>]>);

#[derive(Debug, Default)]
struct Stripe {
    entries: Vec<Entry>,
    /// Moves with every change: what was read before one is not to be remembered after it.
    changes: u64,
    /// Moves with every use, to tell which entry was used last.
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    gfid: Gfid,
    ino: u64,
    times: Option<MdataTimes>,
    /// The inode's change time.
    seen: Timespec,
    used: u64,
}

/// What the table says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// The attribute, or that there is none.
    Known(Option<MdataTimes>),
    /// It has to be read. What is read then may be remembered with [`KnownTimes::learn`] and this number.
    Unknown(u64),
}

impl Default for KnownTimes {
    fn default() -> Self {
        Self((0..STRIPES).map(|_| Mutex::default()).collect())
    }
}

impl KnownTimes {
    /// What is known of the object with this `stat`, which must be of now.
    #[must_use]
    pub fn look(&self, gfid: Gfid, stat: &Stat) -> Look {
        let mut stripe = self.stripe(gfid);
        let changes = stripe.changes;
        match stripe.find(gfid, stat.ino) {
            Some(entry) if entry.seen == stat.ctime => Look::Known(entry.times),
            _ => Look::Unknown(changes),
        }
    }

    /// Remembers what was read after `stat`, unless somebody has changed a thing since `look`.
    pub fn learn(&self, gfid: Gfid, stat: &Stat, times: Option<MdataTimes>, look: u64) {
        let mut stripe = self.stripe(gfid);
        if stripe.changes == look && !gfid.is_null() {
            stripe.put(Entry { gfid, ino: stat.ino, times, seen: stat.ctime, used: 0 });
        }
    }

    /// The brick's own change is over, and this is what the inode looks like now.
    pub fn saw(&self, gfid: Gfid, stat: &Stat) {
        if let Some(entry) = self.stripe(gfid).find(gfid, stat.ino) {
            entry.seen = stat.ctime;
        }
    }

    /// Keeps others from changing the attribute of an object, for the few calls that it takes, on a core too.
    pub fn hold(&self, gfid: Gfid) -> HeldTimes<'_> {
        let mut stripe = self.stripe(gfid);
        stripe.changes += 1;
        HeldTimes { gfid, stripe }
    }

    fn stripe(&self, gfid: Gfid) -> MutexGuard<'_, Stripe> {
        let index = object_key(gfid) % STRIPES as u64;
        self.0[index as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The attribute of one object, which nobody else changes now.
#[derive(Debug)]
pub struct HeldTimes<'a> {
    gfid: Gfid,
    stripe: MutexGuard<'a, Stripe>,
}

impl HeldTimes<'_> {
    /// What the brick has last read or stored for the inode `ino`, if it knows.
    pub fn get(&mut self, ino: u64) -> Option<Option<MdataTimes>> {
        self.stripe.find(self.gfid, ino).map(|entry| entry.times)
    }

    /// The attribute of the inode that `stat` was of, before the change, is this now.
    pub fn put(&mut self, stat: &Stat, times: MdataTimes) {
        if !self.gfid.is_null() {
            let seen = stat.ctime;
            let entry = Entry { gfid: self.gfid, ino: stat.ino, times: Some(times), seen, used: 0 };
            self.stripe.put(entry);
        }
    }

    /// It has changed in a way that is not told.
    pub fn forget(&mut self) {
        let gfid = self.gfid;
        self.stripe.entries.retain(|entry| entry.gfid != gfid);
    }
}

impl Stripe {
    fn find(&mut self, gfid: Gfid, ino: u64) -> Option<&mut Entry> {
        self.uses += 1;
        let entry = self.entries.iter_mut().find(|entry| entry.gfid == gfid && entry.ino == ino)?;
        entry.used = self.uses;
        Some(entry)
    }

    fn put(&mut self, entry: Entry) {
        self.uses += 1;
        let entry = Entry { used: self.uses, ..entry };
        if let Some(old) = self.entries.iter_mut().find(|old| old.gfid == entry.gfid) {
            *old = entry;
        } else if self.entries.len() < WAYS {
            self.entries.push(entry);
        } else if let Some(oldest) = self.entries.iter_mut().min_by_key(|entry| entry.used) {
            *oldest = entry;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(sec: i64) -> Timespec {
        Timespec { sec, nsec: 0 }
    }

    fn times(sec: i64) -> MdataTimes {
        MdataTimes { ctime: at(sec), mtime: at(sec), atime: at(sec) }
    }

    fn stat(ino: u64, ctime: i64) -> Stat {
        Stat { ino, ctime: at(ctime), ..Stat::default() }
    }

    fn learn(known: &KnownTimes, gfid: Gfid, stat: &Stat, times: Option<MdataTimes>) {
        let Look::Unknown(look) = known.look(gfid, stat) else { panic!("known already") };
        known.learn(gfid, stat, times, look);
    }

    #[test]
    fn an_entry_counts_for_its_inode_and_its_change_time() {
        let known = KnownTimes::default();
        learn(&known, Gfid::ROOT, &stat(7, 1), Some(times(1)));
        assert_eq!(known.look(Gfid::ROOT, &stat(7, 1)), Look::Known(Some(times(1))));
        // Somebody else has changed it, or put another file in its place.
        assert!(matches!(known.look(Gfid::ROOT, &stat(7, 2)), Look::Unknown(_)));
        assert!(matches!(known.look(Gfid::ROOT, &stat(8, 1)), Look::Unknown(_)));
        // That there is none is worth knowing, too.
        learn(&known, Gfid::ROOT, &stat(7, 3), None);
        assert_eq!(known.look(Gfid::ROOT, &stat(7, 3)), Look::Known(None));
    }

    #[test]
    fn what_was_read_before_a_change_is_not_remembered_after_it() {
        let known = KnownTimes::default();
        let Look::Unknown(look) = known.look(Gfid::ROOT, &stat(7, 1)) else { panic!() };
        known.hold(Gfid::ROOT).put(&stat(7, 1), times(2));
        known.learn(Gfid::ROOT, &stat(7, 1), Some(times(1)), look);
        assert_eq!(known.hold(Gfid::ROOT).get(7), Some(Some(times(2))));
        known.saw(Gfid::ROOT, &stat(7, 5));
        assert_eq!(known.look(Gfid::ROOT, &stat(7, 5)), Look::Known(Some(times(2))));
        known.hold(Gfid::ROOT).forget();
        assert!(matches!(known.look(Gfid::ROOT, &stat(7, 5)), Look::Unknown(_)));
    }

    #[test]
    fn a_full_stripe_forgets_what_was_not_used_for_longest() {
        let known = KnownTimes::default();
        // Gfids that differ where the stripe does not look.
        let gfids: Vec<Gfid> = (0..=WAYS as u8)
            .map(|number| {
                let mut bytes = [1; 16];
                bytes[3] = number;
                Gfid::from_bytes(bytes)
            })
            .collect();
        for gfid in &gfids[..WAYS] {
            learn(&known, *gfid, &stat(7, 1), None);
        }
        assert_eq!(known.look(gfids[0], &stat(7, 1)), Look::Known(None));
        learn(&known, gfids[WAYS], &stat(7, 1), None);
        assert!(matches!(known.look(gfids[1], &stat(7, 1)), Look::Unknown(_)));
        assert_eq!(known.look(gfids[0], &stat(7, 1)), Look::Known(None));
        // What has no gfid has no entry.
        learn(&known, Gfid::NULL, &stat(7, 1), None);
        assert!(matches!(known.look(Gfid::NULL, &stat(7, 1)), Look::Unknown(_)));
    }
}
