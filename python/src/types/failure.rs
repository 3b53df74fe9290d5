//! What stands for a failed fop, and the two outcomes that are neither a reply nor a failure.

use kiln_uring::Errno;
use kiln_xlators::error::FopError;
use kiln_xlators::types::{Iatt, Xdata};
use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::field::{Field, at_argument};
use super::held::Held;

/// A failed fop: an errno, rarely with a dictionary or the parent's attributes.
#[pyclass(frozen, eq, module = "kiln", name = "Failure")]
#[derive(Clone, Debug, PartialEq)]
pub struct FailureValue(pub FopError);

/// An errno that the engine can carry.
///
/// # Errors
/// `ValueError` outside of 1..=4095.
pub fn errno(number: i64) -> PyResult<Errno> {
    match i32::try_from(number) {
        Ok(number @ 1..=4095) => Ok(Errno::from_raw_os_error(number)),
        _ => Err(PyValueError::new_err(format!("{number} is no errno: they are 1 to 4095"))),
    }
}

impl FailureValue {
    fn name(&self, py: Python<'_>) -> PyResult<String> {
        let names = py.import("errno")?.getattr("errorcode")?;
        let number = self.0.errno.raw_os_error();
        Ok(names.get_item(number).map_or_else(|_| number.to_string(), |name| name.to_string()))
    }
}

#[pymethods]
impl FailureValue {
    #[new]
    #[pyo3(signature = (errno, xdata = None, postparent = None))]
    fn construct(
        errno: &Bound<'_, PyAny>,
        xdata: Option<&Bound<'_, PyAny>>,
        postparent: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let py = errno.py();
        let number = i64::from_py(errno).map_err(|error| at_argument(py, error, "Failure", "errno"))?;
        let mut error = FopError::new(self::errno(number)?);
        if let Some(xdata) = xdata {
            let xdata = Xdata::from_py(xdata).map_err(|error| at_argument(py, error, "Failure", "xdata"))?;
            if !xdata.is_none() {
                error = error.with_xdata(xdata);
            }
        }
        if let Some(iatt) = postparent {
            let iatt =
                Iatt::from_py(iatt).map_err(|error| at_argument(py, error, "Failure", "postparent"))?;
            error = error.with_postparent(iatt);
        }
        Ok(Self(error))
    }

    /// The errno, as the module `errno` numbers them.
    #[getter]
    fn errno(&self) -> i32 {
        self.0.errno.raw_os_error()
    }

    /// The reply's dictionary, empty when there is none.
    #[getter]
    fn xdata<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        static NONE: Xdata = Xdata::NONE;
        let xdata = self.0.detail.as_ref().map_or(&NONE, |detail| &detail.xdata);
        xdata.to_py(py, || Held::Own(xdata.clone()))
    }

    /// The parent's attributes, which a failed named lookup still tells.
    #[getter]
    fn postparent<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let postparent = self.0.detail.as_ref().and_then(|detail| detail.postparent);
        postparent.to_py(py, || Held::Own(postparent))
    }

    /// The same with other values for the fields that are named.
    #[pyo3(signature = (**fields))]
    fn replace<'py>(
        slf: &Bound<'py, Self>,
        fields: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let all = PyDict::new(slf.py());
        for name in ["errno", "xdata", "postparent"] {
            all.set_item(name, slf.getattr(name)?)?;
        }
        if let Some(fields) = fields {
            all.update(fields.as_mapping())?;
        }
        slf.get_type().call((), Some(&all))
    }

    fn __hash__(&self) -> i32 {
        self.0.errno.raw_os_error()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let mut text = format!("Failure({}", self.name(py)?);
        if let Some(detail) = &self.0.detail {
            if !detail.xdata.is_none() {
                text.push_str(&format!(", xdata={}", self.xdata(py)?.repr()?));
            }
            if detail.postparent.is_some() {
                text.push_str(&format!(", postparent={}", self.postparent(py)?.repr()?));
            }
        }
        text.push(')');
        Ok(text)
    }

    #[classattr]
    fn __match_args__() -> (&'static str, &'static str, &'static str) {
        ("errno", "xdata", "postparent")
    }
}

/// The outcome "go on with the same arguments"; its only object is `PASS`.
#[pyclass(frozen, module = "kiln")]
#[derive(Debug)]
pub struct Pass;

#[pymethods]
impl Pass {
    fn __repr__(&self) -> &'static str {
        "PASS"
    }
}

/// The outcome "answered later, by `ctx.finish`"; its only object is `LATER`.
#[pyclass(frozen, module = "kiln")]
#[derive(Debug)]
pub struct Later;

#[pymethods]
impl Later {
    fn __repr__(&self) -> &'static str {
        "LATER"
    }
}

/// The failure that a `kiln.FopError` carries.
pub(super) fn failure_of(error: &Bound<'_, PyAny>) -> Option<FopError> {
    let failure = error.getattr_opt(intern!(error.py(), "failure")).ok()??;
    Some(failure.cast::<FailureValue>().ok()?.get().0.clone())
}

/// Adds the classes and the two outcomes.
///
/// # Errors
/// What Python raises.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add_class::<FailureValue>()?;
    module.add("PASS", Py::new(py, Pass)?)?;
    module.add("LATER", Py::new(py, Later)?)?;
    module.add_class::<Pass>()?;
    module.add_class::<Later>()
}
