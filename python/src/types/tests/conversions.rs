use std::sync::Arc;

use kiln_uring::{Buf, Errno};
use kiln_xlators::error::FopError;
use kiln_xlators::fd::Fd;
use kiln_xlators::fop::any::{AnyRequest, FopOf};
use kiln_xlators::fop::{reply, request};
use kiln_xlators::types::{Gfid, Iatt, Loc, Name, Xdata};
use pyo3::prelude::*;

use super::{check, with_python};
use crate::types::convert::{self, Raised, Value};

fn eval(py: Python<'_>, scope: &Bound<'_, pyo3::types::PyDict>, code: &str) -> PyResult<Value> {
    let code = std::ffi::CString::new(code).unwrap();
    convert::outcome(&py.eval(&code, Some(scope), None).unwrap())
}

#[test]
fn outcomes_are_what_they_say() {
    with_python(|py, scope| {
        assert!(matches!(eval(py, scope, "None"), Ok(Value::Pass)));
        assert!(matches!(eval(py, scope, "PASS"), Ok(Value::Pass)));
        assert!(matches!(eval(py, scope, "LATER"), Ok(Value::Later)));
        let Ok(Value::Fail(error)) = eval(py, scope, "Failure(2, postparent=Iatt(gfid=ROOT))") else {
            panic!()
        };
        assert_eq!(
            error,
            FopError::new(Errno::NOENT).with_postparent(Iatt { gfid: Gfid::ROOT, ..Iatt::default() })
        );
        let Ok(Value::Wind(request)) = eval(py, scope, "request.Lookup(Loc.entry(ROOT, 'x'))") else {
            panic!()
        };
        let AnyRequest::Lookup(lookup) = &*request else { panic!("{request:?}") };
        assert_eq!(lookup.loc, Loc::entry(Gfid::ROOT, Name::new(b"x").unwrap()));
        assert!(matches!(eval(py, scope, "reply.Stat(Iatt())"), Ok(Value::Reply(_))));
        for wrong in ["0", "False", "Iatt()", "Failure", "[]", "reply.Stat"] {
            let error = eval(py, scope, wrong).unwrap_err().to_string();
            assert!(error.starts_with("TypeError: expected None, PASS, LATER"), "{error}");
        }
        assert!(eval(py, scope, "5").unwrap_err().to_string().ends_with("got int"));
    });
}

#[test]
fn wrong_arguments_are_named() {
    with_python(|py, scope| {
        check(
            py,
            scope,
            r#"
fd = Fd.file(ROOT)
raises(TypeError, "request.Lookup(loc): expected Loc, got str", lambda: request.Lookup("/x"))
raises(TypeError, "request.Open(fd): expected Fd, got int", lambda: request.Open(Loc(), 0, 3))
raises(OverflowError, "request.Readv(size): 4294967296 is not in", lambda: request.Readv(fd, 2**32, 0, 0))
raises(OverflowError, "request.Readv(offset): -1 is not in", lambda: request.Readv(fd, 1, -1, 0))
raises(TypeError, "request.Fsync(data_only): expected bool, got int", lambda: request.Fsync(fd, 1))
raises(TypeError, "request.Lk(cmd): expected LkCmd, got str", lambda: request.Lk(fd, "x", Flock()))
raises(ValueError, "request.Lk(cmd): 7 is no LkCmd", lambda: request.Lk(fd, 7, Flock()))
raises(ValueError, "request.Lk(cmd): -1 is no LkCmd", lambda: request.Lk(fd, -1, Flock()))
raises(ValueError, "1 to 255 bytes", lambda: request.Removexattr(Loc(), ""))
raises(ValueError, "request.Symlink(target): no NUL", lambda: request.Symlink(b"a\0b", Loc(), 0))
raises(TypeError, "request.Writev(data): expected bytes or another contiguous buffer, got str", lambda: request.Writev(fd, "x", 0, 0))
raises(TypeError, "request.Lookup(xdata): expected Dict or a mapping, got list", lambda: request.Lookup(Loc(), []))
raises(TypeError, "missing 1 required positional argument: 'loc'", lambda: request.Lookup())
raises(TypeError, "", lambda: request.Lookup(Loc(), None, 3))
raises(ValueError, "reply.Rchecksum(strong): expected a strong checksum: 32 bytes", lambda: reply.Rchecksum(1, b"x"))
raises(TypeError, "reply.Readdirp(entries): expected Dirent, got int", lambda: reply.Readdirp([1], True))
raises(TypeError, "reply.Readdirp(entries): 'int' object is not iterable", lambda: reply.Readdirp(1, True))
raises(TypeError, "cannot create 'kiln.request.Request' instances", lambda: request.Request())
for attribute in "loc", "ctx", "fop":
    raises(AttributeError, "not writable", lambda: setattr(request.Lookup(Loc()), attribute, 1))
assert request.Getxattr(Loc(), None).name is None and request.Lookup(Loc()).ctx is None
assert request.Lookup(Loc()) == request.Lookup(Loc()) != request.Stat(Loc()) and request.Lookup(Loc()) != 5
match request.Lookup(Loc.object(ROOT)):
    case request.Lookup(Loc(gfid=gfid)):
        assert gfid == ROOT
"#,
        );
    });
}

