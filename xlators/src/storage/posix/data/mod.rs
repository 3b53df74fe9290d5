//! Open files and their data.

pub mod fd;
mod open;
