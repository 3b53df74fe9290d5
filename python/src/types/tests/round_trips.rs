use std::ffi::CString;
use std::sync::Arc;

use kiln_uring::Buf;
use kiln_uring::sys::{StatFs, Timespec};
use kiln_xlators::fd::{Fd, FdRef};
use kiln_xlators::fop::any::{AnyReply, AnyRequest, FopOf};
use kiln_xlators::fop::reply::{self, Entry};
use kiln_xlators::fop::request::{self, LeaseSpec, SeekWhat, SetAttr, SetAttrValid, XattropOp};
use kiln_xlators::types::{
    ActiveLock, Dict, EntrylkCmd, Flock, Gfid, IaType, Iatt, Key, LkCmd, Loc, LockOwner, LockType, Name,
    Value, Xdata,
};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::with_python;
use crate::types::convert;

/// A value that differs from the default.
trait Sample {
    fn sample() -> Self;
}

macro_rules! samples {
    ($($type:ty = $value:expr;)*) => {
        $(impl Sample for $type {
            fn sample() -> Self {
                $value
            }
        })*
    };
}

samples! {
    u32 = 0xfedc_ba98;
    u64 = u64::MAX - 1;
    i32 = -7;
    usize = 12345;
    bool = true;
    CString = c"target/../x".to_owned();
    String = "domain".to_owned();
    Name = Name::new("näme".as_bytes()).unwrap();
    Key = Key::Borrowed(c"user.key");
    Option<Key> = Some(Key::sample());
    Option<Name> = Some(Name::sample());
    Loc = Loc::known_entry(Gfid::from_bytes([9; 16]), Gfid::ROOT, Name::sample());
    FdRef = Fd::file(Gfid::ROOT, 2, 77);
    Dict = [(c"one", Value::Uint(1)), (c"two", Value::Bin(vec![0, 1]))]
        .into_iter().map(|(key, value)| (Key::Borrowed(key), value)).collect();
    Xdata = Xdata::new(Dict::sample());
    Buf = Buf::from_slice(b"data \0 and more");
    LkCmd = LkCmd::ReserveWait;
    EntrylkCmd = EntrylkCmd::TryLock;
    LockType = LockType::Write;
    XattropOp = XattropOp::AddArray64WithDefault;
    SeekWhat = SeekWhat::Hole;
    Flock = Flock { kind: LockType::Read, start: -1, len: i64::MAX, pid: -6, owner: LockOwner::new(b"owner") };
    SetAttr = SetAttr {
        valid: SetAttrValid::all(), prot: 0o7777, uid: 1, gid: 2, atime: Timespec::sample(), ..SetAttr::default()
    };
    Timespec = Timespec { sec: -5, nsec: 999_999_999 };
    LeaseSpec = LeaseSpec { cmd: 1, kind: 2, id: [3; 16], flags: 4 };
    Vec<ActiveLock> = vec![ActiveLock { flock: Flock::sample(), client: "client".into(), flags: 9 }; 3];
    Iatt = Iatt {
        gfid: Gfid::from_bytes([8; 16]), kind: IaType::Socket, prot: 1, nlink: 2, uid: 3, gid: 4, dev: 5, rdev: 6, size: 7,
        blocks: 8, blksize: 9, atime: Timespec::sample(), mtime: Timespec { sec: 1, nsec: 2 },
        ctime: Timespec { sec: i64::MIN, nsec: 0 },
    };
    Vec<u8> = b"link/target".to_vec();
    [u8; 32] = [0xab; 32];
    StatFs = StatFs { bsize: 4096, files: u64::MAX, ..StatFs::default() };
    Vec<Entry> = [&b"."[..], b"..", b"file"].map(|name| Entry {
        name: CString::new(name).unwrap(), ino: 1, offset: u64::MAX, kind: 8, iatt: Iatt::sample(), xdata: Xdata::sample(),
    }).into();
}

macro_rules! reply_samples {
    ($(#[doc = $doc:literal] $(#[derive($derive:ident)])? $reply:ident {
        $(#[doc = $field_doc:literal] $field:ident : $type:ty,)*
    })*) => {
        $(impl Sample for reply::$reply {
            fn sample() -> Self {
                Self { $($field: Sample::sample(),)* xdata: Xdata::sample() }
            }
        })*
    };
}

kiln_xlators::for_each_reply!(reply_samples);

