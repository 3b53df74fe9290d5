//! GlusterFS's `features/` translators.

pub mod barrier;
pub mod locks;
pub mod read_only;
pub mod upcall;
