//! Kiln's translator API (TXAPI), volfiles and graphs, and the native translators, in folders named as GlusterFS names them.

pub mod call;
pub mod error;
pub mod fd;
pub mod fop;
pub mod graph;
pub mod inode_table;
pub mod keys;
pub mod mount;
pub mod options;
pub mod registry;
pub mod translator;
pub mod types;
pub mod volfile;
