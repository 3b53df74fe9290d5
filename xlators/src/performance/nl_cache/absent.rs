//! What one core knows to be absent: names by directory, within a limit of memory.

use std::mem::size_of;

use hashbrown::HashMap;
use kiln_uring::Instant;
use lru::LruCache;

use super::fences::Stamp;
use crate::types::Gfid;

/// What a directory takes beside its names: its place in the order of use and in the table of directories, which is up
/// to half empty, and what the allocator keeps of both.
const PARENT: usize = 2 * size_of::<(Gfid, Names)>() + 96;
/// What the allocator keeps of a block.
const BLOCK: usize = 16;
/// No directory may have more than one part in so many of the memory.
const SHARE: usize = 4;

/// An absent name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its stripe when it was absent.
    pub stamp: Stamp,
    /// When that was; zero when nobody minds.
    pub since: Instant,
}

/// The absent names of one directory.
#[derive(Debug)]
struct Names {
    /// The directory's stripe when the first of them was absent; one name that has another drops the others.
    stamp: Stamp,
    names: HashMap<Box<[u8]>, Entry>,
    /// Memory of the texts.
    texts: usize,
}

impl Names {
    fn new(stamp: Stamp) -> Self {
        Self { stamp, names: HashMap::new(), texts: 0 }
    }

    fn bytes(&self) -> usize {
        PARENT + self.names.allocation_size() + self.texts
    }
}

/// Memory of a name's text.
const fn text(name: &[u8]) -> usize {
    name.len().next_multiple_of(BLOCK) + BLOCK
}

/// The names.
#[derive(Debug)]
pub(super) struct Absent {
    parents: LruCache<Gfid, Names>,
    names: usize,
    bytes: usize,
    limit: usize,
    evicted: u64,
}

