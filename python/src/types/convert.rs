//! From the engine's requests, replies and failures to Python's objects, and from what a handler returns or raises back.

use std::sync::Arc;

use kiln_uring::Errno;
use kiln_xlators::error::FopError;
use kiln_xlators::fd::FdRef;
use kiln_xlators::fop::any::{AnyReply, AnyRequest};
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use super::failure::{FailureValue, Later, Pass, errno, failure_of};
use super::fd::FdValue;
use super::field::{Field, at_argument, wrong_type};
use super::record;
pub use super::register;
use super::reply::Reply;
use super::request::Request;

/// The arguments of a plain handler: `(ctx, arguments in the table's order…, xdata)`.
///
/// # Errors
/// What Python raises; out of memory.
pub fn arguments<'py>(
    py: Python<'py>,
    ctx: &Bound<'py, PyAny>,
    request: &Arc<AnyRequest>,
) -> PyResult<Bound<'py, PyTuple>> {
    super::request::arguments(py, ctx, request)
}

/// The `request.X` of a request. It shares the request, and makes its attributes when they are asked for.
///
/// # Errors
/// What Python raises; out of memory.
pub fn request_object<'py>(
    py: Python<'py>,
    request: Arc<AnyRequest>,
    ctx: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    super::request::object(py, request, ctx)
}

/// The `reply.X` of a reply. It shares the reply, and makes its attributes when they are asked for.
///
/// # Errors
/// What Python raises; out of memory.
pub fn reply_object<'py>(py: Python<'py>, reply: Arc<AnyReply>) -> PyResult<Bound<'py, PyAny>> {
    super::reply::object(py, reply)
}

/// The `kiln.Failure` of a failed fop.
///
/// # Errors
/// What Python raises; out of memory.
pub fn failure_object<'py>(py: Python<'py>, error: &FopError) -> PyResult<Bound<'py, PyAny>> {
    Ok(Bound::new(py, FailureValue(error.clone()))?.into_any())
}

/// The `kiln.Fd` of a descriptor.
///
/// # Errors
/// What Python raises; out of memory.
pub fn fd_object<'py>(py: Python<'py>, fd: &FdRef) -> PyResult<Bound<'py, PyAny>> {
    Ok(Bound::new(py, FdValue(Arc::clone(fd)))?.into_any())
}

/// The descriptor of a `kiln.Fd`.
///
/// # Errors
/// `TypeError` for anything else.
pub fn fd_of(fd: &Bound<'_, PyAny>) -> PyResult<FdRef> {
    FdRef::from_py(fd)
}

/// What a handler returned.
#[derive(Debug)]
pub enum Value {
    /// `None` or `PASS`: go on with the same arguments, or with the same reply.
    Pass,
    /// `LATER`: the answer comes through `ctx.finish`.
    Later,
    /// A reply, of whichever fop.
    Reply(Arc<AnyReply>),
    /// A failure.
    Fail(FopError),
    /// A request, of whichever fop.
    Wind(Arc<AnyRequest>),
}

/// Reads what a handler returned. Whether the fop fits is for the caller to check.
///
/// # Errors
/// `TypeError` that names what came, when it is none of these.
pub fn outcome(value: &Bound<'_, PyAny>) -> PyResult<Value> {
    if value.is_none() {
        return Ok(Value::Pass);
    }
    if let Ok(reply) = value.cast::<Reply>() {
        return Ok(Value::Reply(Arc::clone(&reply.get().shared)));
    }
    if let Ok(request) = value.cast::<Request>() {
        return Ok(Value::Wind(Arc::clone(&request.get().shared)));
    }
    if let Ok(failure) = value.cast_exact::<FailureValue>() {
        return Ok(Value::Fail(failure.get().0.clone()));
    }
    if value.cast_exact::<Pass>().is_ok() {
        return Ok(Value::Pass);
    }
    if value.cast_exact::<Later>().is_ok() {
        return Ok(Value::Later);
    }
    Err(wrong_type("None, PASS, LATER, a reply, a request or a Failure as the outcome of a handler", value))
}

