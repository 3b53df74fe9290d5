//! The classes as Python sees them, and the way there and back.

mod conversions;
mod dicts;
mod round_trips;
mod stubs;
mod values;

use std::ffi::CString;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

/// The module with everything in it, made once per process.
fn module(py: Python<'_>) -> &Bound<'_, PyModule> {
    static MODULE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    MODULE
        .get_or_init(py, || {
            let module = PyModule::new(py, "kiln._native").unwrap();
            super::register(&module).unwrap();
            py.import("sys").unwrap().getattr("modules").unwrap().set_item("kiln._native", &module).unwrap();
            module.unbind()
        })
        .bind(py)
}

/// Runs `test` in the interpreter, with the names of the module as the globals of Python code.
fn with_python(test: impl FnOnce(Python<'_>, &Bound<'_, PyDict>)) {
    Python::initialize();
    Python::attach(|py| {
        let scope = module(py).dict().copy().unwrap();
        scope.set_item("__builtins__", py.import("builtins").unwrap()).unwrap();
        test(py, &scope);
    });
}

/// Runs Python code whose assertions are the test.
fn check(py: Python<'_>, scope: &Bound<'_, PyDict>, code: &str) {
    let code = CString::new(format!(
        "
def raises(kind, part, do):
    try:
        got = do()
    except kind as error:
        assert type(error) is kind, f'{{error!r}} is not exactly {{kind}}'
        assert part in str(error), f'{{part!r}} is not in {{error}}'
    else:
        raise AssertionError(f'no {{kind.__name__}} but {{got!r}}')
{code}"
    ))
    .unwrap();
    if let Err(error) = py.run(&code, Some(scope), None) {
        error.print(py);
        panic!("{error}");
    }
}
