//! `Dirent`: one entry of a listing. The entries of a reply share it; each makes its attributes when asked.

use std::ffi::CString;
use std::sync::Arc;

use kiln_xlators::fop::reply::Entry;
use kiln_xlators::types::{Iatt, Name, Xdata};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};

use super::field::{Field, at_argument, with_bytes, wrong_type};
use super::held::Held;
use super::record;

#[derive(Clone)]
enum Place {
    Own(Entry),
    Listing(Arc<Held<Vec<Entry>>>, usize),
}

/// One entry of a directory. `offset` is where to resume after it, `kind` is one of `DT_*`; the attributes are empty in a
/// `readdir` and when they could not be had.
#[pyclass(frozen, eq, module = "kiln", name = "Dirent")]
pub struct DirentValue(Place);

impl DirentValue {
    fn entry(&self) -> &Entry {
        match &self.0 {
            Place::Own(entry) => entry,
            Place::Listing(listing, at) => &listing.get()[*at],
        }
    }
}

impl PartialEq for DirentValue {
    fn eq(&self, other: &Self) -> bool {
        self.entry() == other.entry()
    }
}

/// The fields, for the constructor, `replace` and the type stubs.
pub const FIELDS: &[record::FieldInfo] = &[
    ("name", "bytes", "bytes | str"),
    ("ino", "int", "int"),
    ("offset", "int", "int"),
    ("kind", "int", "int"),
    ("iatt", Iatt::GIVES, "Iatt | None"),
    ("xdata", Xdata::GIVES, Xdata::TAKES),
];

fn set(entry: &mut Entry, field: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
    let done = match field {
        "name" => with_bytes(value, "bytes or str as a name", entry_name).map(|name| entry.name = name),
        "ino" => u64::from_py(value).map(|ino| entry.ino = ino),
        "offset" => u64::from_py(value).map(|offset| entry.offset = offset),
        "kind" => u8::from_py(value).map(|kind| entry.kind = kind),
        "iatt" => Option::<Iatt>::from_py(value).map(|iatt| entry.iatt = iatt.unwrap_or_default()),
        "xdata" => Xdata::from_py(value).map(|xdata| entry.xdata = xdata),
        _ => Err(record::no_field("Dirent", field)),
    };
    done.map_err(|error| at_argument(value.py(), error, "Dirent", field))
}

/// A name of a listing: `.` and `..` are fine here.
fn entry_name(bytes: &[u8]) -> PyResult<CString> {
    if bytes.is_empty() || bytes.len() > Name::MAX || bytes.contains(&b'/') {
        return Err(PyValueError::new_err("an entry's name has 1 to 255 bytes and holds no `/`"));
    }
    CString::new(bytes).map_err(|_| PyValueError::new_err("an entry's name holds no NUL"))
}

#[pymethods]
impl DirentValue {
    #[new]
    #[pyo3(signature = (name, ino, offset, kind, iatt = None, xdata = None))]
    fn construct(
        name: &Bound<'_, PyAny>,
        ino: &Bound<'_, PyAny>,
        offset: &Bound<'_, PyAny>,
        kind: &Bound<'_, PyAny>,
        iatt: Option<&Bound<'_, PyAny>>,
        xdata: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let mut entry = Entry {
            name: CString::default(),
            ino: 0,
            offset: 0,
            kind: 0,
            iatt: Iatt::default(),
            xdata: Xdata::NONE,
        };
        let values = [Some(name), Some(ino), Some(offset), Some(kind), iatt, xdata];
        for ((field, ..), value) in FIELDS.iter().zip(values) {
            if let Some(value) = value {
                set(&mut entry, field, value)?;
            }
        }
        Ok(Self(Place::Own(entry)))
    }

    /// The name, `.` and `..` included.
    #[getter]
    fn name<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.entry().name.as_bytes())
    }

    /// Inode number.
    #[getter]
    fn ino(&self) -> u64 {
        self.entry().ino
    }

    /// Where to resume after this entry.
    #[getter]
    fn offset(&self) -> u64 {
        self.entry().offset
    }

    /// One of `DT_*`.
    #[getter]
    fn kind(&self) -> u8 {
        self.entry().kind
    }

    /// Attributes (`readdirp`).
    #[getter]
    fn iatt<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let iatt = self.entry().iatt;
        iatt.to_py(py, || Held::Own(iatt))
    }

    /// Answers to the request's xdata for this entry (`readdirp`).
    #[getter]
    fn xdata<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let xdata = &self.entry().xdata;
        xdata.to_py(py, || Held::Own(xdata.clone()))
    }

    /// The same with other values for the fields that are named.
    #[pyo3(signature = (**fields))]
    fn replace(&self, fields: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let mut entry = self.entry().clone();
        for (field, value) in fields.into_iter().flatten() {
            set(&mut entry, &field.extract::<String>()?, &value)?;
        }
        Ok(Self(Place::Own(entry)))
    }

    fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
        let entry = self.entry();
        (entry.name.as_bytes(), entry.ino, entry.offset).into_pyobject(py)?.hash()
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        record::repr(slf.as_any(), "Dirent", FIELDS.iter().map(|field| field.0))
    }

    #[classattr]
    fn __match_args__(py: Python<'_>) -> PyResult<Py<PyTuple>> {
        Ok(PyTuple::new(py, FIELDS.iter().map(|field| field.0))?.unbind())
    }
}

impl Field for Vec<Entry> {
    const GIVES: &'static str = "tuple[Dirent, ...]";
    const TAKES: &'static str = "Iterable[Dirent]";

    fn to_py<'py>(&self, py: Python<'py>, hold: impl FnOnce() -> Held<Self>) -> PyResult<Bound<'py, PyAny>> {
        let listing = Arc::new(hold());
        let entries = (0..self.len())
            .map(|at| Bound::new(py, DirentValue(Place::Listing(Arc::clone(&listing), at))))
            .collect::<PyResult<Vec<_>>>()?;
        Ok(PyTuple::new(py, entries)?.into_any())
    }

    fn from_py(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        let mut entries = Self::new();
        for entry in value.try_iter()? {
            let entry = entry?;
            match entry.cast::<DirentValue>() {
                Ok(entry) => entries.push(entry.get().entry().clone()),
                Err(_) => return Err(wrong_type("Dirent", &entry)),
            }
        }
        Ok(entries)
    }

    fn again(&self) -> Self {
        self.clone()
    }
}
