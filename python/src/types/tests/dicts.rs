use std::borrow::Cow;
use std::ffi::CString;
use std::sync::Arc;

use kiln_uring::sys::Timespec;
use kiln_xlators::fop::any::{AnyRequest, FopOf};
use kiln_xlators::fop::request;
use kiln_xlators::types::{Dict, Gfid, IaType, Iatt, Loc, MdataTimes, Value, Xdata};
use proptest::collection::vec;
use proptest::prelude::*;
use pyo3::prelude::*;

use super::{check, with_python};
use crate::types::convert;
use crate::types::dict::DictValue;
use crate::types::field::Field;

#[test]
fn a_dict_is_a_mapping() {
    with_python(|py, scope| {
        check(
            py,
            scope,
            r#"
import uuid
from collections.abc import Mapping
id = uuid.UUID("5b0f4ad7-3c1e-4d52-9c5c-0a1b2c3d4e5f")
plain = {b"int": -5, b"big": 2**64 - 1, b"float": 1.5, b"str": "text", b"bin": b"\0\1", b"gfid": id,
         b"iatt": Iatt(size=3), b"mdata": MdataTimes(mtime=4), b"truth": True}
d = Dict(plain)
assert isinstance(d, Mapping) and len(d) == 9 and d == plain and plain == d and d == Dict(plain) and d != {b"int": -5}
assert dict(d) == plain and list(d) == list(plain) == list(d.keys()) and list(d.values()) == list(plain.values())
assert d.keys() & {b"int", b"x"} == {b"int"} and (b"int", -5) in d.items() and len(d.values()) == 9
assert 5 not in d and None not in d
assert b"int" in d and "int" in d and b"none" not in d and b"a\0b" not in d and "x" * 5000 not in d
assert d["int"] == d[b"int"] == -5 and d.get(b"none") is None and d.get("none", 3) == 3 and d.get(b"int") == -5
assert {**{k.decode(): v for k, v in d.items()}}["str"] == "text"
kinds = {key: d.kind(key) for key in d}
assert kinds == {b"int": "int", b"big": "uint", b"float": "double", b"str": "str", b"bin": "bin", b"gfid": "gfid",
                 b"iatt": "iatt", b"mdata": "mdata", b"truth": "int"}, kinds
assert d.kind(b"none") is None
assert d.without(b"int", "none", *list(d)[1:]) == {} and len(d) == 9
assert (d | {b"int": 6, "new": 7}) == d.replace({b"int": 6, "new": 7}) == {**plain, b"int": 6, b"new": 7}
unsigned = Dict({b"n": Uint(5)})
assert unsigned.kind(b"n") == "uint" and unsigned[b"n"] == 5 and int(Uint(5)) == 5
assert unsigned.replace({b"n": 6}).kind(b"n") == "uint" and unsigned.replace({b"n": -6}).kind(b"n") == "int"
assert Dict({b"s": "no"}).is_set(b"s") is False and Dict({b"s": 1}).is_set("s") is True
assert repr(Dict({b"a": 1, b"b": "x"})) == "Dict({b'a': 1, b'b': 'x'})"
raises(KeyError, "none", lambda: d[b"none"])
raises(TypeError, "expected bytes or str as a key, got int", lambda: d[5])
raises(TypeError, "Dict(value of a): expected int, float, str", lambda: Dict({b"a": None}))
raises(OverflowError, "does not fit into 64 bits", lambda: Dict({b"a": 2**64}))
raises(OverflowError, "does not fit into 64 bits", lambda: Dict({b"a": -2**63 - 1}))
raises(ValueError, "text holds no NUL", lambda: Dict({b"a": "x\0y"}))
raises(ValueError, "a key holds no NUL", lambda: Dict({b"a\0b": 1}))
raises(TypeError, "expected a mapping, got list", lambda: Dict([(b"a", 1)]))
raises(TypeError, "unhashable", lambda: hash(d))
"#,
        );
    });
}