impl Absent {
    /// Takes at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { parents: LruCache::unbounded(), names: 0, bytes: 0, limit, evicted: 0 }
    }

    /// A name, and its directory's stamp. Its directory is the last to be evicted then.
    pub fn find(&mut self, parent: Gfid, name: &[u8]) -> Option<(Stamp, Entry)> {
        let names = self.parents.get(&parent)?;
        Some((names.stamp, *names.names.get(name)?))
    }

    /// Whether anything is known of the directory.
    pub fn knows(&self, parent: Gfid) -> bool {
        self.parents.contains(&parent)
    }

    /// Adds a name that was absent while its directory's stripe was as `stamp` says.
    pub fn insert(&mut self, parent: Gfid, stamp: Stamp, name: &[u8], entry: Entry) {
        let share = self.limit / SHARE;
        if self.parents.peek(&parent).is_some_and(|names| names.stamp != stamp || names.bytes() > share) {
            self.forget(parent);
        }
        let names = self.parents.get_or_insert_mut(parent, || Names::new(stamp));
        // Only a new one has none.
        let before = if names.names.is_empty() { 0 } else { names.bytes() };
        if names.names.insert(name.into(), entry).is_none() {
            names.texts += text(name);
            self.names += 1;
        }
        self.bytes = self.bytes + names.bytes() - before;
        while self.bytes > self.limit {
            let Some((_, names)) = self.parents.pop_lru() else { break };
            self.bytes -= names.bytes();
            self.names -= names.names.len();
            self.evicted += 1;
        }
    }

    /// Removes a name; whether it was there.
    pub fn remove(&mut self, parent: Gfid, name: &[u8]) -> bool {
        let Some(names) = self.parents.peek_mut(&parent) else { return false };
        // The table keeps its size.
        let found = names.names.remove(name).is_some();
        if found {
            names.texts -= text(name);
            self.bytes -= text(name);
            self.names -= 1;
        }
        if names.names.is_empty() {
            self.forget(parent);
        }
        found
    }

    /// Removes a directory.
    pub fn forget(&mut self, parent: Gfid) {
        if let Some(names) = self.parents.pop(&parent) {
            self.bytes -= names.bytes();
            self.names -= names.names.len();
        }
    }

    /// Removes everything.
    pub fn clear(&mut self) {
        *self = Self { evicted: self.evicted, ..Self::new(self.limit) };
    }

    /// Another limit, at once.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
        if self.bytes > limit {
            self.clear();
        }
    }

    /// Directories that have absent names.
    pub fn parents(&self) -> usize {
        self.parents.len()
    }

    /// Absent names.
    pub const fn names(&self) -> usize {
        self.names
    }

    /// Bytes that all this takes.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Most bytes that it may take.
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// Directories that had to make room.
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap as Model;

    use proptest::prelude::*;

    use super::*;
    use crate::performance::nl_cache::fences::{Fences, Spot};
    use crate::testing::gfid;

    fn stamps() -> [Stamp; 2] {
        let fences = Fences::default();
        let spot: Spot = Fences::directory(gfid(1));
        let first = fences.read(spot);
        fences.touch(spot);
        [first, fences.read(spot)]
    }

    fn entry(stamp: Stamp, number: u64) -> Entry {
        Entry { stamp, since: Instant::from_nanos(number) }
    }

    /// What is really allocated, counted without the sums.
    fn really(absent: &Absent) -> usize {
        let of = |names: &Names| {
            let texts: usize = names.names.keys().map(|name| name.len()).sum();
            names.names.allocation_size() + texts
        };
        absent.parents.iter().map(|(_, names)| of(names)).sum()
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u8, u16, usize),
        Remove(u8, u16),
        Find(u8, u16),
        Forget(u8),
        Limit(usize),
        Clear,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            12 => (0..20_u8, 0..60_u16, 0..2_usize).prop_map(|(parent, name, stamp)| {
                // Most directories keep their stamp.
                Step::Insert(parent, name, if name < 55 { 0 } else { stamp })
            }),
            3 => (0..20_u8, 0..60_u16).prop_map(|(parent, name)| Step::Remove(parent, name)),
            6 => (0..20_u8, 0..60_u16).prop_map(|(parent, name)| Step::Find(parent, name)),
            1 => (0..20_u8).prop_map(Step::Forget),
            1 => (0..30_000_usize).prop_map(Step::Limit),
            1 => Just(Step::Clear),
        ]
    }

    proptest! {
        #[test]
        fn memory_is_bounded_and_nothing_is_known_that_was_not_told(steps in proptest::collection::vec(step(), 0..400)) {
            let stamps = stamps();
            let mut absent = Absent::new(20_000);
            let mut told: Model<(u8, u16), (Stamp, Entry)> = Model::new();
            let text = |name: u16| format!("{}{name}", "n".repeat(usize::from(name % 200)));
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Insert(parent, name, stamp) => {
                        let entry = entry(stamps[0], number as u64);
                        if let Some(other) = told.iter().find(|((other, _), _)| *other == parent)
                            && other.1.0 != stamps[stamp]
                        {
                            told.retain(|(other, _), _| *other != parent);
                        }
                        told.insert((parent, name), (stamps[stamp], entry));
                        absent.insert(gfid(parent), stamps[stamp], text(name).as_bytes(), entry);
                    }
                    Step::Remove(parent, name) => {
                        absent.remove(gfid(parent), text(name).as_bytes());
                        told.remove(&(parent, name));
                    }
                    Step::Find(parent, name) => {
                        let found = absent.find(gfid(parent), text(name).as_bytes());
                        if found.is_some() {
                            prop_assert_eq!(found, told.get(&(parent, name)).copied());
                        }
                    }
                    Step::Forget(parent) => {
                        absent.forget(gfid(parent));
                        told.retain(|(other, _), _| *other != parent);
                    }
                    Step::Limit(limit) => absent.set_limit(limit),
                    Step::Clear => {
                        absent.clear();
                        told.clear();
                    }
                }
                prop_assert!(absent.bytes() <= absent.limit(), "{} of {}", absent.bytes(), absent.limit());
                let sums: (usize, usize) = absent
                    .parents
                    .iter()
                    .fold((0, 0), |(bytes, names), (_, its)| (bytes + its.bytes(), names + its.names.len()));
                prop_assert_eq!((absent.bytes(), absent.names()), sums);
                prop_assert!(really(&absent) <= absent.bytes());
                prop_assert!(absent.names() <= told.len());
                prop_assert!(absent.parents.iter().all(|(_, names)| !names.names.is_empty()));
            }
        }
    }

    #[test]
    fn the_directory_that_was_not_asked_for_goes_first() {
        let [stamp, _] = stamps();
        let mut absent = Absent::new(4000);
        let mut number = 0;
        while absent.evicted() == 0 {
            number += 1;
            absent.insert(gfid(number), stamp, b"x", entry(stamp, 0));
            absent.find(gfid(1), b"x");
        }
        assert!(number > 5, "{number}");
        assert!(absent.find(gfid(1), b"x").is_some() && !absent.knows(gfid(2)));
    }

    #[test]
    fn one_directory_does_not_get_all_the_memory() {
        let [stamp, _] = stamps();
        let mut absent = Absent::new(100_000);
        absent.insert(gfid(1), stamp, b"other", entry(stamp, 0));
        for number in 0..10_000 {
            absent.insert(gfid(2), stamp, format!("name{number}").as_bytes(), entry(stamp, 0));
            // One more doubling of the table is what a directory may exceed its share by.
            assert!(absent.bytes() < 2 * 100_000 / SHARE + 1000, "{}", absent.bytes());
        }
        assert!(absent.find(gfid(1), b"other").is_some());
        assert!(absent.find(gfid(2), b"name9999").is_some());
    }
}
