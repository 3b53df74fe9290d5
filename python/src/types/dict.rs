//! `Dict`: an immutable mapping over a dictionary of the engine, which it shares as long as nobody changes it.

use std::borrow::Cow;
use std::ffi::CStr;

use kiln_xlators::types::{Dict, Gfid, Iatt, MdataTimes, Value, Xdata};
use pyo3::exceptions::{PyKeyError, PyOverflowError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyFloat, PyInt, PyMapping, PyString, PyTuple, PyType};

use super::field::{Field, dict_key, with_bytes, wrong_type};
use super::held::Held;

/// What a dictionary object shows.
#[derive(Debug)]
enum Contents {
    /// The extra dictionary of a request or reply that has none: shows nothing, and stays none.
    Absent,
    Dict(Held<Dict>),
    Xdata(Held<Xdata>),
}

static EMPTY: Dict = Dict::new();

/// An immutable mapping from `bytes` to values: `int`, `float`, `str`, `bytes`, `uuid.UUID`, `Iatt`, `MdataTimes`. Keys may be
/// asked for as `str` too. Values that nobody replaces keep their kind on the wire.
#[pyclass(frozen, mapping, module = "kiln", name = "Dict")]
#[derive(Debug)]
pub struct DictValue(Contents);

/// An unsigned integer for a `Dict`: on the wire it differs from a signed one, which every other `int` becomes that fits.
#[pyclass(frozen, eq, hash, module = "kiln")]
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Uint {
    /// The number.
    #[pyo3(get)]
    value: u64,
}

#[pymethods]
impl Uint {
    #[new]
    fn construct(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self { value: u64::from_py(value)? })
    }

    fn __int__(&self) -> u64 {
        self.value
    }

    fn __index__(&self) -> u64 {
        self.value
    }

    fn __repr__(&self) -> String {
        format!("Uint({})", self.value)
    }
}

/// `uuid.UUID`.
fn uuid_class(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    CLASS.import(py, "uuid", "UUID")
}

/// The Python object of a value.
///
/// # Errors
/// What Python raises.
pub fn value_to_py<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::Int(number) => number.into_pyobject(py)?.into_any(),
        Value::Uint(number) => number.into_pyobject(py)?.into_any(),
        Value::Double(number) => PyFloat::new(py, *number).into_any(),
        Value::Str(text) => PyString::new(py, text).into_any(),
        Value::Bin(bytes) => PyBytes::new(py, bytes).into_any(),
        Value::Gfid(gfid) => {
            let bytes = PyBytes::new(py, gfid.as_bytes());
            uuid_class(py)?.call1((py.None(), bytes))?
        }
        Value::Iatt(iatt) => iatt.to_py(py, || Held::Own(**iatt))?,
        Value::Mdata(times) => times.to_py(py, || Held::Own(**times))?,
    })
}

/// The value of a Python object. An integer is signed when it fits, unless `old` was unsigned and it fits there.
///
/// # Errors
/// `TypeError` for other types, `OverflowError` for integers beyond 64 bits, `ValueError` for text with NUL.
pub fn value_from_py(value: &Bound<'_, PyAny>, old: Option<&Value>) -> PyResult<Value> {
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(Value::Bin(bytes.as_bytes().to_vec()));
    }
    if value.cast::<PyString>().is_ok() {
        return String::from_py(value).map(Value::Str);
    }
    if value.cast::<PyInt>().is_ok() {
        return integer(value, matches!(old, Some(Value::Uint(_))));
    }
    if let Ok(number) = value.cast::<PyFloat>() {
        return Ok(Value::Double(number.value()));
    }
    if let Ok(number) = value.cast::<Uint>() {
        return Ok(Value::Uint(number.get().value));
    }
    if value.is_instance(uuid_class(value.py())?)? {
        return Ok(Value::Gfid(Gfid::from_py(&value.getattr("bytes")?)?));
    }
    if let Ok(iatt) = Iatt::from_py(value) {
        return Ok(Value::Iatt(Box::new(iatt)));
    }
    if let Ok(times) = MdataTimes::from_py(value) {
        return Ok(Value::Mdata(Box::new(times)));
    }
    Err(wrong_type("int, float, str, bytes, uuid.UUID, Iatt or MdataTimes as the value of a Dict", value))
}

fn integer(value: &Bound<'_, PyAny>, unsigned: bool) -> PyResult<Value> {
    let wide: i128 = value.extract()?;
    let (signed, natural) = (i64::try_from(wide), u64::try_from(wide));
    match (signed, natural, unsigned) {
        (_, Ok(number), true) => Ok(Value::Uint(number)),
        (Ok(number), _, _) => Ok(Value::Int(number)),
        (Err(_), Ok(number), _) => Ok(Value::Uint(number)),
        (Err(_), Err(_), _) => Err(PyOverflowError::new_err(format!("{wide} does not fit into 64 bits"))),
    }
}

