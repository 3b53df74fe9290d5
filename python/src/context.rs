//! `kiln.Context`: what a handler knows of the request besides its arguments.

use std::sync::{Arc, Mutex};

use kiln_xlators::call::Caller;
use kiln_xlators::fop::Fop;
use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::glupy::instance::lock;
use crate::glupy::runner::Runner;
use crate::glupy::task::{Kept, Origin, Verdict};
use crate::types;

/// How far a request is that its handler may answer later.
#[derive(Debug)]
enum Stage {
    /// The handler runs.
    Running,
    /// The handler runs, and somebody has finished the request already.
    Finished(Verdict),
    /// The handler has returned `LATER`.
    Later(Kept),
    /// Answered, or given up.
    Over,
}

/// One request, for all its halves.
#[pyclass(frozen, module = "kiln", weakref)]
pub struct Context {
    id: u64,
    fop: Fop,
    unique: u64,
    caller: Caller,
    runner: Arc<Runner>,
    local: Mutex<Option<Py<PyAny>>>,
    stage: Mutex<Stage>,
}

impl Context {
    pub(crate) fn new(id: u64, fop: Fop, origin: Origin, runner: Arc<Runner>) -> Self {
        let Origin { caller, unique } = origin;
        let (local, stage) = (Mutex::new(None), Mutex::new(Stage::Running));
        Self { id, fop, unique, caller, runner, local, stage }
    }

    pub(crate) const fn of(&self) -> Fop {
        self.fop
    }

    /// A handler of the request begins to run.
    pub(crate) fn running(&self) {
        *lock(&self.stage) = Stage::Running;
    }

    /// The handler wants to answer later, under this number. When somebody was faster, here is the answer.
    pub(crate) fn later(&self, kept: Kept) -> Option<Verdict> {
        let mut stage = lock(&self.stage);
        match std::mem::replace(&mut *stage, Stage::Later(kept)) {
            Stage::Finished(verdict) => {
                *stage = Stage::Over;
                Some(verdict)
            }
            _ => None,
        }
    }

    /// The request is over, or waits for something else than `finish`. Whether somebody had finished it, in vain.
    pub(crate) fn over(&self) -> bool {
        matches!(std::mem::replace(&mut *lock(&self.stage), Stage::Over), Stage::Finished(_))
    }
}

#[pymethods]
impl Context {
    /// Number of the request, unique in the process.
    #[getter]
    const fn id(&self) -> u64 {
        self.id
    }

    /// Name of the fop.
    #[getter]
    fn fop(&self) -> &'static str {
        self.fop.name()
    }

    /// The client's number of the request.
    #[getter]
    const fn unique(&self) -> u64 {
        self.unique
    }

    /// Who asks.
    #[getter]
    fn caller(&self, py: Python<'_>) -> PyResult<Py<types::Caller>> {
        Py::new(py, types::Caller::from(&self.caller))
    }

    /// Whatever the translator wants to keep with the request; it goes with it.
    #[getter]
    fn get_local(&self, py: Python<'_>) -> Py<PyAny> {
        lock(&self.local).as_ref().map_or_else(|| py.None(), |local| local.clone_ref(py))
    }

    #[setter]
    fn set_local(&self, value: Py<PyAny>) {
        // What was there is dropped after the lock: its destructor is Python code.
        let _old = lock(&self.local).replace(value);
    }

    /// Answers a request whose handler has returned, or is going to return, `LATER`.
    fn finish(slf: &Bound<'_, Self>, outcome: &Bound<'_, PyAny>) -> PyResult<()> {
        let this = slf.get();
        let verdict = this.runner.judge(slf, outcome)?;
        let mut stage = lock(&this.stage);
        match std::mem::replace(&mut *stage, Stage::Over) {
            Stage::Running => *stage = Stage::Finished(verdict),
            Stage::Later(kept) => {
                drop(stage);
                this.runner.finish(kept, verdict);
            }
            old @ Stage::Finished(_) => {
                *stage = old;
                drop(stage);
                return Err(PyRuntimeError::new_err("the request is answered already"));
            }
            Stage::Over => {
                drop(stage);
                let fault = "the request is over: it was answered already, or its time limit has passed";
                return Err(PyRuntimeError::new_err(fault));
            }
        }
        Ok(())
    }

    fn __repr__(&self) -> String {
        let Caller { uid, gid, client, .. } = &self.caller;
        format!("<Context {} of {} from client {client}, uid {uid}, gid {gid}>", self.id, self.fop)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self.local.try_lock() {
            Ok(local) => local.as_ref().map_or(Ok(()), |local| visit.call(local)),
            Err(_) => Ok(()),
        }
    }

    fn __clear__(&self) {
        let _old = lock(&self.local).take();
    }
}
