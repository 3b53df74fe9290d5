//! GlusterFS's `performance/` translators.

pub mod io_threads;
