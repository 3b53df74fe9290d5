//! The interpreter within the brick's process.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;

static EMBEDDED: AtomicBool = AtomicBool::new(false);

/// Whether this process is the brick's, rather than a Python that has imported the package.
pub(crate) fn is_embedded() -> bool {
    EMBEDDED.load(Ordering::Relaxed)
}

/// Starts it on this thread, with the packages `kiln` and `gluster` that the binary carries.
pub(crate) fn start() -> PyResult<()> {
    EMBEDDED.store(true, Ordering::Relaxed);
    Python::initialize();
    Python::attach(|py| {
        let native = pyo3::wrap_pymodule!(crate::native)(py);
        py.import("sys")?.getattr("modules")?.set_item("kiln._native", native)?;
        crate::embedded::install(py)
    })
}
