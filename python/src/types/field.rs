//! How an argument of a fop or a field of a reply becomes a Python object, and back. One implementation per type; the
//! request and reply classes are made from these.

use std::borrow::Cow;
use std::ffi::CString;

use kiln_uring::Errno;
use kiln_uring::sys::Timespec;
use kiln_xlators::fop::request::SetAttrValid;
use kiln_xlators::types::dict::key_from_bytes;
use kiln_xlators::types::{Gfid, Key, LockOwner, Name};
use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyString, PyTuple};

use super::held::Held;

/// A type that requests or replies are made of.
pub trait Field: Sized + 'static {
    /// What an attribute of this type gives, in the notation of the type stubs.
    const GIVES: &'static str;
    /// What a constructor takes for it.
    const TAKES: &'static str = Self::GIVES;

    /// The Python object. `hold` hands out the value together with what it is a part of, for types that are better
    /// shared than copied.
    ///
    /// # Errors
    /// What Python raises; mostly out of memory.
    fn to_py<'py>(&self, py: Python<'py>, hold: impl FnOnce() -> Held<Self>) -> PyResult<Bound<'py, PyAny>>;

    /// The value of a Python object.
    ///
    /// # Errors
    /// `TypeError` for another type, `ValueError` or `OverflowError` for what this type cannot hold.
    fn from_py(value: &Bound<'_, PyAny>) -> PyResult<Self>;

    /// A second one. Data is copied.
    fn again(&self) -> Self;
}

/// A `TypeError` that says what came instead of `expected`.
pub fn wrong_type(expected: &str, value: &Bound<'_, PyAny>) -> PyErr {
    let name = value.get_type().name().map_or_else(|_| "another type".to_owned(), |name| name.to_string());
    PyTypeError::new_err(format!("expected {expected}, got {name}"))
}

/// The same error with the place in front of its sentence: `request.Lookup(loc): expected Loc, got str`.
#[cold]
pub fn at_argument(py: Python<'_>, error: PyErr, class: &str, argument: &str) -> PyErr {
    let kind = error.get_type(py);
    let simple = kind.is(py.get_type::<PyTypeError>())
        || kind.is(py.get_type::<PyValueError>())
        || kind.is(py.get_type::<PyOverflowError>());
    if !simple {
        return error;
    }
    PyErr::from_type(kind, format!("{class}({argument}): {}", error.value(py)))
}

/// Bytes, or text as UTF-8, handed to `with`.
///
/// # Errors
/// `TypeError` for other types, `UnicodeEncodeError` for text with lone surrogates, and what `with` says.
pub fn with_bytes<T>(
    value: &Bound<'_, PyAny>,
    expected: &str,
    with: impl FnOnce(&[u8]) -> PyResult<T>,
) -> PyResult<T> {
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return with(bytes.as_bytes());
    }
    match value.cast::<PyString>() {
        Ok(text) => with(text.to_str()?.as_bytes()),
        Err(_) => Err(wrong_type(expected, value)),
    }
}

/// Exactly `N` bytes.
fn array<const N: usize>(value: &Bound<'_, PyAny>, what: &str) -> PyResult<[u8; N]> {
    let bytes = value.cast::<PyBytes>().map_err(|_| wrong_type(what, value))?.as_bytes();
    bytes
        .try_into()
        .map_err(|_| PyValueError::new_err(format!("expected {what}: {N} bytes, not {}", bytes.len())))
}

/// A key of any length without NUL, as dictionaries hold them.
///
/// # Errors
/// `TypeError` for what is neither bytes nor text, `ValueError` with a NUL inside.
pub fn dict_key(value: &Bound<'_, PyAny>) -> PyResult<Key> {
    with_bytes(value, "bytes or str as a key", |bytes| {
        CString::new(bytes).map(Cow::Owned).map_err(|_| PyValueError::new_err("a key holds no NUL"))
    })
}

