//! A server over a simulated network.
