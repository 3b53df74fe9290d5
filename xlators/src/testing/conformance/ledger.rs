//! What was true when: every change of a name, and every death of a directory, with its moment.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::types::{Gfid, Name};

/// A point in the one order of all changes, and of the beginnings and ends of all fops.
pub type Moment = u64;

/// From that moment on a name leads to the object, or to none.
type Change = (Moment, Option<Gfid>);

#[derive(Debug, Default)]
struct Book {
    now: Moment,
    names: BTreeMap<(Gfid, Name), Vec<Change>>,
    dead: BTreeMap<Gfid, Moment>,
}

/// The truth of one history. Cores and threads may write at once: each entry has a moment of its own.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Book>);

impl Ledger {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new moment: something begins or ends.
    pub fn tick(&self) -> Moment {
        let mut book = self.book();
        book.now += 1;
        book.now
    }

    /// From now on the name leads to this object, or to none.
    pub fn write(&self, parent: Gfid, name: &Name, leads_to: Option<Gfid>) {
        let mut book = self.book();
        book.now += 1;
        let now = book.now;
        book.names.entry((parent, name.clone())).or_default().push((now, leads_to));
    }

    /// The directory is gone, for ever.
    pub fn bury(&self, directory: Gfid) {
        let mut book = self.book();
        book.now += 1;
        let now = book.now;
        book.dead.insert(directory, now);
    }

    /// All that the name has led to from one moment to another.
    pub fn within(&self, parent: Gfid, name: &Name, from: Moment, to: Moment) -> Vec<Option<Gfid>> {
        let book = self.book();
        let changes = book.names.get(&(parent, name.clone())).map_or(&[][..], Vec::as_slice);
        let before = changes.iter().rev().find(|(at, _)| *at <= from).and_then(|(_, leads_to)| *leads_to);
        let during = changes.iter().filter(|(at, _)| (from + 1..=to).contains(at)).map(|(_, to)| *to);
        std::iter::once(before).chain(during).collect()
    }

    /// When the directory was removed.
    pub fn death_of(&self, directory: Gfid) -> Option<Moment> {
        self.book().dead.get(&directory).copied()
    }
}

/// Every change, in order.
impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let book = self.book();
        let mut all: Vec<(Moment, String)> = Vec::new();
        for ((parent, name), changes) in &book.names {
            for (at, leads_to) in changes {
                let what = match leads_to {
                    Some(gfid) => format!("{parent}/{name} is {gfid}"),
                    None => format!("{parent}/{name} is absent"),
                };
                all.push((*at, what));
            }
        }
        all.extend(book.dead.iter().map(|(gfid, at)| (*at, format!("directory {gfid} is gone"))));
        all.sort();
        all.iter().try_for_each(|(at, what)| writeln!(f, "{at:>5}        {what}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::gfid;

    #[test]
    fn what_was_true_within_a_time() {
        let ledger = Ledger::default();
        let name = Name::new(b"x").unwrap();
        let absent = ledger.tick();
        ledger.write(gfid(1), &name, Some(gfid(2)));
        let there = ledger.tick();
        let still = ledger.tick();
        ledger.write(gfid(1), &name, None);
        let gone = ledger.tick();
        let within = |from, to| ledger.within(gfid(1), &name, from, to);
        assert_eq!(within(absent, absent), [None]);
        assert_eq!(within(absent, there), [None, Some(gfid(2))]);
        assert_eq!(within(there, still), [Some(gfid(2))]);
        assert_eq!(within(there, gone), [Some(gfid(2)), None]);
        assert_eq!(within(gone, gone), [None]);
        ledger.bury(gfid(1));
        assert!(ledger.death_of(gfid(1)).unwrap() > gone);
    }
}
