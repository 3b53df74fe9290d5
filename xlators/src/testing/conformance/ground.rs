//! What clients stand on: a [`Tree`] that knows the truth at each moment, or a brick that knows it when all is quiet.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::ledger::Ledger;
use super::tree::Tree;
use crate::keys;
use crate::types::{Dict, Gfid, Name, Value, Xdata};

/// What the clients of one history know together.
#[derive(Debug)]
pub struct Ground {
    /// The order of what happens; with a tree, the truth, too.
    pub ledger: Arc<Ledger>,
    tree: Option<Arc<Tree>>,
    directories: Mutex<Vec<Gfid>>,
    wishes: AtomicU64,
    /// Cores whose clients have done all that they wanted.
    pub quiet_cores: AtomicUsize,
}

impl Ground {
    /// On a tree.
    pub fn on_tree(tree: &Arc<Tree>) -> Self {
        Self { ledger: Arc::clone(tree.ledger()), tree: Some(Arc::clone(tree)), ..Self::on_brick() }
    }

    /// On a brick with nothing in it.
    pub fn on_brick() -> Self {
        Self {
            ledger: Arc::default(),
            tree: None,
            directories: Mutex::new(vec![Gfid::ROOT]),
            wishes: AtomicU64::new(0),
            quiet_cores: AtomicUsize::new(0),
        }
    }

    /// All directories that anybody knows of.
    pub fn directories(&self) -> Vec<Gfid> {
        match &self.tree {
            Some(tree) => tree.directories(),
            None => self.directories.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// How many lookups of clients have reached the tree.
    pub fn lookups(&self) -> u64 {
        self.tree.as_ref().map_or(0, |tree| tree.lookups())
    }

    /// A directory was made.
    pub fn learn(&self, directory: Gfid) {
        self.directories.lock().unwrap_or_else(PoisonError::into_inner).push(directory);
    }

    /// What a name leads to, for clients that have to know it: no fop. A brick finds it by itself.
    pub fn look_aside(&self, parent: Gfid, name: &Name) -> Option<Gfid> {
        self.tree.as_ref()?.look_aside(parent, name)
    }

    /// Asks for a gfid that nothing has yet, as every client does that makes an object.
    pub fn wish(&self) -> Xdata {
        let number = self.wishes.fetch_add(1, Ordering::Relaxed);
        let mut bytes = [0xab; 16];
        bytes[8..].copy_from_slice(&number.to_be_bytes());
        Dict::from_iter([(keys::GFID_REQ, Value::Gfid(Gfid::from_random(bytes)))]).into()
    }
}
