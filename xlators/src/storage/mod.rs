//! Translators that store.

pub mod posix;
