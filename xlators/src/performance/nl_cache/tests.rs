//! The layer as a whole.

mod interleavings;
mod layer;
