//! GlusterFS's `debug/` translators: they look at fops, or disturb them.

pub mod delay_gen;
pub mod error_gen;
mod fop_list;
pub mod io_stats;
pub mod trace;

use kiln_uring::Core;

/// Granularity of [`chance`].
const PARTS: u64 = 1 << 20;

/// True with a probability of `percent` of 100.
fn chance(core: &Core, percent: f64) -> bool {
    percent > 0.0 && (core.random_u64() % PARTS) as f64 * 100.0 < percent * PARTS as f64
}