macro_rules! integers {
    ($($type:ty)*) => {
        $(impl Field for $type {
            const GIVES: &'static str = "int";

            #[inline]
            fn to_py<'py>(
                &self,
                py: Python<'py>,
                _: impl FnOnce() -> Held<Self>,
            ) -> PyResult<Bound<'py, PyAny>> {
                Ok((*self).into_pyobject(py)?.into_any())
            }

            fn from_py(value: &Bound<'_, PyAny>) -> PyResult<Self> {
                let wide: i128 = value.extract().map_err(|error: PyErr| {
                    if error.is_instance_of::<PyTypeError>(value.py()) {
                        wrong_type("int", value)
                    } else {
                        error
                    }
                })?;
                Self::try_from(wide).map_err(|_| {
                    PyOverflowError::new_err(format!("{wide} is not in {}..={}", Self::MIN, Self::MAX))
                })
            }

            fn again(&self) -> Self {
                *self
            }
        })*
    };
}

integers! { u8 u32 u64 i32 i64 usize }

impl Field for bool {
    const GIVES: &'static str = "bool";

    fn to_py<'py>(&self, py: Python<'py>, _: impl FnOnce() -> Held<Self>) -> PyResult<Bound<'py, PyAny>> {
        Ok(PyBool::new(py, *self).to_owned().into_any())
    }

    fn from_py(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        value.cast::<PyBool>().map(|flag| flag.is_true()).map_err(|_| wrong_type("bool", value))
    }

    fn again(&self) -> Self {
        *self
    }
}

macro_rules! through_bytes {
    ($($type:ty, $takes:literal, |$from:ident| $as_bytes:expr, |$value:ident| $parse:expr;)*) => {
        $(impl Field for $type {
            const GIVES: &'static str = "bytes";
            const TAKES: &'static str = $takes;

            fn to_py<'py>(
                &self,
                py: Python<'py>,
                _: impl FnOnce() -> Held<Self>,
            ) -> PyResult<Bound<'py, PyAny>> {
                let $from = self;
                Ok(PyBytes::new(py, $as_bytes).into_any())
            }

            fn from_py($value: &Bound<'_, PyAny>) -> PyResult<Self> {
                $parse
            }

            fn again(&self) -> Self {
                self.clone()
            }
        })*
    };
}

through_bytes! {
    Gfid, "bytes", |gfid| gfid.as_bytes(), |value| array(value, "a gfid").map(Self::from_bytes);
    [u8; 16], "bytes", |bytes| bytes, |value| array(value, "an identity");
    [u8; 32], "bytes", |bytes| bytes, |value| array(value, "a strong checksum");
    LockOwner, "bytes", |owner| owner.as_bytes(), |value| lock_owner(value);
    Name, "bytes | str", |name| name.as_bytes(), |value| with_bytes(value, "bytes or str as a name", name);
    Key, "bytes | str", |key| key.to_bytes(), |value| with_bytes(value, "bytes or str as a key", key);
    CString, "bytes | str", |text| text.as_bytes(), |value| with_bytes(value, "bytes or str", c_string);
    Vec<u8>, "bytes | str", |bytes| bytes, |value| with_bytes(value, "bytes or str", |bytes| {
        c_string(bytes).map(CString::into_bytes)
    });
}

fn name(bytes: &[u8]) -> PyResult<Name> {
    Name::new(bytes).map_err(|errno| {
        PyValueError::new_err(match errno {
            Errno::PERM => "a name holds no `/`".to_owned(),
            Errno::NAMETOOLONG => format!("a name has at most {} bytes, not {}", Name::MAX, bytes.len()),
            _ => "a name is not empty, neither `.` nor `..`, and holds no NUL".to_owned(),
        })
    })
}

fn key(bytes: &[u8]) -> PyResult<Key> {
    key_from_bytes(bytes).map_err(|_| {
        PyValueError::new_err("the name of an extended attribute has 1 to 255 bytes and holds no NUL")
    })
}

fn c_string(bytes: &[u8]) -> PyResult<CString> {
    CString::new(bytes).map_err(|_| PyValueError::new_err("no NUL is allowed here"))
}

fn lock_owner(value: &Bound<'_, PyAny>) -> PyResult<LockOwner> {
    let bytes = value.cast::<PyBytes>().map_err(|_| wrong_type("bytes as a lock owner", value))?.as_bytes();
    if bytes.len() > LockOwner::MAX {
        return Err(PyValueError::new_err(format!(
            "a lock owner has at most {} bytes, not {}",
            LockOwner::MAX,
            bytes.len()
        )));
    }
    Ok(LockOwner::new(bytes))
}

