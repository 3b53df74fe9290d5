//! Which gfid the brick's inodes have, so that it need not be read for every name that is looked up or listed.
//!
//! One table for all cores, of bounded size. The gfid of an inode never changes; what has to be known is that a number still
//! means the same inode. As with the clients' times ([`super::known_times`]) its change time says so, which every reply asks for anyway:
//! whatever a stranger does to an inode or to its attributes moves it, and so does the loss of a name. For inodes that are
//! made within the same tick of the kernel's clock in which another with their number was removed, the brick forgets what
//! it removes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use kiln_uring::sys::{Stat, Timespec};

use super::stripes::Watch;
use crate::types::Gfid;

const BUCKETS: usize = 8192;

/// Inodes per bucket. The table takes 2 MiB.
const WAYS: usize = 4;

/// See the [module](self).
#[derive(Debug)]
pub struct KnownGfids(Box<[Mutex<Bucket>]>);

#[derive(Debug, Default)]
struct Bucket {
    entries: [Entry; WAYS],
    /// Whose turn it is to be replaced.
    next: usize,
}

/// No inode has the number 0.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    dev: u64,
    ino: u64,
    changed: Timespec,
    gfid: Gfid,
}

impl Entry {
    const fn is_of(&self, stat: &Stat) -> bool {
        self.ino == stat.ino && self.dev == stat.dev
    }
}

impl Default for KnownGfids {
    fn default() -> Self {
        Self((0..BUCKETS).map(|_| Mutex::default()).collect())
    }
}

impl KnownGfids {
    /// The gfid of the inode with this `stat`, which must be of now; `None` when it has to be read.
    #[must_use]
    pub fn get(&self, stat: &Stat) -> Option<Gfid> {
        let bucket = self.bucket(stat);
        let entry = bucket.entries.iter().find(|entry| entry.is_of(stat) && entry.changed == stat.ctime)?;
        (!entry.gfid.is_null()).then_some(entry.gfid)
    }

    /// Remembers a gfid that was read by the name that `stat` was of, if that name has been left alone since before both.
    pub fn put(&self, stat: &Stat, gfid: Gfid, name: &Watch<'_>) {
        let mut bucket = self.bucket(stat);
        // Asked with the bucket in hand: whoever removes the inode forgets it after that.
        if gfid.is_null() || !name.is_untouched() {
            return;
        }
        let known = bucket.entries.iter().position(|entry| entry.is_of(stat));
        let place = known.unwrap_or_else(|| {
            bucket.next = (bucket.next + 1) % WAYS;
            bucket.next
        });
        bucket.entries[place] = Entry { dev: stat.dev, ino: stat.ino, changed: stat.ctime, gfid };
    }

    /// The inode has lost a name, and its number may become another's.
    pub fn forget(&self, stat: &Stat) {
        if let Some(entry) = self.bucket(stat).entries.iter_mut().find(|entry| entry.is_of(stat)) {
            *entry = Entry::default();
        }
    }

    fn bucket(&self, stat: &Stat) -> MutexGuard<'_, Bucket> {
        self.0[(stat.ino % BUCKETS as u64) as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::posix::stripes::Stripes;

    fn stat(ino: u64, sec: i64) -> Stat {
        Stat { ino, ctime: Timespec { sec, nsec: 0 }, ..Stat::default() }
    }

    #[test]
    fn an_entry_counts_for_its_inode_as_it_is() {
        let (known, names) = (KnownGfids::default(), Stripes::default());
        known.put(&stat(7, 1), Gfid::ROOT, &names.watch(5));
        assert_eq!(known.get(&stat(7, 1)), Some(Gfid::ROOT));
        assert_eq!(known.get(&stat(7, 2)), None, "somebody has changed it");
        assert_eq!(known.get(&stat(8, 1)), None);
        assert_eq!(known.get(&Stat { dev: 1, ..stat(7, 1) }), None);
        known.forget(&stat(7, 1));
        assert_eq!(known.get(&stat(7, 1)), None);
        known.put(&stat(7, 1), Gfid::NULL, &names.watch(5));
        assert_eq!(known.get(&stat(7, 1)), None);
    }

    #[test]
    fn what_was_read_while_the_name_moved_is_not_remembered() {
        let (known, names) = (KnownGfids::default(), Stripes::default());
        let before = names.watch(5);
        let held = names.try_lock(&[5]).unwrap();
        let during = names.watch(5);
        known.put(&stat(7, 1), Gfid::ROOT, &before);
        drop(held);
        known.put(&stat(7, 1), Gfid::ROOT, &before);
        known.put(&stat(7, 1), Gfid::ROOT, &during);
        assert_eq!(known.get(&stat(7, 1)), None);
        known.put(&stat(7, 1), Gfid::ROOT, &names.watch(5));
        assert_eq!(known.get(&stat(7, 1)), Some(Gfid::ROOT));
    }

    #[test]
    fn a_full_bucket_forgets_the_eldest() {
        let (known, names) = (KnownGfids::default(), Stripes::default());
        let inodes: Vec<Stat> = (0..=WAYS as u64).map(|n| stat(1 + n * BUCKETS as u64, 1)).collect();
        inodes.iter().for_each(|stat| known.put(stat, Gfid::ROOT, &names.watch(5)));
        let there: Vec<bool> = inodes.iter().map(|stat| known.get(stat).is_some()).collect();
        assert_eq!(there, [false, true, true, true, true]);
    }
}
