//! `Fd`: an open file or directory.

use std::sync::Arc;

use kiln_xlators::fd::{Fd, FdRef};
use kiln_xlators::types::Gfid;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::field::{Field, wrong_type};
use super::held::Held;

/// An open file or directory. Two objects of the same descriptor are equal, and `id` is never given to another one.
#[pyclass(frozen, eq, hash, module = "kiln", name = "Fd")]
#[derive(Debug)]
pub struct FdValue(pub FdRef);

impl PartialEq for FdValue {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl std::hash::Hash for FdValue {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.id().hash(state);
    }
}

#[pymethods]
impl FdValue {
    /// A descriptor for an `open` or a `create` of the translator's own.
    #[staticmethod]
    #[pyo3(signature = (gfid = None, flags = 0, pid = 0))]
    fn file(gfid: Option<&Bound<'_, PyAny>>, flags: u32, pid: i32) -> PyResult<Self> {
        let gfid = gfid.map_or(Ok(Gfid::NULL), Gfid::from_py)?;
        Ok(Self(Fd::file(gfid, flags, pid)))
    }

    /// A descriptor for an `opendir` of the translator's own.
    #[staticmethod]
    #[pyo3(signature = (gfid, pid = 0))]
    fn directory(gfid: &Bound<'_, PyAny>, pid: i32) -> PyResult<Self> {
        Ok(Self(Fd::directory(Gfid::from_py(gfid)?, pid)))
    }

    /// A descriptor that needs no open: the object is opened when a fop comes.
    #[staticmethod]
    #[pyo3(signature = (gfid, flags = 0, pid = 0))]
    fn anonymous(gfid: &Bound<'_, PyAny>, flags: u32, pid: i32) -> PyResult<Self> {
        Ok(Self(Fd::anonymous(Gfid::from_py(gfid)?, flags, pid)))
    }

    /// The object; null until a `create` is answered.
    #[getter]
    fn gfid<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.0.gfid().as_bytes())
    }

    /// The client's `O_*` flags.
    #[getter]
    fn flags(&self) -> u32 {
        self.0.flags()
    }

    /// Whether it came from `opendir`.
    #[getter]
    fn is_directory(&self) -> bool {
        self.0.is_directory()
    }

    /// Whether nobody opened it.
    #[getter]
    fn is_anonymous(&self) -> bool {
        self.0.is_anonymous()
    }

    /// The process that opened it; negative for internal clients.
    #[getter]
    fn pid(&self) -> i32 {
        self.0.pid()
    }

    /// A number that no other descriptor of this process ever has.
    #[getter]
    fn id(&self) -> u64 {
        self.0.id()
    }

    fn __repr__(&self) -> String {
        let what = match (self.0.is_anonymous(), self.0.is_directory()) {
            (true, _) => "anonymous",
            (false, true) => "directory",
            (false, false) => "file",
        };
        format!("<Fd {} {what} {} flags={:#o}>", self.0.id(), self.0.gfid(), self.0.flags())
    }
}

impl Field for FdRef {
    const GIVES: &'static str = "Fd";

    #[inline]
    fn to_py<'py>(&self, py: Python<'py>, _: impl FnOnce() -> Held<Self>) -> PyResult<Bound<'py, PyAny>> {
        Ok(Bound::new(py, FdValue(Arc::clone(self)))?.into_any())
    }

    fn from_py(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        match value.cast::<FdValue>() {
            Ok(object) => Ok(Arc::clone(&object.get().0)),
            Err(_) => Err(wrong_type("Fd", value)),
        }
    }

    fn again(&self) -> Self {
        Arc::clone(self)
    }
}
