//! The plain values: one table row per field makes the class with its constructor, attributes, `replace`, equality, hash
//! and representation.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// A field of a record, for the type stubs: name, what it gives, what the constructor takes.
pub type FieldInfo = (&'static str, &'static str, &'static str);

/// Makes `class $class` over the Rust type `$inner`. The fields are `python_name = rust_name: Type`. What stands in
/// `shared { … }` goes into the `#[pymethods]` as it is.
macro_rules! record {
    (
        $(#[doc = $doc:literal])+
        $name:literal $class:ident($inner:ty) [$($prefix:tt)*] {
            $($field:ident = $rust:ident : $type:ty,)*
        }
        default $default:expr;
        shared { $($shared:tt)* }
    ) => {
        $(#[doc = $doc])+
        #[pyclass(frozen, eq, module = "kiln", name = $name)]
        #[derive(Clone, Debug, PartialEq)]
        pub struct $class(pub $inner);

        impl $class {
            /// The fields, for the type stubs.
            pub const FIELDS: &'static [$crate::types::record::FieldInfo] = &[$((
                $crate::types::record::plain(stringify!($field)),
                <$type as $crate::types::field::Field>::GIVES,
                <$type as $crate::types::field::Field>::TAKES,
            )),*];
        }

        #[pymethods]
        impl $class {
            #[new]
            #[pyo3(signature = ($($prefix)* $($field = None),*))]
            #[allow(clippy::too_many_arguments, reason = "one per field")]
            fn construct($($field: Option<&Bound<'_, PyAny>>),*) -> PyResult<Self> {
                let mut inner: $inner = $default;
                $(if let Some(value) = $field {
                    let field = $crate::types::record::plain(stringify!($field));
                    inner.$rust = <$type as $crate::types::field::Field>::from_py(value)
                        .map_err(|error| $crate::types::field::at_argument(value.py(), error, $name, field))?;
                })*
                Ok(Self(inner))
            }

            $(#[getter]
            fn $field<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                let field: &$type = &self.0.$rust;
                $crate::types::field::Field::to_py(field, py, || {
                    $crate::types::held::Held::Own($crate::types::field::Field::again(field))
                })
            })*

            /// The same with other values for the fields that are named.
            #[pyo3(signature = (**fields))]
            fn replace(&self, py: Python<'_>, fields: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
                let mut inner: $inner = self.0.clone();
                for (key, value) in fields.into_iter().flatten() {
                    let key: String = key.extract()?;
                    $(if key == $crate::types::record::plain(stringify!($field)) {
                        inner.$rust = <$type as $crate::types::field::Field>::from_py(&value)
                            .map_err(|error| $crate::types::field::at_argument(py, error, $name, &key))?;
                        continue;
                    })*
                    return Err($crate::types::record::no_field($name, &key));
                }
                Ok(Self(inner))
            }

            fn __hash__(slf: &Bound<'_, Self>) -> PyResult<isize> {
                $crate::types::record::hash(slf.as_any(), Self::FIELDS)
            }

            fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
                $crate::types::record::repr(slf.as_any(), $name, Self::FIELDS.iter().map(|field| field.0))
            }

            #[classattr]
            fn __match_args__(py: Python<'_>) -> PyResult<Py<PyTuple>> {
                Ok(PyTuple::new(py, Self::FIELDS.iter().map(|field| field.0))?.unbind())
            }

            $($shared)*
        }

        impl $crate::types::field::Field for $inner {
            const GIVES: &'static str = $name;

            #[inline]
            fn to_py<'py>(
                &self,
                py: Python<'py>,
                _: impl FnOnce() -> $crate::types::held::Held<Self>,
            ) -> PyResult<Bound<'py, PyAny>> {
                Ok(Bound::new(py, $class(self.clone()))?.into_any())
            }

            fn from_py(value: &Bound<'_, PyAny>) -> PyResult<Self> {
                match value.cast::<$class>() {
                    Ok(object) => Ok(object.get().0.clone()),
                    Err(_) => Err($crate::types::field::wrong_type($name, value)),
                }
            }

            fn again(&self) -> Self {
                self.clone()
            }
        }
    };
}

pub(crate) use record;

/// An identifier without the mark of a raw one.
pub const fn plain(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [b'r', b'#', ..] => name.split_at(2).1,
        _ => name,
    }
}

/// The error for a keyword that names no field.
#[cold]
pub fn no_field(class: &str, key: &str) -> PyErr {
    PyTypeError::new_err(format!("{class} has no field `{key}`"))
}

/// The hash of all fields together.
///
/// # Errors
/// When a field has no hash.
pub fn hash(object: &Bound<'_, PyAny>, fields: &[FieldInfo]) -> PyResult<isize> {
    let values = fields.iter().map(|field| object.getattr(field.0)).collect::<PyResult<Vec<_>>>()?;
    PyTuple::new(object.py(), values)?.hash()
}

/// `Class(field=value, …)`.
///
/// # Errors
/// What the fields' own representations raise.
pub fn repr<'a>(
    object: &Bound<'_, PyAny>,
    class: &str,
    fields: impl Iterator<Item = &'a str>,
) -> PyResult<String> {
    let mut text = format!("{class}(");
    for (at, field) in fields.enumerate() {
        let separator = if at == 0 { "" } else { ", " };
        let value = object.getattr(field)?.repr()?;
        text.push_str(&format!("{separator}{field}={value}"));
    }
    text.push(')');
    Ok(text)
}
