//! A client of a brick: many calls at once on one connection, over `tokio-uring`.
//!
//! Nothing of Kiln's own engine is used here, so that a measurement shares only the description of the wire with what it
//! measures. Calls that are made in one turn of the runtime leave in one write; replies are taken from a large buffer, so
//! that one read brings as many as there are. A reply is decoded where it lies, into an [`Answer`] of fixed size.

mod answer;
mod calls;
mod connection;
mod handshake;
mod inbox;

pub use answer::{Answer, Expect};
pub use calls::Fault;
pub use connection::{Connection, Peer, Setup};
