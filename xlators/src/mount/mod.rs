//! Front doors that are mounts.

pub mod fuse;
