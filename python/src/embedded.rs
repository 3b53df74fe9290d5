//! The Python packages `kiln` and `gluster` within the brick's binary, so that it needs nothing installed.

use pyo3::prelude::*;
use pyo3::types::PyDict;

macro_rules! sources {
    ($($path:literal)*) => {
        /// Path within `python/` and text of every module.
        pub const SOURCES: &[(&str, &str)] = &[$(($path, include_str!(concat!("../", $path)))),*];
    };
}

sources! {
    "gluster/__init__.py"
    "gluster/_bridge/__init__.py"
    "gluster/_bridge/article_types.py"
    "gluster/_bridge/attributes.py"
    "gluster/_bridge/columns.py"
    "gluster/_bridge/ctypes_names.py"
    "gluster/_bridge/frames.py"
    "gluster/_bridge/halves.py"
    "gluster/_bridge/layer.py"
    "gluster/_bridge/library.py"
    "gluster/_bridge/operations.py"
    "gluster/_bridge/places.py"
    "gluster/_bridge/pointers.py"
    "gluster/_bridge/structures.py"
    "gluster/_bridge/values.py"
    "gluster/glupy/__init__.py"
    "kiln/__init__.py"
    "kiln/_codec.py"
    "kiln/_handlers.py"
    "kiln/_host.py"
    "kiln/_modules.py"
    "kiln/_names.py"
    "kiln/caches.py"
    "kiln/errors.py"
    "kiln/logging.py"
    "kiln/options.py"
    "kiln/record.py"
    "kiln/replay.py"
    "kiln/testing/__init__.py"
    "kiln/testing/strategies.py"
    "kiln/translator.py"
}

/// Makes the packages importable, before any that are installed. `kiln._native` must be in `sys.modules` before `kiln` is
/// imported. Doing it twice is doing it once.
///
/// # Errors
/// What Python raises, of which there is no known cause.
pub fn install(py: Python<'_>) -> PyResult<()> {
    let bootstrap = PyModule::from_code(
        py,
        pyo3::ffi::c_str!(include_str!("bootstrap.py")),
        c"<kiln>/bootstrap.py",
        c"_kiln_bootstrap",
    )?;
    let sources = PyDict::new(py);
    for (path, text) in SOURCES {
        sources.set_item(path, text)?;
    }
    bootstrap.getattr("install")?.call1((sources,))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn modules_under(directory: &Path, root: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(directory).expect("the package is there") {
            let path = entry.expect("a listing").path();
            if path.is_dir() {
                modules_under(&path, root, found);
            } else if path.extension().is_some_and(|extension| extension == "py") {
                found.push(path.strip_prefix(root).expect("below it").to_str().expect("ASCII").to_owned());
            }
        }
    }

    #[test]
    fn no_module_is_missing() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut found = Vec::new();
        for package in ["kiln", "gluster"] {
            modules_under(&root.join(package), root, &mut found);
        }
        found.sort();
        let mut embedded: Vec<String> = SOURCES.iter().map(|(path, _)| (*path).to_owned()).collect();
        embedded.sort();
        assert_eq!(embedded, found, "the table in embedded.rs and the files differ");
    }

    #[test]
    fn modules_come_from_the_binary_and_have_readable_tracebacks() {
        Python::initialize();
        Python::attach(|py| {
            install(py).expect("installs");
            install(py).expect("installs twice");
            let locals = PyDict::new(py);
            py.run(
                cr#"
import importlib.util, linecache, sys
spec = importlib.util.find_spec("gluster")
source = spec.loader.get_source("kiln.options")
code = spec.loader.get_code("kiln.options")
finders = [finder for finder in sys.meta_path if type(finder).__name__ == "EmbeddedSources"]
"#,
                None,
                Some(&locals),
            )
            .expect("runs");
            let text = |expression: &std::ffi::CStr| {
                py.eval(expression, None, Some(&locals)).expect("evaluates").to_string()
            };
            assert_eq!(text(c"spec.origin"), "<gluster>/__init__.py");
            assert_eq!(text(c"code.co_filename"), "<kiln>/options.py");
            assert_eq!(text(c"len(finders)"), "1");
            assert_eq!(text(c"'class Option' in source"), "True");
        });
    }
}
