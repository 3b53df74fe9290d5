//! Kiln as it is used: the built binary, a real kernel, real peers.
//!
//! Every test needs root (FUSE, `trusted.*` attributes, loop devices) and the packages that `tests/run.sh` installs. Each
//! works in its own temporary directory, on free ports, and ends what it started even when it fails.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod support;

mod bad_input;
mod beside;
mod check;
mod crash;
mod crowd;
mod handover;
mod hostile;
mod load;
mod locks;
mod mount;
mod operator;
mod pjdfstest;
mod python;
mod restart;
mod serve;
mod stress;
mod tls;
mod top;
