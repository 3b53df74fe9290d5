//! Tests with the interpreter, on the simulated machine.

mod conformance;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use kiln_xlators::registry;
use kiln_xlators::translator::TranslatorType;

use super::runner::Runner;
use crate::interpreter;

/// Starts Python, and lets it run on the threads of the tests.
fn python_here() {
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| interpreter::start().expect("Python starts"));
    Runner::run_on_this_thread();
}

/// The types of layers that tests may use.
fn find(name: &str) -> Option<&'static TranslatorType> {
    crate::TRANSLATORS.iter().copied().find(|kind| kind.name == name).or_else(|| registry::find(name))
}

/// Where the examples are.
fn examples(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(folder)
}