/// What an exception of a handler means.
#[derive(Debug)]
pub enum Raised {
    /// `OSError` and its kin: the fop fails with this.
    Errno(FopError),
    /// Anything else: the handler has a bug.
    Bug {
        /// Type and place, the same for each occurrence: `KeyError at cache.py:31 in lookup`.
        kind: String,
        /// The whole traceback as Python prints it.
        traceback: String,
    },
}

/// Reads an exception. An `OSError` without an errno (or with one that is none) is EIO.
#[must_use]
pub fn raised(py: Python<'_>, error: PyErr) -> Raised {
    if !error.is_instance_of::<PyOSError>(py) {
        return Raised::Bug { kind: kind_of(py, &error), traceback: traceback_of(py, &error) };
    }
    let value = error.value(py).as_any();
    if let Some(failure) = failure_of(value) {
        return Raised::Errno(failure);
    }
    let number = value.getattr("errno").and_then(|number| number.extract::<i64>());
    Raised::Errno(FopError::new(number.and_then(errno).unwrap_or(Errno::IO)))
}

/// Type of the exception and the place that raised it.
fn kind_of(py: Python<'_>, error: &PyErr) -> String {
    let name = error.get_type(py).name().map_or_else(|_| "an exception".to_owned(), |name| name.to_string());
    match place_of(py, error) {
        Ok(Some(place)) => format!("{name} at {place}"),
        _ => name,
    }
}

/// `file:line in function` of the innermost frame.
fn place_of(py: Python<'_>, error: &PyErr) -> PyResult<Option<String>> {
    let Some(traceback) = error.traceback(py) else { return Ok(None) };
    let mut innermost = traceback.into_any();
    loop {
        let next = innermost.getattr("tb_next")?;
        if next.is_none() {
            break;
        }
        innermost = next;
    }
    let line: u32 = innermost.getattr("tb_lineno")?.extract()?;
    let code = innermost.getattr("tb_frame")?.getattr("f_code")?;
    let (file, function) = (code.getattr("co_filename")?, code.getattr("co_name")?);
    Ok(Some(format!("{file}:{line} in {function}")))
}

/// The traceback with the exception and its causes, as Python prints it.
fn traceback_of(py: Python<'_>, error: &PyErr) -> String {
    let format = || -> PyResult<String> {
        let parts = (error.get_type(py), error.value(py), error.traceback(py));
        let lines = py.import("traceback")?.call_method1("format_exception", parts)?;
        PyString::new(py, "").call_method1("join", (lines,))?.extract()
    };
    format().unwrap_or_else(|_| error.to_string())
}

/// Takes the fields of `replace(**fields)` one by one.
pub(super) struct Replacements<'a, 'py> {
    class: &'static str,
    fields: Option<&'a Bound<'py, PyDict>>,
    taken: usize,
}

impl<'a, 'py> Replacements<'a, 'py> {
    pub(super) fn new(class: &'static str, fields: Option<&'a Bound<'py, PyDict>>) -> Self {
        Self { class, fields, taken: 0 }
    }

    /// The new value of a field, or another one of the old.
    pub(super) fn take<T: Field>(&mut self, name: &Bound<'py, PyString>, old: &T) -> PyResult<T> {
        let Some(fields) = self.fields else { return Ok(old.again()) };
        let Some(value) = fields.get_item(name)? else { return Ok(old.again()) };
        self.taken += 1;
        T::from_py(&value)
            .map_err(|error| at_argument(value.py(), error, self.class, &name.to_string_lossy()))
    }

    /// Refuses fields that nobody took: `known` are all there are.
    pub(super) fn finish(self, known: &[&str]) -> PyResult<()> {
        let Some(fields) = self.fields.filter(|fields| fields.len() != self.taken) else { return Ok(()) };
        for key in fields.keys() {
            let key: String = key.extract()?;
            if !known.contains(&key.as_str()) {
                return Err(record::no_field(self.class, &key));
            }
        }
        Ok(())
    }
}
