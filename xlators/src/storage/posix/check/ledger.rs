//! What is known of each gfid, in forty bytes: with the spare room of a hash table, a brick of a million files is checked in
//! some 130 MB.

use bitflags::bitflags;
use hashbrown::HashMap;
use hashbrown::hash_map::Iter;

use crate::types::Gfid;

bitflags! {
    /// What is known of an object.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub(super) struct Marks: u8 {
        /// There is a handle, and it is the object's.
        const HANDLE = 1;
        /// A name of it has been seen.
        const NAMED = 2;
        /// It is a directory.
        const DIRECTORY = 4;
        /// Another object has the same gfid.
        const DUPLICATE = 8;
        /// Its `trusted.gfid2path`s are compared when all of its names are known.
        const PATHS = 16;
        /// A name of it is in a directory without gfid, so that one of its `trusted.gfid2path`s is not known.
        const UNSURE = 32;
        /// It is in `landfill/`.
        const THROWN_AWAY = 64;
    }
}

/// One object.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    /// Inode number: of the handle at first, of the object when a name has been seen.
    pub ino: u64,
    /// `st_nlink`, as last seen.
    pub nlink: u32,
    /// Links seen, the handle apart.
    pub links: u32,
    pub marks: Marks,
}

/// All objects.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: HashMap<Gfid, Entry>,
    /// Inode numbers and hashes of the names of objects marked [`Marks::PATHS`].
    paths: Vec<(u64, u64)>,
    sorted: bool,
}

impl Ledger {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn get(&self, gfid: Gfid) -> Option<&Entry> {
        self.entries.get(&gfid)
    }

    pub fn get_mut(&mut self, gfid: Gfid) -> Option<&mut Entry> {
        self.entries.get_mut(&gfid)
    }

    pub fn entry(&mut self, gfid: Gfid) -> &mut Entry {
        self.entries.entry(gfid).or_default()
    }

    pub fn iter(&self) -> Iter<'_, Gfid, Entry> {
        self.entries.iter()
    }

    /// The object `ino` has a name with this hash.
    pub fn add_path(&mut self, ino: u64, hash: u64) {
        self.sorted = false;
        self.paths.push((ino, hash));
    }

    /// Whether the object `ino` has a name with this hash.
    pub fn has_path(&mut self, ino: u64, hash: u64) -> bool {
        if !self.sorted {
            self.paths.sort_unstable();
            self.sorted = true;
        }
        self.paths.binary_search(&(ino, hash)).is_ok()
    }
}

#[test]
fn an_object_takes_forty_bytes() {
    assert_eq!(size_of::<(Gfid, Entry)>(), 40);
}