#[test]
fn no_dictionary_stays_none_and_an_empty_one_stays_empty() {
    with_python(|py, scope| {
        for xdata in [Xdata::NONE, Xdata::new(Dict::new())] {
            let request = request::Lookup { loc: Loc::object(Gfid::ROOT), xdata: xdata.clone() }.wrap();
            let object = convert::request_object(py, Arc::new(request), None).unwrap();
            scope.set_item("seen", object.getattr("xdata").unwrap()).unwrap();
            check(py, scope, "assert seen == {} and not seen and seen == Dict()");
            let made =
                object.get_type().call1((object.getattr("loc").unwrap(), object.getattr("xdata").unwrap()));
            assert_eq!(xdata_of(&made.unwrap()), xdata);
        }
        for code in [c"request.Lookup(Loc())", c"request.Lookup(Loc(), {})", c"request.Lookup(Loc(), Dict())"]
        {
            let made = py.eval(code, Some(scope), None).unwrap();
            assert_eq!(xdata_of(&made), Xdata::NONE);
        }
    });
}

fn xdata_of(object: &Bound<'_, PyAny>) -> Xdata {
    match convert::outcome(object).unwrap() {
        convert::Value::Wind(request) => match &*request {
            AnyRequest::Lookup(request) => request.xdata.clone(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn time() -> impl Strategy<Value = Timespec> {
    (any::<i64>(), 0..1_000_000_000_u32).prop_map(|(sec, nsec)| Timespec { sec, nsec })
}

fn value() -> impl Strategy<Value = Value> {
    let iatt =
        (any::<[u8; 16]>(), any::<u32>(), any::<u64>(), time()).prop_map(|(gfid, uid, size, mtime)| {
            let gfid = Gfid::from_bytes(gfid);
            Value::Iatt(Box::new(Iatt { gfid, kind: IaType::Fifo, uid, size, mtime, ..Iatt::default() }))
        });
    let mdata = (time(), time(), time())
        .prop_map(|(ctime, mtime, atime)| Value::Mdata(Box::new(MdataTimes { ctime, mtime, atime })));
    prop_oneof![
        any::<i64>().prop_map(Value::Int),
        any::<u64>().prop_map(Value::Uint),
        (-1e300..1e300_f64).prop_map(Value::Double),
        "[^\0]{0,20}".prop_map(Value::Str),
        vec(any::<u8>(), 0..40).prop_map(Value::Bin),
        any::<[u8; 16]>().prop_map(|bytes| Value::Gfid(Gfid::from_bytes(bytes))),
        iatt,
        mdata,
    ]
}

fn dict() -> impl Strategy<Value = Dict> {
    let key = vec(1..=255_u8, 0..300).prop_map(|bytes| Cow::Owned(CString::new(bytes).unwrap()));
    vec((key, value()), 0..8).prop_map(|pairs| pairs.into_iter().collect())
}

proptest! {
    #[test]
    fn a_dictionary_passes_through_python_unchanged(original in dict()) {
        with_python(|py, scope| {
            scope.set_item("d", DictValue::own(original.clone())).unwrap();
            for code in [c"d", c"Dict(d)", c"d.replace({})", c"d.without(b'no such key \\1')", c"d | d", c"d.replace(d)",
                c"d.replace({b'more': 1}).without('more') if b'more' not in d else d",
            ] {
                let object = py.eval(code, Some(scope), None).unwrap();
                assert_eq!(Dict::from_py(&object).unwrap(), original, "{code:?}");
            }
        });
    }

    /// Through a plain `dict` all stays but the sign's kind, which a plain `int` cannot tell.
    #[test]
    fn a_plain_dict_keeps_all_values(original in dict()) {
        with_python(|py, scope| {
            scope.set_item("d", DictValue::own(original.clone())).unwrap();
            let object = py.eval(c"Dict(dict(d))", Some(scope), None).unwrap();
            let expected: Dict = original.into_iter().map(|(key, value)| match value {
                Value::Uint(number) => (key, i64::try_from(number).map_or(Value::Uint(number), Value::Int)),
                value => (key, value),
            }).collect();
            assert_eq!(Dict::from_py(&object).unwrap(), expected);
            check(py, scope, "assert Dict(dict(d)) == dict(d) == d and len(d) == len(list(d)) and repr(d)");
        });
    }
}
