//! Kiln's translator API (TXAPI), volfiles and graphs, and the native translators, in folders named as GlusterFS names them.

pub mod call;
pub mod debug;
pub mod errno;
pub mod error;
pub mod fd;
pub mod features;
pub mod fop;
pub mod graph;
pub mod handoff;
pub mod inode_table;
pub mod keys;
pub mod mount;
pub mod options;
pub mod owner;
pub mod performance;
pub mod protocol;
pub mod registry;
pub mod storage;
pub mod system;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod translator;
pub mod types;
pub mod upcall;
pub mod volfile;