#[test]
fn data_is_shared_and_outlives_its_request() {
    with_python(|py, scope| {
        let mut data = Buf::from_slice(&[b'x'; 10_000]);
        data.advance(100);
        let address = data.as_ptr().addr();
        let fd = Fd::file(Gfid::ROOT, 0, 0);
        let request = request::Writev { fd, data, offset: 0, flags: 0, xdata: Xdata::NONE };
        let shared = Arc::new(request.wrap());
        let weak = Arc::downgrade(&shared);
        scope.set_item("writev", convert::request_object(py, Arc::clone(&shared), None).unwrap()).unwrap();
        drop(shared);
        check(
            py,
            scope,
            r#"
import array
view = writev.data
assert isinstance(view, memoryview) and view.readonly and len(view) == 9900 and view.format == "B" and view.contiguous
assert view == b"x" * 9900 and view[5:7] == b"xx" and view.obj.__class__ is Data and len(view.obj) == 9900
raises(TypeError, "cannot modify read-only memory", lambda: view.__setitem__(0, 1))
part = view[1:]
del view, writev
same = request.Writev(Fd.file(), part, 0, 0).data
assert same == part and len(same) == 9899
numbers = array.array("H", [1, 2, 3])
for data in b"abc", bytearray(b"abc"), memoryview(b"abc"), memoryview(b"a-b-c")[::2], b"", memoryview(b""), numbers:
    made = request.Writev(Fd.file(), data, 0, 0).data
    assert made == bytes(data) and made.readonly, (data, bytes(made))
"#,
        );
        let part: pyo3::buffer::PyBuffer<u8> =
            pyo3::buffer::PyBuffer::get(&scope.get_item("part").unwrap().unwrap()).unwrap();
        assert_eq!(part.buf_ptr().addr(), address + 1, "the view must not be a copy");
        drop(part);
        assert!(weak.upgrade().is_some());
        check(py, scope, "del part");
        assert!(weak.upgrade().is_none(), "nobody looks any more");
    });
}

#[test]
fn a_listing_is_made_once_and_its_entries_outlive_it() {
    with_python(|py, scope| {
        let entry = reply::Entry {
            name: c"name".into(),
            ino: 5,
            offset: 6,
            kind: 8,
            iatt: Iatt { size: 7, ..Iatt::default() },
            xdata: Xdata::NONE,
        };
        let listing = reply::Entries { entries: vec![entry; 100], eof: true, xdata: Xdata::NONE };
        let reply = Arc::new(request::Readdirp::wrap_reply(listing));
        scope.set_item("listing", convert::reply_object(py, reply).unwrap()).unwrap();
        check(
            py,
            scope,
            r#"
entries = listing.entries
last = entries[-1]
assert type(entries) is tuple and len(entries) == 100 and listing.eof is True
smaller = listing.replace(entries=[entry for entry in entries[:3]])
del listing, entries
assert (last.name, last.ino, last.offset, last.kind, last.iatt.size, last.xdata) == (b"name", 5, 6, DT_REG, 7, {})
assert len(smaller.entries) == 3 and smaller.entries[0] == last and smaller.eof
"#,
        );
    });
}

