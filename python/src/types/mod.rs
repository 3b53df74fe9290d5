//! The values of the translator API as Python's classes: locations, attributes, descriptors, dictionaries, and one class
//! per fop for its request and its reply.
//!
//! All classes are frozen. Objects made by Python and objects made by the engine are of one kind: a request or a reply is
//! shared between the two sides, and an attribute is made when somebody asks for it.

#![allow(clippy::clone_on_copy, reason = "the macros treat all types alike")]

pub mod convert;
pub mod data;
pub mod dict;
pub mod dirent;
pub mod enums;
pub mod failure;
pub mod fd;
pub mod field;
pub mod held;
pub mod record;
pub mod reply;
pub mod request;
mod tables;
#[cfg(test)]
mod tests;
pub mod values;

pub use values::CallerValue as Caller;

use pyo3::prelude::*;

/// Adds everything to the module `kiln._native`.
///
/// # Errors
/// What Python raises.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    enums::register(module)?;
    values::register(module)?;
    module.add_class::<data::DataValue>()?;
    dict::register(module)?;
    module.add_class::<dirent::DirentValue>()?;
    module.add_class::<fd::FdValue>()?;
    failure::register(module)?;
    request::register(module)?;
    reply::register(module)?;
    tables::register(module)
}

/// A new submodule, which `import` finds too.
fn submodule<'py>(parent: &Bound<'py, PyModule>, name: &str, about: &str) -> PyResult<Bound<'py, PyModule>> {
    let py = parent.py();
    let full = format!("{}.{name}", parent.name()?);
    let module = PyModule::new(py, &full)?;
    module.setattr("__doc__", about)?;
    parent.add(name, &module)?;
    py.import("sys")?.getattr("modules")?.set_item(full, &module)?;
    Ok(module)
}
