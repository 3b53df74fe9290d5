//! The layer in a graph, on one simulated core and on several.

mod interleavings;
mod layer;
