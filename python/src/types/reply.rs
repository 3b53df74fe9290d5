//! The submodule `reply`: one class per fop, made from the tables of fops and of replies. An object shares the reply with
//! the engine and makes its attributes when they are asked for.

use std::sync::Arc;

use kiln_uring::Buf;
use kiln_uring::sys::StatFs;
use kiln_xlators::fop::any::AnyReply;
use kiln_xlators::fop::reply as raw;
use kiln_xlators::fop::reply::Entry;
use kiln_xlators::fop::request::LeaseSpec;
use kiln_xlators::types::{ActiveLock, Dict, Flock, Iatt, Xdata};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::field::{Field, at_argument};
use super::held::Held;
use super::record;
use super::request::same_fields;

/// A reply of whichever fop: what the classes of this module have in common.
#[pyclass(frozen, subclass, module = "kiln.reply")]
#[derive(Debug)]
pub struct Reply {
    pub(super) shared: Arc<AnyReply>,
}

/// Names and types of the fields of a reply.
fn fields(reply: &AnyReply) -> &'static [(&'static str, &'static str)] {
    let name = reply.fop().info().reply;
    raw::REPLIES.iter().find(|row| row.name == name).map_or(&[], |row| row.fields)
}

#[pymethods]
impl Reply {
    /// Lower-case name of the fop that it answers.
    #[getter]
    fn fop(&self) -> &'static str {
        self.shared.fop().name()
    }

    fn __eq__(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>) -> PyResult<bool> {
        let mine = &slf.get().shared;
        match other.cast::<Self>() {
            Ok(other) if Arc::ptr_eq(&other.get().shared, mine) => Ok(true),
            Ok(other) if other.get().shared.fop() == mine.fop() => {
                same_fields(slf.as_any(), other.as_any(), fields(mine))
            }
            _ => Ok(false),
        }
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let class = format!("reply.{}", slf.get_type().name()?);
        let fields = fields(&slf.get().shared).iter().map(|field| field.0);
        record::repr(slf.as_any(), &class, fields.chain(["xdata"]))
    }
}

/// Hands the fields of each reply to whoever asks for them by the reply's name: `with_fields!(Attr callback …)` becomes
/// `callback!(… { iatt: Iatt })`.
macro_rules! define_with_fields {
    ([$d:tt] $(#[doc = $doc:literal] $(#[derive($derive:ident)])? $reply:ident {
        $(#[doc = $field_doc:literal] $field:ident : $type:ty,)*
    })*) => {
        macro_rules! with_fields {
            $(($reply $d callback:ident $d($d rest:tt)*) => {
                $d callback!($d($d rest)* { $($field: $type),* });
            };)*
        }

        /// Types of the fields as the table spells them, with what an attribute gives and what a constructor takes.
        pub(super) const FIELD_TYPES: &[record::FieldInfo] = &[
            $($((stringify!($type), <$type as Field>::GIVES, <$type as Field>::TAKES),)*)*
        ];
    };
}

kiln_xlators::for_each_reply!(define_with_fields, $);

/// The class of one fop's reply.
macro_rules! reply_class {
    ($variant:ident $reply:ident $doc:literal { $($field:ident : $type:ty),* }) => {
        #[doc = concat!("Reply of ", stringify!($variant), ".")]
        #[pyclass(frozen, extends = Reply, module = "kiln.reply")]
        #[derive(Debug)]
        pub struct $variant;

        impl $variant {
            const NAMES: &[&str] = &[$(stringify!($field),)* "xdata"];

                fn raw(reply: &AnyReply) -> &raw::$reply {
                match reply {
                    AnyReply::$variant(reply) => reply,
                    _ => unreachable!("an object's class is that of its reply"),
                }
            }

            fn object(reply: raw::$reply) -> PyClassInitializer<Self> {
                let shared = Arc::new(AnyReply::$variant(reply));
                PyClassInitializer::from(Reply { shared }).add_subclass(Self)
            }
        }

        #[pymethods]
        impl $variant {
            #[new]
            #[pyo3(signature = ($($field,)* xdata = None))]
            fn construct(
                $($field: &Bound<'_, PyAny>,)*
                xdata: Option<&Bound<'_, PyAny>>,
            ) -> PyResult<PyClassInitializer<Self>> {
                const CLASS: &str = concat!("reply.", stringify!($variant));
                Ok(Self::object(raw::$reply {
                    $($field: <$type as Field>::from_py($field)
                        .map_err(|error| at_argument($field.py(), error, CLASS, stringify!($field)))?,)*
                    xdata: match xdata {
                        Some(xdata) => Xdata::from_py(xdata)
                            .map_err(|error| at_argument(xdata.py(), error, CLASS, "xdata"))?,
                        None => Xdata::NONE,
                    },
                }))
            }

            $(#[getter]
            fn $field<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
                let shared = &slf.as_super().get().shared;
                Self::raw(shared).$field.to_py(slf.py(), || {
                    Held::Reply(Arc::clone(shared), |any| match any {
                        AnyReply::$variant(reply) => Some(&reply.$field),
                        _ => None,
                    })
                })
            })*

            #[getter]
            fn xdata<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
                let shared = &slf.as_super().get().shared;
                Self::raw(shared).xdata.to_py(slf.py(), || {
                    Held::Reply(Arc::clone(shared), |any| match any {
                        AnyReply::$variant(reply) => Some(&reply.xdata),
                        _ => None,
                    })
                })
            }

            /// The same with other values for the fields that are named.
            #[pyo3(signature = (**arguments))]
            fn replace<'py>(
                slf: &Bound<'py, Self>,
                arguments: Option<&Bound<'py, PyDict>>,
            ) -> PyResult<Bound<'py, Self>> {
                const CLASS: &str = concat!("reply.", stringify!($variant));
                let py = slf.py();
                let old = Self::raw(&slf.as_super().get().shared);
                let mut fields = super::convert::Replacements::new(CLASS, arguments);
                let new = raw::$reply {
                    $($field: fields.take(intern!(py, stringify!($field)), &old.$field)?,)*
                    xdata: fields.take(intern!(py, "xdata"), &old.xdata)?,
                };
                fields.finish(Self::NAMES)?;
                Bound::new(py, Self::object(new))
            }

            #[classattr]
            fn __match_args__(py: Python<'_>) -> PyResult<Py<PyTuple>> {
                Ok(PyTuple::new(py, Self::NAMES)?.unbind())
            }
        }
    };
}

macro_rules! reply_classes {
    ($(#[doc = $doc:literal] $variant:ident $method:ident $number:literal $access:ident $subject:ident
        ($($arg:ident : $type:ty),*) -> $reply:ident;)*) => {
        $(with_fields!($reply reply_class $variant $reply $doc);)*

        /// The object of a reply.
        pub(super) fn object<'py>(py: Python<'py>, shared: Arc<AnyReply>) -> PyResult<Bound<'py, PyAny>> {
            match &*shared {
                $(AnyReply::$variant(_) => {
                    let base = PyClassInitializer::from(Reply { shared });
                    Ok(Bound::new(py, base.add_subclass($variant))?.into_any())
                })*
            }
        }

        /// Adds the submodule.
        ///
        /// # Errors
        /// What Python raises.
        pub fn register(parent: &Bound<'_, PyModule>) -> PyResult<()> {
            let module = super::submodule(parent, "reply", "Replies, one class per fop.")?;
            module.add_class::<Reply>()?;
            $(module.add_class::<$variant>()?;)*
            Ok(())
        }
    };
}

kiln_xlators::for_each_fop!(reply_classes);
