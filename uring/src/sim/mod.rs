//! Simulation: a kernel that lives in memory, with its own clock, its own randomness, and faults on demand.

mod faults;
mod memfs;
mod net;
mod rng;
mod run;
mod world;

pub use faults::{Call, Kernel};
pub use memfs::MemFs;
pub use net::NetConditions;
pub use run::Sim;
pub use world::Latency;

pub(crate) use world::Port;
