//! Results as people and programs read them.

mod hdr;
mod table;

pub use hdr::log;
pub use table::table;
