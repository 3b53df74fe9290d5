//! For measurements: what a handler costs when nothing but Rust stands before it.

use std::sync::Arc;
use std::time::Instant;

use kiln_xlators::call::Caller;
use kiln_xlators::fop::any::AnyRequest;
use kiln_xlators::fop::{Fop, request};
use kiln_xlators::types::{Gfid, Loc, Name, Xdata};
use pyo3::prelude::*;
use pyo3::types::PyList;

use super::instance::{Handler, Instance, Wanted};
use super::runner::Runner;
use super::task::Origin;
use super::with_python;
use crate::context::Context;
use crate::types::convert;

/// Nanoseconds that a `lookup` handler takes for one request, its arguments ready; a batch handler gets `wave` of them. The
/// quickest of `samples`.
///
/// # Panics
/// When the module cannot be loaded or the handler raises.
#[must_use]
pub fn lookup(search_path: &str, module: &str, class: &str, wave: usize, samples: usize) -> f64 {
    let wanted = Wanted {
        name: "bare".into(),
        module: module.into(),
        class: Some(class.into()),
        search_path: vec![search_path.into()],
        options: Vec::new(),
    };
    let measured = with_python(move |py, runner| -> PyResult<f64> {
        let instance = Instance::load(py, &wanted)?;
        let mut best = f64::INFINITY;
        for _ in 0..samples {
            best = best.min(sample(py, runner, &instance, wave)?);
        }
        Ok(best)
    });
    measured.expect("Python answers").expect("the handler works")
}

fn sample(py: Python<'_>, runner: &Arc<Runner>, instance: &Instance, wave: usize) -> PyResult<f64> {
    const CALLS: usize = 20_000;
    let request = || -> PyResult<Arc<AnyRequest>> {
        let name = Name::new(b"name77").map_err(|_| pyo3::exceptions::PyValueError::new_err("no name"))?;
        let loc = Loc::entry(Gfid::from_bytes([b'x'; 16]), name);
        Ok(Arc::new(AnyRequest::Lookup(request::Lookup { loc, xdata: Xdata::NONE })))
    };
    let ctx = || {
        let origin = Origin { caller: Caller::default(), unique: 1 };
        Bound::new(py, Context::new(1, Fop::Lookup, origin, Arc::clone(runner)))
    };
    let elapsed = match &instance.halves(Fop::Lookup).fop {
        Handler::Plain(handler) => {
            let handler = handler.bind(py);
            let arguments = convert::arguments(py, ctx()?.as_any(), &request()?)?;
            let began = Instant::now();
            for _ in 0..CALLS {
                handler.call1(arguments.clone())?;
            }
            began.elapsed().as_nanos() as f64 / CALLS as f64
        }
        Handler::Batch(handler) => {
            let handler = handler.bind(py);
            let objects = (0..wave)
                .map(|_| convert::request_object(py, request()?, Some(ctx()?.into_any().unbind())))
                .collect::<PyResult<Vec<_>>>()?;
            let list = PyList::new(py, objects)?;
            let times = (CALLS / wave).max(1);
            let began = Instant::now();
            for _ in 0..times {
                handler.call1((&list,))?;
            }
            began.elapsed().as_nanos() as f64 / (times * wave) as f64
        }
        _ => return Err(pyo3::exceptions::PyTypeError::new_err("it has no handler of lookup")),
    };
    Ok(elapsed)
}
