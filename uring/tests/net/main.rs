//! Sockets, on the real kernel and on the simulated one.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod real;
mod scenes;
mod simulated;
