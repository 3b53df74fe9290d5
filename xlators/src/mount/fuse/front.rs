//! What the session threads and the cores share of one mount.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Duration;

use fuser::{FileAttr, FileHandle, INodeNo};
use kiln_uring::Errno;

use super::attr;
use super::dirs::Room;
use super::forgets::Forgets;
use super::groups::GroupReader;
use super::lanes::Lanes;
use super::open_files::OpenFiles;
use super::options::{MountConfig, Offers};
use crate::fd::FdRef;
use crate::inode_table::InodeTable;
use crate::types::{Gfid, Iatt, Loc, Name};

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
    pub(super) room: Room,
}

impl Front {
    pub(super) fn new(config: MountConfig, offers: Offers, client: u64, lanes: Lanes) -> Arc<Self> {
        Arc::new(Self {
            nodes: InodeTable::new(config.max_nodes),
            files: OpenFiles::new(config.max_open),
            groups: GroupReader::new(),
            forgets: Forgets::default(),
            room: Room::default(),
            config,
            offers,
            client,
            lanes,
        })
    }

    /// The object of a node.
    pub(super) fn gfid(&self, node: INodeNo) -> Result<Gfid, Errno> {
        self.nodes.gfid(node.0)
    }

    /// The object of a node, as a location.
    pub(super) fn object(&self, node: INodeNo) -> Result<Loc, Errno> {
        self.gfid(node).map(Loc::object)
    }

    /// An entry of a node.
    pub(super) fn entry(&self, parent: INodeNo, name: &OsStr) -> Result<Loc, Errno> {
        Ok(Loc::entry(self.gfid(parent)?, Name::new(name.as_bytes())?))
    }

    /// An open descriptor.
    pub(super) fn fd(&self, handle: FileHandle) -> Result<FdRef, Errno> {
        self.files.get(handle.0)
    }

    /// The kernel is about to be told of an object: counts that, and answers attributes and generation.
    pub(super) fn tell(&self, iatt: &Iatt) -> Result<(FileAttr, u64), Errno> {
        // An object without gfid is none that a client could name afterwards.
        if iatt.gfid.is_null() || attr::file_type(iatt.kind).is_none() {
            return Err(Errno::IO);
        }
        let node = self.nodes.remember(iatt.gfid)?;
        match attr::file_attr(iatt, node.id) {
            Some(attr) => Ok((attr, node.generation)),
            None => {
                self.nodes.forget(node.id, 1);
                Err(Errno::IO)
            }
        }
    }

    /// How long a reply that carries attributes and a name together may be kept, where `fuser` takes one time for both.
    pub(super) fn both_timeout(&self) -> Duration {
        self.config.attr_timeout.min(self.config.entry_timeout)
    }
}
