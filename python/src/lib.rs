//! Translators in Python: [`features/glupy`](glupy), and the native half of the `kiln` package.

mod context;
pub mod embedded;
pub mod glupy;
mod harness;
mod host;
mod interpreter;
pub mod replay;
pub mod types;

use kiln_xlators::translator::TranslatorType;
use pyo3::prelude::*;

/// What this crate adds to the [registry](kiln_xlators::registry).
pub static TRANSLATORS: &[&TranslatorType] = &[&glupy::TYPE];

/// The native half of the `kiln` package.
#[pymodule(name = "_native")]
fn native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    types::convert::register(module)?;
    module.add("EMBEDDED", interpreter::is_embedded())?;
    module.add_class::<context::Context>()?;
    module.add_class::<harness::Stack>()?;
    module.add_class::<host::Host>()?;
    module.add_class::<host::Counter>()?;
    module.add_class::<host::Histogram>()
}
