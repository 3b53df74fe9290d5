//! Simulation: a kernel that lives in memory, with its own clock, its own randomness, and faults on demand.

mod memfs;

pub use memfs::MemFs;
