//! Kiln's translator API (TXAPI), volfiles and graphs, and the native translators, in folders named as GlusterFS names them.

pub mod fop;
pub mod call;
pub mod error;
pub mod fd;
pub mod graph;
pub mod inode_table;
pub mod keys;
pub mod options;
pub mod registry;
pub mod storage;
pub mod translator;
pub mod types;
pub mod volfile;
