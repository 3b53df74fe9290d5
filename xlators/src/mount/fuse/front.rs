//! What the cores share of one mount.

use std::sync::Arc;

use kiln_uring::Errno;

use super::attr;
use super::forgets::Forgets;
use super::groups::GroupReader;
use super::lanes::Lanes;
use super::open_files::OpenFiles;
use super::options::{MountConfig, Offers};
use super::wire::EntryOut;
use crate::fd::FdRef;
use crate::inode_table::InodeTable;
use crate::types::{Gfid, IaType, Iatt, Loc, Name};

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Front {
    pub(super) config: MountConfig,
    pub(super) offers: Offers,
    /// Tells this mount's lock owners from those of other clients.
    pub(super) client: u64,
    pub(super) nodes: InodeTable,
    pub(super) files: OpenFiles,
    pub(super) lanes: Lanes,
    pub(super) groups: GroupReader,
    pub(super) forgets: Forgets,
}

impl Front {
    pub(super) fn new(config: MountConfig, offers: Offers, client: u64, lanes: Lanes) -> Arc<Self> {
        Arc::new(Self {
            nodes: InodeTable::new(config.max_nodes),
            files: OpenFiles::new(config.max_open),
            groups: GroupReader::new(),
            forgets: Forgets::default(),
            config,
            offers,
            client,
            lanes,
        })
    }

    /// The object of a node.
    pub(super) fn gfid(&self, node: u64) -> Result<Gfid, Errno> {
        self.nodes.gfid(node)
    }

    /// The object of a node, as a location.
    pub(super) fn object(&self, node: u64) -> Result<Loc, Errno> {
        self.gfid(node).map(Loc::object)
    }

    /// An entry of a node.
    pub(super) fn entry(&self, parent: u64, name: Name) -> Result<Loc, Errno> {
        Ok(Loc::entry(self.gfid(parent)?, name))
    }

    /// An open descriptor.
    pub(super) fn fd(&self, handle: u64) -> Result<FdRef, Errno> {
        self.files.get(handle)
    }

    /// The kernel is about to be told of an object: counts that, and answers what it is told.
    pub(super) fn tell(&self, iatt: &Iatt) -> Result<EntryOut, Errno> {
        // An object without gfid is none that a client could name afterwards.
        if iatt.gfid.is_null() || iatt.kind == IaType::Invalid {
            return Err(Errno::IO);
        }
        let node = self.nodes.remember(iatt.gfid)?;
        let attr = attr::attr(iatt, node.id).ok_or(Errno::IO)?;
        Ok(EntryOut {
            node: node.id,
            generation: node.generation,
            keep_name: self.config.entry_timeout,
            keep_attr: self.config.attr_timeout,
            attr,
        })
    }
}
