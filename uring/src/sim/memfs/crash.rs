//! What a power cut leaves.
//!
//! The model, in which every outcome is one that POSIX allows, is a file system with a metadata journal:
//!
//! - A call that changes names, attributes or extended attributes is one transaction of the journal. After a power cut
//!   the transactions up to some point, which the seed draws, have happened and those after it have not; none is torn.
//! - `fsync` or `fdatasync` of an object makes durable every transaction up to the last one that changed the object or
//!   one of its names, so the point drawn lies behind them; `syncfs` makes all of them durable.
//! - The data of a regular file, its length included, is what it was when it was last synced, by either; empty if never.
//! - What has no name left is gone, whoever had it open.
//!
//! A journal that grows past [`JOURNAL_MAX`] transactions becomes durable from its old end, as by writeback.

use std::collections::VecDeque;

use super::inode::{Body, ROOT};
use super::state::State;
use super::tree::{Record, Tree};

/// Transactions that may wait to become durable.
const JOURNAL_MAX: usize = 16_384;

/// The durable tree and the transactions that it lacks.
#[derive(Debug)]
pub struct Journal {
    durable: Tree,
    pending: VecDeque<Vec<Record>>,
}

impl Journal {
    pub fn new(durable: Tree) -> Self {
        Self { durable, pending: VecDeque::new() }
    }

    pub fn push(&mut self, transaction: Vec<Record>) {
        self.pending.push_back(transaction);
        while self.pending.len() > JOURNAL_MAX {
            self.settle(1);
        }
    }

    /// Makes the oldest transactions durable.
    fn settle(&mut self, count: usize) {
        for record in self.pending.drain(..count).flatten() {
            self.durable.apply(&record);
        }
    }

    /// How many transactions there are up to the last one about an object.
    fn last_about(&self, ino: u64) -> usize {
        let about = |record: &Record| record.subject() == ino || record.named() == Some(ino);
        self.pending.iter().rposition(|transaction| transaction.iter().any(about)).map_or(0, |at| at + 1)
    }

    fn copy_data(&mut self, live: &Tree, ino: u64) {
        if let (Ok(to), Ok(from)) = (self.durable.data_mut(ino), live.data(ino)) {
            to.clone_from(from);
        }
    }
}

impl State {
    /// Makes an object durable.
    pub fn sync_inode(&mut self, ino: u64) {
        let count = self.journal.last_about(ino);
        self.journal.settle(count);
        self.journal.copy_data(&self.live, ino);
    }

    /// Makes everything durable.
    pub fn sync_all(&mut self) {
        self.commit();
        let count = self.journal.pending.len();
        self.journal.settle(count);
        let files: Vec<u64> = self.journal.durable.inodes.keys().copied().collect();
        for ino in files {
            self.journal.copy_data(&self.live, ino);
        }
    }

    /// The tree after a power cut now. `draw` tells how many of so many pending transactions made it.
    pub fn after_power_cut(&self, draw: impl FnOnce(usize) -> usize) -> Tree {
        let mut tree = self.journal.durable.clone();
        let survivors = draw(self.journal.pending.len());
        for record in self.journal.pending.iter().take(survivors).flatten() {
            tree.apply(record);
        }
        tree.inodes.retain(|_, inode| inode.meta.nlink > 0);
        tree
    }
}

impl Tree {
    /// The highest number in use.
    pub fn last_ino(&self) -> u64 {
        self.inodes.last_key_value().map_or(0, |(&ino, _)| ino)
    }

    /// Whether every name leads to an object, every object has as many names as it counts, and nothing is unreachable.
    pub fn is_consistent(&self) -> bool {
        let mut names = std::collections::BTreeMap::<u64, u32>::new();
        for (&ino, inode) in &self.inodes {
            let Body::Dir(dir) = &inode.body else { continue };
            let mut subdirs = 0;
            for entry in dir.names.values() {
                let Some(child) = self.inodes.get(&entry.ino) else { return false };
                *names.entry(entry.ino).or_default() += 1;
                if let Body::Dir(child) = &child.body {
                    subdirs += 1;
                    if child.parent != ino {
                        return false;
                    }
                }
            }
            let removed = inode.meta.nlink == 0 && dir.names.is_empty();
            if (inode.meta.nlink != 2 + subdirs && !removed) || dir.positions.len() != dir.names.len() {
                return false;
            }
        }
        self.inodes.iter().all(|(&ino, inode)| {
            let named = names.get(&ino).copied().unwrap_or(0);
            match inode.body {
                Body::Dir(_) => named == u32::from(ino != ROOT && inode.meta.nlink > 0),
                _ => named == inode.meta.nlink,
            }
        })
    }
}
