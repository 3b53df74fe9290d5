//! GlusterFS's network protocol.
//!
//! | module | subject |
//! | --- | --- |
//! | [`xdr`] | the encoding: integers, byte strings, structs, both kinds of dictionary |
//! | [`rpc`] | records, calls and replies, credentials, and the programs with their procedures |
//! | [`server`] | `protocol/server`: clients' connections in front of a graph |
//!
//! `xdr` and `rpc` are a codec: bytes in, nouns of [`crate::types`] out, and back. They know no fop, no graph and no
//! socket. Source of the facts: the `.x` files and the behaviour of GlusterFS 10.3.

pub mod rpc;
pub mod server;
pub mod xdr;
