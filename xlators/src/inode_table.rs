//! The objects that a client remembers, by the number that the client uses for them.
//!
//! A FUSE kernel holds a *node id* per object and counts how often it was told about it (lookup, create, readdirplus …); the
//! object may be dropped when its forgets have taken all of those back. The table is as large as what the kernel
//! remembers, and the kernel shrinks under memory pressure; `limit` bounds it all the same.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;
use kiln_uring::Errno;

use crate::types::Gfid;

/// The node id of the root.
pub const ROOT_NODE: u64 = 1;

/// Number of shards, a power of two: session threads and cores rarely meet on one.
const SHARDS: usize = 64;

#[derive(Debug, Default)]
struct Shard {
    /// From gfid to slot.
    by_gfid: HashMap<Gfid, u32>,
    slots: slab::Slab<Slot>,
}

#[derive(Debug)]
struct Slot {
    gfid: Gfid,
    lookups: u64,
    generation: u32,
}

/// See the [module](self). Node ids are unique among the living: a shard's slot with its shard; the generation tells a reused id apart.
#[derive(Debug)]
pub struct InodeTable {
    shards: Vec<Mutex<Shard>>,
    per_shard: usize,
}

/// A node id with the generation that makes it unique over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// For the kernel.
    pub id: u64,
    /// Changes when the id is used again.
    pub generation: u64,
}

impl InodeTable {
    /// A table for about `limit` objects.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), per_shard: limit.div_ceil(SHARDS).max(1) }
    }

    /// The client is about to be told of `gfid` once more.
    ///
    /// # Errors
    /// `ENFILE` when the table is full of other objects.
    pub fn remember(&self, gfid: Gfid) -> Result<Node, Errno> {
        if gfid.is_root() {
            return Ok(Node { id: ROOT_NODE, generation: 0 });
        }
        let index = shard_of(gfid);
        let mut guard = self.shard(index);
        let shard = &mut *guard;
        if let Some(slot) = shard.by_gfid.get(&gfid) {
            let entry = &mut shard.slots[*slot as usize];
            entry.lookups += 1;
            return Ok(node(index, *slot, entry.generation));
        }
        if shard.slots.len() >= self.per_shard {
            return Err(Errno::NFILE);
        }
        // The generation comes from the gfid, so that an id that is used again for another object differs.
        let bytes = gfid.as_bytes();
        let generation = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let slot = shard.slots.insert(Slot { gfid, lookups: 1, generation }) as u32;
        shard.by_gfid.insert(gfid, slot);
        Ok(node(index, slot, generation))
    }

    /// The object of a node id.
    ///
    /// # Errors
    /// `ESTALE` for an id that is not remembered.
    pub fn gfid(&self, id: u64) -> Result<Gfid, Errno> {
        if id == ROOT_NODE {
            return Ok(Gfid::ROOT);
        }
        let (shard, slot) = split(id)?;
        self.shard(shard).slots.get(slot).map(|slot| slot.gfid).ok_or(Errno::STALE)
    }

    /// The client takes back `count` of what it was told; the gfid is returned when that was the last.
    pub fn forget(&self, id: u64, count: u64) -> Option<Gfid> {
        let (index, slot) = split(id).ok()?;
        let mut shard = self.shard(index);
        let entry = shard.slots.get_mut(slot)?;
        entry.lookups = entry.lookups.saturating_sub(count);
        if entry.lookups > 0 {
            return None;
        }
        let gfid = shard.slots.remove(slot).gfid;
        shard.by_gfid.remove(&gfid);
        Some(gfid)
    }

    /// How many objects are remembered, without the root.
    #[must_use]
    pub fn len(&self) -> usize {
        (0..SHARDS).map(|index| self.shard(index).slots.len()).sum()
    }

    /// Whether only the root is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, index: usize) -> MutexGuard<'_, Shard> {
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shard_of(gfid: Gfid) -> usize {
    usize::from(gfid.as_bytes()[15]) % SHARDS
}

fn node(shard: usize, slot: u32, generation: u32) -> Node {
    // Ids from 2 up: 0 means "no such entry" and 1 is the root.
    Node { id: 2 + (u64::from(slot) * SHARDS as u64 + shard as u64), generation: u64::from(generation) }
}

fn split(id: u64) -> Result<(usize, usize), Errno> {
    let number = usize::try_from(id.checked_sub(2).ok_or(Errno::STALE)?).map_err(|_| Errno::STALE)?;
    Ok((number % SHARDS, number / SHARDS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn full_tables_refuse() {
        let table = InodeTable::new(SHARDS);
        let same_shard = |first| Gfid::from_bytes([first, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0]);
        table.remember(same_shard(1)).unwrap();
        assert_eq!(table.remember(same_shard(2)).unwrap_err(), Errno::NFILE);
        assert!(table.remember(same_shard(1)).is_ok());
    }

    proptest! {
        #[test]
        fn counts_balance(steps in prop::collection::vec((0u8..20, 0u64..3), 1..200)) {
            let table = InodeTable::new(1 << 20);
            let mut model = std::collections::HashMap::<u8, (u64, u64)>::new();
            for (which, forget) in steps {
                let gfid = Gfid::from_bytes([which + 1; 16]);
                if forget == 0 {
                    let node = table.remember(gfid).unwrap();
                    let entry = model.entry(which).or_insert((node.id, 0));
                    prop_assert_eq!(entry.0, node.id);
                    entry.1 += 1;
                } else if let Some((id, count)) = model.get_mut(&which) {
                    let gone = table.forget(*id, forget.min(*count));
                    *count -= forget.min(*count);
                    prop_assert_eq!(gone.is_some(), *count == 0);
                    if *count == 0 { model.remove(&which); }
                }
            }
            prop_assert_eq!(table.len(), model.len());
            for (which, (id, _)) in model {
                prop_assert_eq!(table.gfid(id).unwrap(), Gfid::from_bytes([which + 1; 16]));
            }
        }
    }
}
