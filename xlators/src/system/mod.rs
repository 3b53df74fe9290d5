//! GlusterFS's `system/` translators.

pub mod posix_acl;
