//! The control socket of a running brick: one line of JSON in, one line of JSON out.

pub mod client;
pub mod gather;
pub mod place;
pub mod protocol;
pub mod server;
