//! What it costs to show a request to Python and to read the answer, without any handler in between.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use kiln_python::types::convert;
use kiln_uring::{Buf, Errno};
use kiln_xlators::error::FopError;
use kiln_xlators::fd::Fd;
use kiln_xlators::fop::any::FopOf;
use kiln_xlators::fop::{reply, request};
use kiln_xlators::types::{Dict, Gfid, Iatt, Key, Loc, Name, Value, Xdata};
use pyo3::prelude::*;

fn benches(c: &mut Criterion) {
    Python::initialize();
    Python::attach(|py| {
        let module = PyModule::new(py, "kiln._native").expect("a module can be made");
        convert::register(&module).expect("the classes can be made");
        run(py, &module, c).expect("no step raises");
    });
}

fn run(py: Python<'_>, module: &Bound<'_, PyModule>, c: &mut Criterion) -> PyResult<()> {
    let scope = module.dict();
    let ctx = py.None().into_bound(py);
    let loc = || Loc::entry(Gfid::ROOT, Name::new(b"a-name-of-a-file.txt").expect("it is a name"));
    let plain = Arc::new(request::Lookup { loc: loc(), xdata: Xdata::NONE }.wrap());
    let dict: Dict = (0..8)
        .map(|at| (Key::Owned(std::ffi::CString::new(format!("key{at}")).expect("no NUL")), Value::Uint(at)))
        .collect();
    let asking = Arc::new(request::Lookup { loc: loc(), xdata: Xdata::new(dict) }.wrap());
    let fd = Fd::file(Gfid::ROOT, 2, 1);
    let data = Buf::from_slice(&[7; 4096]);
    let writev = Arc::new(request::Writev { fd, data, offset: 0, flags: 0, xdata: Xdata::NONE }.wrap());
    let found = Arc::new(request::Lookup::wrap_reply(reply::Lookup::default()));
    let entry = reply::Entry {
        name: c"some-file".into(),
        ino: 1,
        offset: 1,
        kind: 8,
        iatt: Iatt::default(),
        xdata: Xdata::NONE,
    };
    let entries = reply::Entries { entries: vec![entry; 128], eof: false, xdata: Xdata::NONE };
    let listing = Arc::new(request::Readdirp::wrap_reply(entries));

    let mut group = c.benchmark_group("convert");
    group.bench_function("arguments/lookup", |b| b.iter(|| convert::arguments(py, &ctx, black_box(&plain))));
    group.bench_function("arguments/lookup with 8 keys", |b| {
        b.iter(|| convert::arguments(py, &ctx, black_box(&asking)));
    });
    group.bench_function("arguments/writev of 4 KiB", |b| {
        b.iter(|| convert::arguments(py, &ctx, black_box(&writev)));
    });
    group.bench_function("request_object/lookup", |b| {
        b.iter(|| convert::request_object(py, Arc::clone(black_box(&plain)), None));
    });
    let object = convert::request_object(py, Arc::clone(&plain), None)?;
    group.bench_function("getattr/request.loc", |b| b.iter(|| object.getattr(pyo3::intern!(py, "loc"))));
    group.bench_function("reply_object/lookup", |b| {
        b.iter(|| convert::reply_object(py, Arc::clone(black_box(&found))));
    });
    let object = convert::reply_object(py, Arc::clone(&found))?;
    group.bench_function("getattr/reply.iatt", |b| b.iter(|| object.getattr(pyo3::intern!(py, "iatt"))));
    let object = convert::reply_object(py, listing)?;
    group.bench_function("getattr/reply.entries of 128", |b| {
        b.iter(|| object.getattr(pyo3::intern!(py, "entries")))
    });
    group.bench_function("failure_object", |b| {
        let error = FopError::new(Errno::NOENT);
        b.iter(|| convert::failure_object(py, black_box(&error)));
    });
    for code in [c"None", c"PASS", c"Failure(2)", c"reply.Lookup(Iatt(), Iatt())", c"request.Lookup(Loc())"] {
        let value = py.eval(code, Some(&scope), None)?;
        let name = format!("outcome/{}", code.to_string_lossy());
        group.bench_function(name, |b| b.iter(|| convert::outcome(black_box(&value))));
    }
    for code in [
        c"Failure(2)",
        c"Loc.entry(ROOT, b'name')",
        c"request.Lookup(loc)",
        c"reply.Lookup(iatt, iatt)",
        c"loc.name",
        c"(loc.parent, loc.name)",
        c"iatt.size",
        c"iatt.replace(size=7)",
        c"d['key3']",
    ] {
        scope.set_item("loc", py.eval(c"Loc.entry(ROOT, b'name')", Some(&scope), None)?)?;
        scope.set_item("iatt", py.eval(c"Iatt(size=5)", Some(&scope), None)?)?;
        scope.set_item("d", py.eval(c"Dict({'key1': 1, 'key2': 2, 'key3': 3})", Some(&scope), None)?)?;
        let text = code.to_string_lossy();
        let compiled = py.import("builtins")?.call_method1("eval", (format!("lambda: {text}"), &scope))?;
        group.bench_function(format!("python/{text}"), |b| b.iter(|| compiled.call0()));
    }
    group.finish();
    Ok(())
}

criterion_group!(convert_benches, benches);
criterion_main!(convert_benches);
