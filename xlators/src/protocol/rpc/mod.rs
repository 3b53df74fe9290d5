//! ONC RPC (RFC 5531) as GlusterFS speaks it, and GlusterFS's programs.

pub mod credential;
pub mod errno;
pub mod message;
pub mod programs;
pub mod record;
#[cfg(test)]
mod vectors;
