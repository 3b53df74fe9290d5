//! Locks for the few steps that are not one system call: read-modify-write of an extended attribute, "is this the last
//! name?", a name with its gfid2path.
//!
//! Names and objects are hashed onto a fixed number of mutexes. A job takes all that it needs at once, in the order of
//! their indices, names before objects, so that two jobs never wait for each other in a circle. On a core they are only
//! *tried*: when one is taken, the job goes to a helper thread, which may wait.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use crate::types::Gfid;

const STRIPES: usize = 1024;

/// The mutexes of one kind.
#[derive(Debug)]
pub struct Stripes(Box<[Mutex<()>]>);

/// Held stripes; dropping lets go.
#[derive(Debug)]
pub struct Held<'a>(#[allow(dead_code, reason = "held for their drop")] Vec<MutexGuard<'a, ()>>);

impl Default for Stripes {
    fn default() -> Self {
        Self((0..STRIPES).map(|_| Mutex::new(())).collect())
    }
}

impl Stripes {
    /// Waits for all of `keys`. For helper threads.
    pub fn lock(&self, keys: &[u64]) -> Held<'_> {
        Held(indices(keys).into_iter().map(|at| self.0[at].lock().unwrap_or_else(PoisonError::into_inner)).collect())
    }

    /// All of `keys`, or `None` when one is taken. For cores.
    pub fn try_lock(&self, keys: &[u64]) -> Option<Held<'_>> {
        let mut held = Vec::with_capacity(keys.len());
        for at in indices(keys) {
            held.push(match self.0[at].try_lock() {
                Ok(guard) => guard,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return None,
            });
        }
        Some(Held(held))
    }
}

fn indices(keys: &[u64]) -> Vec<usize> {
    let mut indices: Vec<usize> = keys.iter().map(|key| (key % STRIPES as u64) as usize).collect();
    indices.sort_unstable();
    indices.dedup();
    indices
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
}
