//! The objects that a FUSE kernel remembers, by the number that it uses for them.
//!
//! The kernel holds a *node id* per object and counts how often it was told about it (lookup, create, readdirplus …); the
//! object may be dropped when its forgets have taken all of those back. The table is as large as what the kernel
//! remembers, and the kernel shrinks under memory pressure; `limit` bounds it all the same.
//!
//! A node id is the inode number that users see ([`Gfid::ino`]), so both stay the same when an object is forgotten and
//! found again. That number is half of the gfid; should two living objects ever share it, the later one gets the next free
//! number instead and keeps it for as long as it is remembered.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use kiln_uring::Errno;

use crate::types::Gfid;

/// The node id of the root.
pub const ROOT_NODE: u64 = 1;

/// Numbers that no object gets: "no such entry", the root, and what [`Gfid::ino`] answers for no gfid.
const RESERVED: [u64; 3] = [0, ROOT_NODE, u64::MAX];

/// Number of shards, a power of two: session threads and cores rarely meet on one.
const SHARDS: u64 = 64;

#[derive(Debug, Default)]
struct Shard {
    by_id: HashMap<u64, Known>,
    /// Objects that could not get their own number. Nearly always empty.
    displaced: HashMap<Gfid, u64>,
}

#[derive(Debug)]
struct Known {
    gfid: Gfid,
    lookups: u64,
}

/// See the [module](self).
#[derive(Debug)]
pub struct InodeTable {
    shards: Vec<Mutex<Shard>>,
    per_shard: usize,
}

/// A node id with the generation that makes it unique over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// For the kernel, and the inode number that users see.
    pub id: u64,
    /// Tells objects apart that have the same id one after the other.
    pub generation: u64,
}

impl Node {
    fn new(id: u64, gfid: Gfid) -> Self {
        let bytes = gfid.as_bytes();
        // The kernel keeps 32 bits of it. They come from the half of the gfid that the id does not hold.
        let generation = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        Self { id, generation: u64::from(generation) }
    }
}

