//! Everything that changes names.

pub mod heal;