/// Hands the key as a C string to `with`; `None` when no dictionary can have such a key.
fn with_key<T>(key: &Bound<'_, PyAny>, with: impl FnOnce(Option<&CStr>) -> T) -> PyResult<T> {
    with_bytes(key, "bytes or str as a key", |bytes| {
        // Keys are short: no allocation for the usual ones.
        let mut space = [0; 128];
        match space.get_mut(..=bytes.len()) {
            Some(place) => {
                place[..bytes.len()].copy_from_slice(bytes);
                Ok(with(CStr::from_bytes_with_nul(place).ok()))
            }
            None => Ok(with(std::ffi::CString::new(bytes).ok().as_deref())),
        }
    })
}

impl DictValue {
    /// The extra dictionary of a request or reply. The same object each time there is none.
    pub(super) fn of_xdata<'py>(
        py: Python<'py>,
        xdata: &Xdata,
        hold: impl FnOnce() -> Held<Xdata>,
    ) -> PyResult<Bound<'py, PyAny>> {
        static ABSENT: PyOnceLock<Py<DictValue>> = PyOnceLock::new();
        if xdata.is_none() {
            let absent = ABSENT.get_or_try_init(py, || Py::new(py, Self(Contents::Absent)))?;
            return Ok(absent.bind(py).clone().into_any());
        }
        Ok(Bound::new(py, Self(Contents::Xdata(hold())))?.into_any())
    }

    /// An object of its own.
    #[must_use]
    pub fn own(dict: Dict) -> Self {
        Self(Contents::Dict(Held::Own(dict)))
    }

    /// The dictionary.
    #[must_use]
    pub fn dict(&self) -> &Dict {
        match &self.0 {
            Contents::Absent => &EMPTY,
            Contents::Dict(held) => held.get(),
            Contents::Xdata(held) => held.get().dict().unwrap_or(&EMPTY),
        }
    }

    /// The dictionary as the extra one of a request or reply.
    fn xdata(&self) -> Xdata {
        match &self.0 {
            Contents::Absent => Xdata::NONE,
            // Python's empty dictionary means none.
            Contents::Dict(Held::Own(dict)) if dict.is_empty() => Xdata::NONE,
            Contents::Dict(held) => Xdata::new(held.get().clone()),
            Contents::Xdata(held) => held.get().clone(),
        }
    }
}

/// Sets all pairs of a mapping (or what `dict()` takes) in `dict`.
fn update(dict: &mut Dict, pairs: &Bound<'_, PyAny>) -> PyResult<()> {
    if let Ok(other) = pairs.cast::<DictValue>() {
        for (key, value) in other.get().dict().iter() {
            dict.set(Cow::Owned(key.to_owned()), value.clone());
        }
        return Ok(());
    }
    let pairs = match pairs.cast::<PyMapping>() {
        Ok(mapping) => mapping.items()?,
        Err(_) => return Err(wrong_type("a mapping", pairs)),
    };
    for pair in pairs.try_iter()? {
        let pair = pair?;
        let (key, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair.extract()?;
        let key = dict_key(&key)?;
        let value = value_from_py(&value, dict.get(&key)).map_err(|error| {
            let name = format!("value of {}", key.to_string_lossy());
            super::field::at_argument(pairs.py(), error, "Dict", &name)
        })?;
        dict.set(key, value);
    }
    Ok(())
}

fn key_to_py<'py>(py: Python<'py>, key: &CStr) -> Bound<'py, PyBytes> {
    PyBytes::new(py, key.to_bytes())
}

#[pymethods]
impl DictValue {
    #[new]
    #[pyo3(signature = (pairs = None, /))]
    fn construct(pairs: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let mut dict = Dict::new();
        if let Some(pairs) = pairs {
            update(&mut dict, pairs)?;
        }
        Ok(Self::own(dict))
    }

    fn __len__(&self) -> usize {
        self.dict().len()
    }

    fn __contains__(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        // As in every mapping, an object that can be no key is not there.
        if !key.is_instance_of::<PyBytes>() && !key.is_instance_of::<PyString>() {
            return Ok(false);
        }
        with_key(key, |key| key.is_some_and(|key| self.dict().contains(key)))
    }

