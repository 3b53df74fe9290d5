//! Locks for the few steps that are not one system call: read-modify-write of an extended attribute, "is this the last
//! name?", a name with its gfid2path.
//!
//! Names and objects are hashed onto a fixed number of mutexes. A job takes all that it needs at once, in the order of
//! their indices, names before objects, so that two jobs never wait for each other in a circle. On a core they are only
//! *tried*: when one is taken, the job goes to a helper thread, which may wait.

use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use crate::types::Gfid;

const STRIPES: usize = 1024;

/// Most stripes that one job takes of one kind: two names, or two objects.
const MOST: usize = 4;

/// The mutexes of one kind.
#[derive(Debug)]
pub struct Stripes(Box<[Stripe]>);

#[derive(Debug, Default)]
struct Stripe {
    lock: Mutex<()>,
    /// How often it was taken and let go: odd while it is held.
    moves: AtomicU64,
}

/// Held stripes; dropping lets go.
#[derive(Debug, Default)]
pub struct Held<'a>(#[allow(dead_code, reason = "held for their drop")] [Option<One<'a>>; MOST]);

/// One held stripe.
#[derive(Debug)]
struct One<'a> {
    moves: &'a AtomicU64,
    _guard: MutexGuard<'a, ()>,
}

impl Drop for One<'_> {
    fn drop(&mut self) {
        self.moves.fetch_add(1, Ordering::Release);
    }
}

/// Tells whether anybody has held a stripe since.
#[derive(Debug)]
pub struct Watch<'a> {
    moves: &'a AtomicU64,
    seen: u64,
}

impl Watch<'_> {
    /// Nobody held the stripe when the watch began, and nobody has taken it since.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        fence(Ordering::Acquire);
        self.seen.is_multiple_of(2) && self.moves.load(Ordering::Relaxed) == self.seen
    }
}

/// Whether a job may wait for a stripe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// It runs on a core, where nothing waits.
    Never,
    /// It runs on a helper thread.
    Allowed,
}

/// A stripe is taken, and the job may not wait: it must be run again where it may. Nothing has happened yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

impl Default for Stripes {
    fn default() -> Self {
        Self((0..STRIPES).map(|_| Stripe::default()).collect())
    }
}

impl Stripes {
    /// Waits for all of `keys`, four at most. For helper threads.
    pub fn lock(&self, keys: &[u64]) -> Held<'_> {
        self.take(keys, Wait::Allowed).unwrap_or_default()
    }

    /// All of `keys`, four at most, or `None` when one is taken. For cores.
    pub fn try_lock(&self, keys: &[u64]) -> Option<Held<'_>> {
        self.take(keys, Wait::Never).ok()
    }

    /// All of `keys`, four at most.
    ///
    /// # Errors
    /// [`Busy`] when one is taken and `wait` forbids to wait for it.
    pub fn take(&self, keys: &[u64], wait: Wait) -> Result<Held<'_>, Busy> {
        debug_assert!(keys.len() <= MOST, "{} stripes at once", keys.len());
        // Sorted, equal ones once; past the end of `keys` is a number that no stripe has.
        let mut indices = [STRIPES; MOST];
        for (index, key) in indices.iter_mut().zip(keys) {
            *index = (key % STRIPES as u64) as usize;
        }
        indices.sort_unstable();
        let mut held = Held::default();
        let mut before = STRIPES;
        for (guard, index) in held.0.iter_mut().zip(indices) {
            if index != before && index != STRIPES {
                *guard = Some(self.one(index, wait)?);
            }
            before = index;
        }
        Ok(held)
    }

    /// Watches the stripe of `key`.
    #[must_use]
    pub fn watch(&self, key: u64) -> Watch<'_> {
        let moves = &self.0[(key % STRIPES as u64) as usize].moves;
        Watch { moves, seen: moves.load(Ordering::Acquire) }
    }

    fn one(&self, index: usize, wait: Wait) -> Result<One<'_>, Busy> {
        let Stripe { lock, moves } = &self.0[index];
        let guard = match wait {
            Wait::Allowed => lock.lock().unwrap_or_else(PoisonError::into_inner),
            Wait::Never => match lock.try_lock() {
                Ok(guard) => guard,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return Err(Busy),
            },
        };
        moves.fetch_add(1, Ordering::AcqRel);
        Ok(One { moves, _guard: guard })
    }
}

/// Key of an object.
#[must_use]
pub fn object_key(gfid: Gfid) -> u64 {
    gfid.ino() ^ u64::from(gfid.as_bytes()[0])
}

/// Key of a name in a directory. The same in the whole process.
#[must_use]
pub fn entry_key(parent: Gfid, name: &[u8]) -> u64 {
    xxhash_rust::xxh64::xxh64(name, parent.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_keys_are_taken_once_and_taken_ones_refused() {
        let stripes = Stripes::default();
        let held = stripes.try_lock(&[1, 1 + STRIPES as u64, 2]).unwrap();
        assert!(stripes.try_lock(&[2, 3]).is_none());
        assert!(stripes.try_lock(&[3]).is_some());
        drop(held);
        assert!(stripes.try_lock(&[2, 3]).is_some());
    }

    #[test]
    fn a_watch_tells_of_holders() {
        let stripes = Stripes::default();
        let before = stripes.watch(1);
        assert!(before.is_untouched());
        let held = stripes.try_lock(&[1]).unwrap();
        let during = stripes.watch(1);
        assert!(!before.is_untouched() && !during.is_untouched() && stripes.watch(2).is_untouched());
        drop(held);
        assert!(!before.is_untouched() && !during.is_untouched() && stripes.watch(1).is_untouched());
    }
}