#[test]
fn a_request_in_a_cycle_with_its_context_is_collected() {
    with_python(|py, scope| {
        check(py, scope, "class Ctx: pass\nctx = Ctx()\nimport weakref, gc\nalive = weakref.ref(ctx)");
        let request = request::Lookup { loc: Loc::default(), xdata: Xdata::NONE };
        let ctx = scope.get_item("ctx").unwrap().unwrap().unbind();
        let object = convert::request_object(py, Arc::new(request.wrap()), Some(ctx)).unwrap();
        scope.set_item("object", object).unwrap();
        check(py, scope, "ctx.local = object\ndel ctx, object\ngc.collect()\nassert alive() is None");
    });
}

fn raised(code: &str) -> Raised {
    let mut result = None;
    with_python(|py, scope| {
        check(
            py,
            scope,
            "import errno\nclass FopError(OSError): pass\ndef error(failure):\n  e = FopError(5)\n  e.failure = failure\n  return e\n",
        );
        let code = std::ffi::CString::new(code).unwrap();
        let error = py.run(&code, Some(scope), None).unwrap_err();
        result = Some(convert::raised(py, error));
    });
    result.unwrap()
}

#[test]
fn exceptions_are_failures_or_bugs() {
    for (code, errno) in [
        ("raise OSError(errno.ENOSPC, 'full')", Errno::NOSPC),
        ("raise PermissionError(errno.EACCES, 'no')", Errno::ACCESS),
        ("open('/no/such/file')", Errno::NOENT),
        ("raise OSError", Errno::IO),
        ("raise OSError('only text')", Errno::IO),
        ("raise TimeoutError", Errno::IO),
        ("raise OSError(0, 'none')", Errno::IO),
        ("raise OSError(-2, 'negative')", Errno::IO),
        ("raise OSError(99999, 'large')", Errno::IO),
        ("raise OSError(2**80, 'huge')", Errno::IO),
        ("raise OSError('x', 'y')", Errno::IO),
    ] {
        match raised(code) {
            Raised::Errno(error) => assert_eq!(error, FopError::new(errno), "{code}"),
            other => panic!("{code}: {other:?}"),
        }
    }
    match raised("raise error(Failure(errno.EDQUOT, {b'k': 1}))") {
        Raised::Errno(error) => {
            assert_eq!(error.errno, Errno::DQUOT);
            assert!(error.detail.unwrap().xdata.contains(c"k"));
        }
        other => panic!("{other:?}"),
    }
    match raised("def deep():\n    return {}['missing']\ndef outer():\n    deep()\nouter()") {
        Raised::Bug { kind, traceback } => {
            assert_eq!(kind, "KeyError at <string>:2 in deep");
            assert!(traceback.starts_with("Traceback (most recent call last)"), "{traceback}");
            assert!(
                traceback.contains("in outer") && traceback.ends_with("KeyError: 'missing'\n"),
                "{traceback}"
            );
        }
        other => panic!("{other:?}"),
    }
    assert!(
        matches!(raised("raise KeyboardInterrupt"), Raised::Bug { kind, .. } if kind.starts_with("KeyboardInterrupt at"))
    );
}

#[test]
fn descriptors_and_callers_cross_too() {
    with_python(|py, scope| {
        let fd = Fd::directory(Gfid::ROOT, 1);
        let object = convert::fd_object(py, &fd).unwrap();
        assert!(Arc::ptr_eq(&convert::fd_of(&object).unwrap(), &fd));
        assert!(convert::fd_of(scope.as_any()).unwrap_err().to_string().contains("expected Fd, got dict"));
        let caller = kiln_xlators::call::Caller { uid: 7, groups: [1, 2].into(), ..Default::default() };
        scope.set_item("caller", Py::new(py, crate::types::Caller::from(&caller)).unwrap()).unwrap();
        check(py, scope, "assert caller == Caller(uid=7, groups=(1, 2))");
    });
}