macro_rules! optional {
    ($($type:ty, $gives:literal, $takes:literal;)*) => {
        $(impl Field for Option<$type> {
            const GIVES: &'static str = $gives;
            const TAKES: &'static str = $takes;

            fn to_py<'py>(
                &self,
                py: Python<'py>,
                _: impl FnOnce() -> Held<Self>,
            ) -> PyResult<Bound<'py, PyAny>> {
                match self {
                    Some(value) => value.to_py(py, || Held::Own(value.again())),
                    None => Ok(py.None().into_bound(py)),
                }
            }

            fn from_py(value: &Bound<'_, PyAny>) -> PyResult<Self> {
                if value.is_none() { Ok(None) } else { <$type>::from_py(value).map(Some) }
            }

            fn again(&self) -> Self {
                self.as_ref().map(Field::again)
            }
        })*
    };
}

optional! {
    Name, "bytes | None", "bytes | str | None";
    Key, "bytes | None", "bytes | str | None";
    kiln_xlators::types::Iatt, "Iatt | None", "Iatt | None";
}

impl Field for String {
    const GIVES: &'static str = "str";

    fn to_py<'py>(&self, py: Python<'py>, _: impl FnOnce() -> Held<Self>) -> PyResult<Bound<'py, PyAny>> {
        Ok(PyString::new(py, self).into_any())
    }

    fn from_py(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        let text = value.cast::<PyString>().map_err(|_| wrong_type("str", value))?.to_str()?;
        if text.contains('\0') {
            return Err(PyValueError::new_err("text holds no NUL"));
        }
        Ok(text.to_owned())
    }

    fn again(&self) -> Self {
        self.clone()
    }
}

/// Nanoseconds in a second.
const SECOND: i128 = 1_000_000_000;

/// Nanoseconds since the epoch.
impl Field for Timespec {
    const GIVES: &'static str = "int";

    fn to_py<'py>(&self, py: Python<'py>, _: impl FnOnce() -> Held<Self>) -> PyResult<Bound<'py, PyAny>> {
        let narrow = self.sec.checked_mul(1_000_000_000).and_then(|ns| ns.checked_add(i64::from(self.nsec)));
        match narrow {
            Some(ns) => Ok(ns.into_pyobject(py)?.into_any()),
            None => Ok((i128::from(self.sec) * SECOND + i128::from(self.nsec)).into_pyobject(py)?.into_any()),
        }
    }

    fn from_py(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        let ns: i128 = value.extract()?;
        let out_of_range = || PyOverflowError::new_err(format!("{ns} nanoseconds are no time"));
        let sec = i64::try_from(ns.div_euclid(SECOND)).map_err(|_| out_of_range())?;
        let nsec = u32::try_from(ns.rem_euclid(SECOND)).map_err(|_| out_of_range())?;
        Ok(Self { sec, nsec })
    }

    fn again(&self) -> Self {
        *self
    }
}

impl Field for SetAttrValid {
    const GIVES: &'static str = "int";

    fn to_py<'py>(&self, py: Python<'py>, _: impl FnOnce() -> Held<Self>) -> PyResult<Bound<'py, PyAny>> {
        Ok(self.bits().into_pyobject(py)?.into_any())
    }

    fn from_py(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        u32::from_py(value).map(Self::from_bits_retain)
    }

    fn again(&self) -> Self {
        *self
    }
}

/// Supplementary groups.
impl Field for Box<[u32]> {
    const GIVES: &'static str = "tuple[int, ...]";
    const TAKES: &'static str = "Iterable[int]";

    fn to_py<'py>(&self, py: Python<'py>, _: impl FnOnce() -> Held<Self>) -> PyResult<Bound<'py, PyAny>> {
        Ok(PyTuple::new(py, self.iter())?.into_any())
    }

    fn from_py(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        value.try_iter()?.map(|group| u32::from_py(&group?)).collect()
    }

    fn again(&self) -> Self {
        self.clone()
    }
}
