//! GlusterFS's `features/` translators.

pub mod read_only;
