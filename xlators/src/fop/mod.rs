//! The fops: one table ([`table`]), their arguments ([`request`]) and their replies ([`reply`]); [`any`] holds those of
//! whichever fop.

pub mod any;
pub mod reply;
pub mod request;
mod set;
mod table;

pub use set::FopSet;
pub use table::{Access, Fop, FopInfo, Subject};
