//! The interpreter within the brick's process.

use pyo3::prelude::*;

/// Starts it on this thread, with the packages `kiln` and `gluster` that the binary carries.
pub(crate) fn start() -> PyResult<()> {
    Python::initialize();
    Python::attach(|py| {
        let native = pyo3::wrap_pymodule!(crate::native)(py);
        py.import("sys")?.getattr("modules")?.set_item("kiln._native", native)?;
        crate::embedded::install(py)
    })
}
