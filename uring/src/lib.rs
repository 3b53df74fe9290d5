//! Kiln's per-core reactor and the kernel behind it, real or simulated.

pub mod sim;
pub mod sys;
