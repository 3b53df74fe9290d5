//! The submodule `request`: one class per fop, made from the table of fops. An object shares the request with the engine
//! and makes its attributes when they are asked for.

use std::sync::Arc;

use kiln_uring::Buf;
use kiln_xlators::fd::FdRef;
use kiln_xlators::fop::any::AnyRequest;
use kiln_xlators::fop::request as raw;
use kiln_xlators::fop::request::{LeaseSpec, SeekWhat, SetAttr, XattropOp};
use kiln_xlators::types::{ActiveLock, Dict, EntrylkCmd, Flock, Key, LkCmd, Loc, LockType, Name, Xdata};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::field::{Field, at_argument};
use super::held::Held;
use super::record;

/// A request of whichever fop: what the classes of this module have in common.
#[pyclass(frozen, subclass, module = "kiln.request")]
#[derive(Debug)]
pub struct Request {
    pub(super) shared: Arc<AnyRequest>,
    ctx: Option<Py<PyAny>>,
}

#[pymethods]
impl Request {
    /// The context of the request, when it came from the engine.
    #[getter]
    fn ctx<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.ctx.as_ref().map(|ctx| ctx.bind(py).clone())
    }

    /// Lower-case name of the fop.
    #[getter]
    fn fop(&self) -> &'static str {
        self.shared.fop().name()
    }

    fn __eq__(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>) -> PyResult<bool> {
        let fop = slf.get().shared.fop();
        match other.cast::<Self>() {
            Ok(other) if Arc::ptr_eq(&other.get().shared, &slf.get().shared) => Ok(true),
            Ok(other) if other.get().shared.fop() == fop => {
                same_fields(slf.as_any(), other.as_any(), fop.info().args)
            }
            _ => Ok(false),
        }
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let class = format!("request.{}", slf.get_type().name()?);
        let fields = slf.get().shared.fop().info().args.iter().map(|arg| arg.0);
        record::repr(slf.as_any(), &class, fields.chain(["xdata"]))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.ctx.as_ref().map_or(Ok(()), |ctx| visit.call(ctx))
    }
}

/// Whether all fields and xdata of two requests or replies of one class are equal.
pub(super) fn same_fields(
    one: &Bound<'_, PyAny>,
    other: &Bound<'_, PyAny>,
    fields: &[(&str, &str)],
) -> PyResult<bool> {
    for field in fields.iter().map(|field| field.0).chain(["xdata"]) {
        if !one.getattr(field)?.eq(other.getattr(field)?)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The Python object of one field of a request that is `$variant`.
macro_rules! field {
    ($py:expr, $shared:expr, $request:expr, $variant:ident, $field:ident) => {
        Field::to_py(&$request.$field, $py, || {
            Held::Request(Arc::clone($shared), |any| match any {
                AnyRequest::$variant(request) => Some(&request.$field),
                _ => None,
            })
        })
    };
}

macro_rules! request_classes {
    ($(#[doc = $doc:literal] $variant:ident $method:ident $number:literal $access:ident $subject:ident
        ($($arg:ident : $type:ty),*) -> $reply:ident;)*) => {
        $(
            #[doc = $doc]
            #[pyclass(frozen, extends = Request, module = "kiln.request")]
            #[derive(Debug)]
            pub struct $variant;

            impl $variant {
                const NAMES: &[&str] = &[$(stringify!($arg),)* "xdata"];

                fn raw(request: &AnyRequest) -> &raw::$variant {
                    match request {
                        AnyRequest::$variant(request) => request,
                        _ => unreachable!("an object's class is that of its request"),
                    }
                }

                fn object(shared: raw::$variant) -> PyClassInitializer<Self> {
                    let shared = Arc::new(AnyRequest::$variant(shared));
                    PyClassInitializer::from(Request { shared, ctx: None }).add_subclass(Self)
                }
            }

            #[pymethods]
            #[allow(clippy::new_ret_no_self, reason = "an argument of `rename` is called so")]
            impl $variant {
                #[new]
                #[pyo3(signature = ($($arg,)* xdata = None))]
                #[allow(clippy::too_many_arguments, reason = "the table says how many")]
                fn construct(
                    $($arg: &Bound<'_, PyAny>,)*
                    xdata: Option<&Bound<'_, PyAny>>,
                ) -> PyResult<PyClassInitializer<Self>> {
                    const CLASS: &str = concat!("request.", stringify!($variant));
                    Ok(Self::object(raw::$variant {
                        $($arg: <$type as Field>::from_py($arg)
                            .map_err(|error| at_argument($arg.py(), error, CLASS, stringify!($arg)))?,)*
                        xdata: match xdata {
                            Some(xdata) => Xdata::from_py(xdata)
                                .map_err(|error| at_argument(xdata.py(), error, CLASS, "xdata"))?,
                            None => Xdata::NONE,
                        },
                    }))
                }

                $(#[getter]
                fn $arg<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
                    let shared = &slf.as_super().get().shared;
                    field!(slf.py(), shared, Self::raw(shared), $variant, $arg)
                })*

                #[getter]
                fn xdata<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
                    let shared = &slf.as_super().get().shared;
                    field!(slf.py(), shared, Self::raw(shared), $variant, xdata)
                }

                /// The same with other values for the arguments that are named.
                #[pyo3(signature = (**arguments))]
                fn replace<'py>(
                    slf: &Bound<'py, Self>,
                    arguments: Option<&Bound<'py, PyDict>>,
                ) -> PyResult<Bound<'py, Self>> {
                    const CLASS: &str = concat!("request.", stringify!($variant));
                    let py = slf.py();
                    let old = Self::raw(&slf.as_super().get().shared);
                    let mut fields = super::convert::Replacements::new(CLASS, arguments);
                    let new = raw::$variant {
                        $($arg: fields.take(intern!(py, stringify!($arg)), &old.$arg)?,)*
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
        )*

        /// The object of a request.
        pub(super) fn object<'py>(
            py: Python<'py>,
            shared: Arc<AnyRequest>,
            ctx: Option<Py<PyAny>>,
        ) -> PyResult<Bound<'py, PyAny>> {
            match &*shared {
                $(AnyRequest::$variant(_) => {
                    let base = PyClassInitializer::from(Request { shared, ctx });
                    Ok(Bound::new(py, base.add_subclass($variant))?.into_any())
                })*
            }
        }

        /// `(ctx, arguments…, xdata)`.
        pub(super) fn arguments<'py>(
            py: Python<'py>,
            ctx: &Bound<'py, PyAny>,
            shared: &Arc<AnyRequest>,
        ) -> PyResult<Bound<'py, PyTuple>> {
            match &**shared {
                $(AnyRequest::$variant(request) => PyTuple::new(py, [
                    ctx.clone(),
                    $(field!(py, shared, request, $variant, $arg)?,)*
                    field!(py, shared, request, $variant, xdata)?,
                ]),)*
            }
        }

        /// Types of the arguments as the table spells them, with what an attribute gives and what a constructor takes.
        pub(super) const ARGUMENT_TYPES: &[record::FieldInfo] = &[
            $($((stringify!($type), <$type as Field>::GIVES, <$type as Field>::TAKES),)*)*
        ];

        /// Adds the submodule.
        ///
        /// # Errors
        /// What Python raises.
        pub fn register(parent: &Bound<'_, PyModule>) -> PyResult<()> {
            let module = super::submodule(parent, "request", "Requests, one class per fop.")?;
            module.add_class::<Request>()?;
            $(module.add_class::<$variant>()?;)*
            Ok(())
        }
    };
}

kiln_xlators::for_each_fop!(request_classes);