macro_rules! all {
    ($(#[doc = $doc:literal] $variant:ident $method:ident $number:literal $access:ident $subject:ident
        ($($arg:ident : $type:ty),*) -> $reply:ident;)*) => {
        fn requests() -> Vec<AnyRequest> {
            vec![$(request::$variant { $($arg: Sample::sample(),)* xdata: Xdata::sample() }.wrap()),*]
        }

        fn replies() -> Vec<AnyReply> {
            vec![$(request::$variant::wrap_reply(Sample::sample())),*]
        }
    };
}

kiln_xlators::for_each_fop!(all);

/// The same object made by Python from the attributes: by position, by name, by `replace`.
fn remade<'py>(object: &Bound<'py, PyAny>) -> Vec<Bound<'py, PyAny>> {
    let py = object.py();
    let names: Vec<String> = object.getattr("__match_args__").unwrap().extract().unwrap();
    let values: Vec<_> = names.iter().map(|name| object.getattr(name.as_str()).unwrap()).collect();
    let keywords = PyDict::new(py);
    for (name, value) in names.iter().zip(&values) {
        keywords.set_item(name, value).unwrap();
    }
    let class = object.get_type();
    let by_position = class.call1(PyTuple::new(py, values).unwrap()).unwrap();
    let by_name = class.call((), Some(&keywords)).unwrap();
    let replaced = object.call_method("replace", (), Some(&keywords)).unwrap();
    vec![by_position, by_name, replaced, object.call_method0("replace").unwrap()]
}

fn check_object(object: &Bound<'_, PyAny>, read: impl Fn(convert::Value) -> String) {
    let outcome = |object: &Bound<'_, PyAny>| read(convert::outcome(object).unwrap());
    let original = outcome(object);
    for twin in remade(object) {
        assert!(!twin.is(object));
        assert!(twin.eq(object).unwrap(), "{twin} is not {object}");
        assert_eq!(outcome(&twin), original);
    }
    let nothing = object.call_method("replace", (), Some(&keywords(object.py(), "no_such"))).unwrap_err();
    assert!(nothing.to_string().contains("has no field `no_such`"), "{nothing}");
    let absent = object.call_method("replace", (), Some(&keywords(object.py(), "xdata"))).unwrap();
    assert!(!absent.eq(object).unwrap());
    assert!(object.repr().unwrap().to_string().contains("xdata=Dict({b'one': 1, b'two': b'\\x00\\x01'})"));
}

fn keywords<'py>(py: Python<'py>, name: &str) -> Bound<'py, PyDict> {
    let keywords = PyDict::new(py);
    keywords.set_item(name, py.None()).unwrap();
    keywords
}

#[test]
fn every_request_passes_through_python_unchanged() {
    with_python(|py, _| {
        for request in requests() {
            let request = Arc::new(request);
            let ctx = PyDict::new(py).into_any();
            let object =
                convert::request_object(py, Arc::clone(&request), Some(ctx.clone().unbind())).unwrap();
            assert_eq!(object.getattr("fop").unwrap().to_string(), request.fop().name());
            assert!(object.getattr("ctx").unwrap().is(&ctx));
            check_object(&object, |value| match value {
                convert::Value::Wind(request) => format!("{request:?} {:?}", data_of(&request)),
                other => panic!("{other:?}"),
            });
            let arguments = convert::arguments(py, &ctx, &request).unwrap();
            let names: Vec<String> = object.getattr("__match_args__").unwrap().extract().unwrap();
            assert!(arguments.get_item(0).unwrap().is(&ctx));
            assert_eq!(arguments.len(), names.len() + 1);
            for (argument, name) in arguments.iter().skip(1).zip(names) {
                assert!(argument.eq(object.getattr(name).unwrap()).unwrap());
            }
        }
    });
}

/// The bytes of a buffer, which its representation leaves out.
fn data_of(request: &AnyRequest) -> Option<&[u8]> {
    match request {
        AnyRequest::Writev(request) => Some(&request.data),
        AnyRequest::Put(request) => Some(&request.data),
        _ => None,
    }
}

#[test]
fn every_reply_passes_through_python_unchanged() {
    with_python(|py, _| {
        for reply in replies() {
            let reply = Arc::new(reply);
            let object = convert::reply_object(py, Arc::clone(&reply)).unwrap();
            assert_eq!(object.getattr("fop").unwrap().to_string(), reply.fop().name());
            check_object(&object, |value| match value {
                convert::Value::Reply(reply) => match &*reply {
                    AnyReply::Readv(read) => format!("{read:?} {:?}", &read.data[..]),
                    reply => format!("{reply:?}"),
                },
                other => panic!("{other:?}"),
            });
        }
    });
}