    fn __getitem__<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let found = with_key(key, |key| key.and_then(|key| self.dict().get(key)))?;
        match found {
            Some(value) => value_to_py(key.py(), value),
            None => Err(PyKeyError::new_err(key.clone().unbind())),
        }
    }

    /// The value of `key`, or `default`.
    #[pyo3(signature = (key, default = None, /))]
    fn get<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = key.py();
        match with_key(key, |key| key.and_then(|key| self.dict().get(key)))? {
            Some(value) => value_to_py(py, value),
            None => Ok(default.unwrap_or_else(|| py.None().into_bound(py))),
        }
    }

    /// The kind of the value on the wire: `int`, `uint`, `double`, `str`, `bin`, `gfid`, `iatt`, `mdata`; None without one.
    #[pyo3(signature = (key, /))]
    fn kind(&self, key: &Bound<'_, PyAny>) -> PyResult<Option<&'static str>> {
        let value = with_key(key, |key| key.and_then(|key| self.dict().get(key)))?;
        Ok(value.map(|value| match value {
            Value::Int(_) => "int",
            Value::Uint(_) => "uint",
            Value::Double(_) => "double",
            Value::Str(_) => "str",
            Value::Bin(_) => "bin",
            Value::Gfid(_) => "gfid",
            Value::Iatt(_) => "iatt",
            Value::Mdata(_) => "mdata",
        }))
    }

    /// Whether `key` is there with a value that is true, as GlusterFS reads switches.
    #[pyo3(signature = (key, /))]
    fn is_set(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        with_key(key, |key| key.is_some_and(|key| self.dict().is_set(key)))
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let keys = self.dict().iter().map(|(key, _)| key_to_py(py, key)).collect::<Vec<_>>();
        Ok(PyTuple::new(py, keys)?.try_iter()?.into_any())
    }

    /// All keys.
    fn keys<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        static VIEW: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        VIEW.import(slf.py(), "collections.abc", "KeysView")?.call1((slf,))
    }

    /// All values.
    fn values<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        static VIEW: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        VIEW.import(slf.py(), "collections.abc", "ValuesView")?.call1((slf,))
    }

    /// All pairs.
    fn items<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        static VIEW: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        VIEW.import(slf.py(), "collections.abc", "ItemsView")?.call1((slf,))
    }

    /// The same with the pairs of a mapping set.
    #[pyo3(signature = (pairs, /))]
    fn replace(&self, pairs: &Bound<'_, PyAny>) -> PyResult<Self> {
        let mut dict = self.dict().clone();
        update(&mut dict, pairs)?;
        Ok(Self::own(dict))
    }

    /// The same without these keys.
    #[pyo3(signature = (*keys))]
    fn without(&self, keys: &Bound<'_, PyTuple>) -> PyResult<Self> {
        let mut dict = self.dict().clone();
        for key in keys {
            with_key(&key, |key| key.and_then(|key| dict.remove(key)))?;
        }
        Ok(Self::own(dict))
    }

    fn __or__(&self, other: &Bound<'_, PyAny>) -> PyResult<Self> {
        self.replace(other)
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = other.py();
        if let Ok(other) = other.cast::<Self>() {
            // A mapping's equality: the order does not count. NaN is not itself, as everywhere.
            let (mine, others) = (self.dict(), other.get().dict());
            return Ok(
                mine.len() == others.len() && mine.iter().all(|(key, value)| others.get(key) == Some(value))
            );
        }
        let Ok(other) = other.cast::<PyMapping>() else { return Ok(false) };
        if other.len()? != self.dict().len() {
            return Ok(false);
        }
        for (key, value) in self.dict().iter() {
            let key = key_to_py(py, key);
            if !other.contains(&key)? || !other.get_item(&key)?.eq(value_to_py(py, value)?)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let mut text = String::from("Dict({");
        for (at, (key, value)) in self.dict().iter().enumerate() {
            let separator = if at == 0 { "" } else { ", " };
            let value = value_to_py(py, value)?.repr()?;
            text.push_str(&format!("{separator}{}: {value}", key_to_py(py, key).repr()?));
        }
        text.push_str("})");
        Ok(text)
    }
}

/// The value of an argument that is a dictionary: a `Dict`, or a mapping.
fn from_mapping(value: &Bound<'_, PyAny>) -> PyResult<Dict> {
    if let Ok(object) = value.cast::<DictValue>() {
        return Ok(object.get().dict().clone());
    }
    if value.cast::<PyMapping>().is_err() {
        return Err(wrong_type("Dict or a mapping", value));
    }
    let mut dict = Dict::new();
    update(&mut dict, value)?;
    Ok(dict)
}

impl Field for Dict {
    const GIVES: &'static str = "Dict";
    const TAKES: &'static str = "_Pairs";

    fn to_py<'py>(&self, py: Python<'py>, hold: impl FnOnce() -> Held<Self>) -> PyResult<Bound<'py, PyAny>> {
        Ok(Bound::new(py, DictValue(Contents::Dict(hold())))?.into_any())
    }

    fn from_py(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        from_mapping(value)
    }

    fn again(&self) -> Self {
        self.clone()
    }
}

impl Field for Xdata {
    const GIVES: &'static str = "Dict";
    const TAKES: &'static str = "_Pairs | None";

    #[inline]
    fn to_py<'py>(&self, py: Python<'py>, hold: impl FnOnce() -> Held<Self>) -> PyResult<Bound<'py, PyAny>> {
        DictValue::of_xdata(py, self, hold)
    }

    fn from_py(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        if value.is_none() {
            return Ok(Self::NONE);
        }
        if let Ok(object) = value.cast::<DictValue>() {
            return Ok(object.get().xdata());
        }
        let dict = from_mapping(value)?;
        Ok(if dict.is_empty() { Self::NONE } else { Self::new(dict) })
    }

    fn again(&self) -> Self {
        self.clone()
    }
}

/// Adds the classes, and makes `Dict` a `collections.abc.Mapping`.
///
/// # Errors
/// What Python raises.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<DictValue>()?;
    module.add_class::<Uint>()?;
    PyMapping::register::<DictValue>(module.py())
}
