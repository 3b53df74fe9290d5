//! GlusterFS's `performance/` translators.

pub mod io_threads;
pub mod nl_cache;
