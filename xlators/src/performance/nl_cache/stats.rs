//! What the cache has been good for.

use std::any::Any;
use std::cell::Cell;

use serde_json::{Value as Json, json};

use super::absent::Absent;

/// Counters of one core.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub hits: Cell<u64>,
    pub misses: Cell<u64>,
    pub nameless: Cell<u64>,
    pub passed: Cell<u64>,
    pub invalidations: Cell<u64>,
    pub outdated: Cell<u64>,
    pub raced: Cell<u64>,
    pub contradictions: Cell<u64>,
    pub abandoned: Cell<u64>,
}

impl Counters {
    /// One more.
    pub fn add(counter: &Cell<u64>) {
        counter.set(counter.get() + 1);
    }

    /// All of them, with what is kept and how many stripes wait for fops that were given up.
    pub fn snapshot(&self, absent: &Absent, waiting: usize) -> Snapshot {
        Snapshot([
            self.hits.get(),
            self.misses.get(),
            self.nameless.get(),
            self.passed.get(),
            absent.parents() as u64,
            absent.names() as u64,
            self.invalidations.get(),
            self.outdated.get(),
            self.raced.get(),
            self.contradictions.get(),
            absent.evicted(),
            self.abandoned.get(),
            waiting as u64,
            absent.limit() as u64,
            absent.bytes() as u64,
        ])
    }
}

/// The names of a [`Snapshot`]'s numbers; those that GlusterFS has, too, have GlusterFS's names.
const NAMES: [&str; 15] = [
    "negative_lookup_hit_count",
    "negative_lookup_miss_count",
    "nameless_lookup_count",
    "passed_lookup_count",
    "inodes_with_negative_dentry_cache",
    "negative_dentries",
    "dentry_invalidations",
    "outdated_dentries",
    "raced_lookups",
    "contradictions",
    "evicted_inodes",
    "abandoned_fops",
    "abandoned_fops_under_way",
    "cache_limit",
    "consumed_cache_size",
];

/// The numbers of one core, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Snapshot([u64; NAMES.len()]);

impl Snapshot {
    /// As statistics and dumps show it.
    pub fn to_json(self) -> Json {
        NAMES.iter().zip(self.0).map(|(name, value)| ((*name).to_owned(), json!(value))).collect()
    }
}

/// See [`TranslatorType::merge_stats`](crate::translator::TranslatorType::merge_stats).
pub(super) fn merge(parts: Vec<Box<dyn Any + Send>>) -> Json {
    let mut all = Snapshot::default();
    let parts: Vec<Box<Snapshot>> = parts.into_iter().filter_map(|part| part.downcast().ok()).collect();
    if parts.is_empty() {
        return Json::Null;
    }
    for part in parts {
        for (sum, value) in all.0.iter_mut().zip(part.0) {
            *sum += value;
        }
    }
    all.to_json()
}