impl InodeTable {
    /// A table for about `limit` objects.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        let per_shard = limit.div_ceil(SHARDS as usize).max(1);
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), per_shard }
    }

    /// The client is about to be told of `gfid` once more.
    ///
    /// # Errors
    /// `ENFILE` when the table is full of other objects.
    pub fn remember(&self, gfid: Gfid) -> Result<Node, Errno> {
        if gfid.is_root() {
            return Ok(Node { id: ROOT_NODE, generation: 0 });
        }
        let own = gfid.ino();
        let mut guard = self.shard(own);
        let shard = &mut *guard;
        let full = shard.by_id.len() >= self.per_shard;
        if let Some(id) = shard.displaced.get(&gfid) {
            if let Some(known) = shard.by_id.get_mut(id) {
                known.lookups += 1;
            }
            return Ok(Node::new(*id, gfid));
        }
        if !RESERVED.contains(&own) {
            match shard.by_id.entry(own) {
                Entry::Occupied(mut entry) if entry.get().gfid == gfid => {
                    entry.get_mut().lookups += 1;
                    return Ok(Node::new(own, gfid));
                }
                Entry::Occupied(_) => {}
                Entry::Vacant(_) if full => return Err(Errno::NFILE),
                Entry::Vacant(entry) => {
                    entry.insert(Known { gfid, lookups: 1 });
                    return Ok(Node::new(own, gfid));
                }
            }
        }
        if full {
            return Err(Errno::NFILE);
        }
        // Steps of SHARDS stay within the shard. There are more numbers than objects, so this ends.
        let mut id = own.wrapping_add(SHARDS);
        while RESERVED.contains(&id) || shard.by_id.contains_key(&id) {
            id = id.wrapping_add(SHARDS);
        }
        shard.by_id.insert(id, Known { gfid, lookups: 1 });
        shard.displaced.insert(gfid, id);
        Ok(Node::new(id, gfid))
    }

    /// The object of a node id.
    ///
    /// # Errors
    /// `ESTALE` for an id that is not remembered.
    pub fn gfid(&self, id: u64) -> Result<Gfid, Errno> {
        if id == ROOT_NODE {
            return Ok(Gfid::ROOT);
        }
        self.shard(id).by_id.get(&id).map(|known| known.gfid).ok_or(Errno::STALE)
    }

    /// Whether the client remembers `gfid`.
    #[must_use]
    pub fn contains(&self, gfid: Gfid) -> bool {
        let own = gfid.ino();
        let shard = self.shard(own);
        gfid.is_root()
            || shard.by_id.get(&own).is_some_and(|known| known.gfid == gfid)
            || shard.displaced.contains_key(&gfid)
    }

    /// The client takes back `count` of what it was told; the gfid is returned when that was the last.
    pub fn forget(&self, id: u64, count: u64) -> Option<Gfid> {
        let mut shard = self.shard(id);
        let known = shard.by_id.get_mut(&id)?;
        known.lookups = known.lookups.saturating_sub(count);
        if known.lookups > 0 {
            return None;
        }
        let gfid = shard.by_id.remove(&id)?.gfid;
        shard.displaced.remove(&gfid);
        Some(gfid)
    }

    /// How many objects are remembered, without the root.
    #[must_use]
    pub fn len(&self) -> usize {
        (0..SHARDS).map(|id| self.shard(id).by_id.len()).sum()
    }

    /// Whether only the root is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The shard of every number that is equal to `id` modulo [`SHARDS`].
    fn shard(&self, id: u64) -> MutexGuard<'_, Shard> {
        self.shards[(id % SHARDS) as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn gfid(high: u8, low: u64) -> Gfid {
        let mut bytes = [high; 16];
        bytes[8..].copy_from_slice(&low.to_be_bytes());
        Gfid::from_bytes(bytes)
    }

    #[test]
    fn a_node_id_is_the_inode_number() {
        let table = InodeTable::new(100);
        let object = gfid(7, 0xabcd_ef01_2345_6789);
        let node = table.remember(object).unwrap();
        assert_eq!((node.id, node.generation), (object.ino(), 0x0707_0707));
        assert_eq!(table.forget(node.id, 1), Some(object));
        assert_eq!(table.gfid(node.id), Err(Errno::STALE));
        assert_eq!(table.remember(object).unwrap(), node);
        assert_eq!(table.remember(Gfid::ROOT).unwrap().id, ROOT_NODE);
        assert_eq!(table.gfid(ROOT_NODE), Ok(Gfid::ROOT));
        assert_eq!(table.forget(ROOT_NODE, 1), None);
    }

    #[test]
    fn objects_with_the_same_number_are_kept_apart() {
        let table = InodeTable::new(1000);
        for low in [0, 1, 5, u64::MAX, u64::MAX - 64] {
            let (first, second) = (gfid(1, low), gfid(2, low));
            let a = table.remember(first).unwrap();
            let b = table.remember(second).unwrap();
            assert_ne!(a.id, b.id);
            assert!(!RESERVED.contains(&a.id) && !RESERVED.contains(&b.id));
            assert_eq!((table.gfid(a.id), table.gfid(b.id)), (Ok(first), Ok(second)));
            table.forget(a.id, 1);
            assert!(!table.contains(first) && table.contains(second));
            // The second keeps its number although its own is free now.
            assert_eq!(table.remember(second).unwrap().id, b.id);
            assert_eq!(table.forget(b.id, 1), None);
            assert_eq!(table.forget(b.id, 1), Some(second));
        }
        assert!(table.is_empty());
    }

    #[test]
    fn full_tables_refuse() {
        let table = InodeTable::new(SHARDS as usize);
        table.remember(gfid(1, SHARDS * 3)).unwrap();
        assert_eq!(table.remember(gfid(1, SHARDS * 4)), Err(Errno::NFILE));
        assert_eq!(table.remember(gfid(2, SHARDS * 3)), Err(Errno::NFILE));
        assert!(table.remember(gfid(1, SHARDS * 3)).is_ok());
    }

    proptest! {
        #[test]
        fn counts_balance(steps in prop::collection::vec((0u8..20, 0u64..3), 1..200)) {
            let table = InodeTable::new(1 << 20);
            let mut model = std::collections::HashMap::<u8, (u64, u64)>::new();
            for (which, forget) in steps {
                // Ten numbers for twenty objects.
                let gfid = gfid(which + 1, u64::from(which % 10));
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
                prop_assert_eq!(table.gfid(id).unwrap(), gfid(which + 1, u64::from(which % 10)));
            }
        }
    }
}
