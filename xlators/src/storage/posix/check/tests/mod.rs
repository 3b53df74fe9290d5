//! Bricks made and damaged by hand, in memory and on the real kernel.

mod bench;
mod kinds;
mod scrubbing;
mod whole;
