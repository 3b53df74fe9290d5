use std::path::Path;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::{check, module, with_python};

/// The type stubs say what the classes are. With `KILN_UPDATE_STUBS` in the environment they are written.
#[test]
fn the_type_stubs_are_up_to_date() {
    with_python(|py, scope| {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let script = package.join("tools/generate_native_stubs.py");
        let generator = py.import("runpy").unwrap().call_method1("run_path", (script,)).unwrap();
        let render = generator.get_item("render").unwrap();
        let stubs = render.call1((module(py),)).unwrap().cast_into::<PyDict>().unwrap();
        for (name, text) in stubs.iter() {
            let path = package.join("kiln").join(name.to_string());
            let text = text.to_string();
            if std::env::var_os("KILN_UPDATE_STUBS").is_some() {
                std::fs::write(&path, &text).unwrap();
            }
            let old = std::fs::read_to_string(&path).unwrap();
            assert_eq!(old, text, "KILN_UPDATE_STUBS=1 cargo test -p kiln-python stubs");
        }
        scope.set_item("stubs", stubs).unwrap();
        check(py, scope, NAMES);
    });
}

/// Every class has in the stub what it has in truth, and the other way round.
const NAMES: &str = r#"
import ast, builtins
def names(nodes):
    for node in nodes:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.AnnAssign):
            yield node.target.id
        elif isinstance(node, ast.Assign):
            yield node.targets[0].id
def public(all):
    return {name for name in all if not name.startswith("_")}
count = 0
for file, home in (("_native.pyi", None), ("request.pyi", request), ("reply.pyi", reply)):
    tree = ast.parse(stubs[file])
    truth = dict(globals()) if home is None else vars(home)
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name in truth:
            real = truth[node.name]
            own = public(vars(real)) - {"real", "imag"}
            assert own == public(names(node.body)), (node.name, own ^ public(names(node.body)))
            count += 1
    if home is not None:
        assert public(vars(home)) == public(names(tree.body)), file
assert count > 110, count
"#;
