//! `kiln python run`: tries a translator against recorded operations, in the interpreter that the brick carries.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::interpreter;
use crate::types::convert::{self, Raised};

/// What is tried.
#[derive(Clone, Debug)]
pub struct Replay {
    /// Name of the module, or path of its file.
    pub module: String,
    /// Its class, where it has several.
    pub class_name: Option<String>,
    /// Directories where modules are, with `:` between them.
    pub search_path: String,
    /// The translator's own options.
    pub options: Vec<(String, String)>,
    /// What `kiln.record` has written.
    pub trace: PathBuf,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Played {
    /// For people.
    pub report: String,
    /// How often a handler raised something else than an error of its fop, or answered nonsense.
    pub faults: u64,
}

/// Why nothing came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplayError {
    /// The recording cannot be read.
    Recording(String),
    /// The translator does not load, or refuses its options.
    Translator(String),
}

impl std::fmt::Display for ReplayError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Recording(why) | Self::Translator(why)) = self;
        f.write_str(why)
    }
}

impl std::error::Error for ReplayError {}

/// Plays the recording. Starts the interpreter: call it in a process that serves nothing.
///
/// # Errors
/// When the recording cannot be read, or the translator does not load.
pub fn run(replay: &Replay) -> Result<Played, ReplayError> {
    let no_python = |error: PyErr| ReplayError::Translator(format!("Python cannot start: {error}"));
    interpreter::start().map_err(no_python)?;
    Python::attach(|py| play(py, replay))
}

fn play(py: Python<'_>, replay: &Replay) -> Result<Played, ReplayError> {
    let call = || -> PyResult<(String, u64)> {
        let options = PyDict::new(py);
        for (name, value) in &replay.options {
            options.set_item(name, value)?;
        }
        let arguments = PyDict::new(py);
        arguments.set_item("class_name", replay.class_name.as_deref())?;
        arguments.set_item("search_path", &replay.search_path)?;
        arguments.set_item("options", options)?;
        let run = py.import("kiln.replay")?.getattr("run")?;
        run.call((&replay.module, &replay.trace), Some(&arguments))?.extract()
    };
    call().map(|(report, faults)| Played { report, faults }).map_err(|error| explain(py, error))
}

fn explain(py: Python<'_>, error: PyErr) -> ReplayError {
    let is_recordings = || {
        let class = py.import("kiln.replay")?.getattr("RecordingError")?;
        error.value(py).is_instance(&class)
    };
    if is_recordings().unwrap_or(false) {
        return ReplayError::Recording(error.value(py).to_string());
    }
    if error.is_instance_of::<pyo3::exceptions::PyValueError>(py) {
        return ReplayError::Translator(error.value(py).to_string());
    }
    ReplayError::Translator(match convert::raised(py, error) {
        Raised::Bug { traceback, .. } => traceback.trim_end().to_owned(),
        Raised::Errno(error) => error.to_string(),
    })
}
