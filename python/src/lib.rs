//! Translators in Python: `features/glupy`, and the native half of the `kiln` package.

pub mod embedded;
pub mod types;
