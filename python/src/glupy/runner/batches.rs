//! Handlers of many requests at once: gathers what a batch has for each of them, and calls it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use kiln_xlators::fop::Fop;
use kiln_xlators::fop::any::AnyRequest;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PySequence};

use super::super::instance::{Handler, Instance, count};
use super::super::task::{Answer, Verdict};
use super::{Outbox, Place, Runner};
use crate::context::Context;
use crate::types::convert::{self, Value};

/// One request for a batch handler.
struct Member {
    place: Place,
    ctx: Py<Context>,
    object: Py<PyAny>,
    request: Option<Arc<AnyRequest>>,
    /// In reply halves.
    reply: Option<Py<PyAny>>,
}

/// The requests for one batch handler.
pub(super) struct Group {
    instance: Arc<Instance>,
    fop: Fop,
    replies: bool,
    members: Vec<Member>,
}

impl Runner {
    /// Puts a request with the others for the same batch handler.
    #[allow(clippy::too_many_arguments, reason = "one request, in parts")]
    pub(super) fn gather<'py>(
        self: &Arc<Self>,
        py: Python<'py>,
        groups: &mut Vec<Group>,
        instance: Arc<Instance>,
        place: Place,
        ctx: Bound<'py, Context>,
        fop: Fop,
        request: Option<Arc<AnyRequest>>,
        reply: Option<Bound<'py, PyAny>>,
    ) -> Option<Verdict> {
        let replies = reply.is_some();
        let object = match &request {
            Some(request) => {
                let ctx = Some(ctx.clone().into_any().unbind());
                convert::request_object(py, Arc::clone(request), ctx)
            }
            None => Err(PyRuntimeError::new_err("the request of a batch was not kept")),
        };
        let object = match object {
            Ok(object) => object.unbind(),
            Err(error) => return Some(self.fault(py, &instance, fop, error)),
        };
        let request = request.filter(|_| !replies && instance.halves(fop).reply.is_batch());
        let member = Member { place, ctx: ctx.unbind(), object, request, reply: reply.map(Bound::unbind) };
        let same = |group: &&mut Group| {
            group.fop == fop && group.replies == replies && Arc::ptr_eq(&group.instance, &instance)
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.members.push(member),
            None => groups.push(Group { instance, fop, replies, members: vec![member] }),
        }
        None
    }

    /// Calls a batch handler, once or, when there are too many requests, several times.
    pub(super) fn run_group(self: &Arc<Self>, py: Python<'_>, group: Group, outbox: &mut Outbox<'_>) {
        let Group { instance, fop, replies, members } = group;
        let most = instance.batch.load(Ordering::Relaxed).max(1);
        let mut members = members.into_iter();
        loop {
            let batch: Vec<Member> = members.by_ref().take(most).collect();
            if batch.is_empty() {
                return;
            }
            self.run_batch(py, &instance, fop, replies, batch, outbox);
        }
    }

    fn run_batch(
        self: &Arc<Self>,
        py: Python<'_>,
        instance: &Arc<Instance>,
        fop: Fop,
        replies: bool,
        batch: Vec<Member>,
        outbox: &mut Outbox<'_>,
    ) {
        let halves = instance.halves(fop);
        let (counter, handler) = if replies {
            (&instance.counts.replies, &halves.reply)
        } else {
            (&instance.counts.calls, &halves.fop)
        };
        counter.fetch_add(batch.len() as u64, Ordering::Relaxed);
        count(&instance.counts.batches);
        let outcomes = self.call_batch(py, instance, fop, handler, &batch);
        let outcomes = match outcomes {
            Ok(outcomes) => outcomes,
            Err(error) => {
                // One verdict for all: they were handled together.
                let verdict = self.fault(py, instance, fop, error);
                for Member { place: Place { port, ticket }, ctx, .. } in batch {
                    ctx.get().over();
                    let verdict = match &verdict {
                        Verdict::Fail(error) => Verdict::Fail(error.clone()),
                        _ => Verdict::Broken,
                    };
                    outbox(port, Answer { ticket, verdict });
                }
                return;
            }
        };
        for (index, Member { place, ctx, object, request, .. }) in batch.into_iter().enumerate() {
            // The handler may have let go of it: then the engine can have its arguments back.
            drop(object);
            let value = match &outcomes {
                None => Ok(Value::Pass),
                Some(outcomes) => outcomes.get_item(index).and_then(|outcome| convert::outcome(&outcome)),
            };
            let ctx = ctx.into_bound(py);
            let verdict = match value {
                Ok(value) if replies => self.after_reply(py, instance, place, &ctx, value),
                Ok(value) => self.after_fop(py, instance, place, &ctx, value, request),
                Err(error) => self.fault(py, instance, fop, error),
            };
            outbox(place.port, Answer { ticket: place.ticket, verdict });
        }
    }

    /// The outcomes of a batch, one for each request; `None` when all pass.
    fn call_batch<'py>(
        &self,
        py: Python<'py>,
        instance: &Arc<Instance>,
        fop: Fop,
        handler: &Handler,
        batch: &[Member],
    ) -> PyResult<Option<Bound<'py, PySequence>>> {
        let Handler::Batch(handler) = handler else { return Ok(None) };
        let requests = PyList::new(py, batch.iter().map(|member| &member.object))?;
        let result = {
            let _running = self.progress.enter(py, instance, fop);
            if batch.iter().any(|member| member.reply.is_some()) {
                let replies = PyList::new(py, batch.iter().map(|member| &member.reply))?;
                handler.bind(py).call1((requests, replies))?
            } else {
                handler.bind(py).call1((requests,))?
            }
        };
        if result.is_none() {
            return Ok(None);
        }
        let outcomes = result.cast_into::<PySequence>().map_err(|error| {
            PyTypeError::new_err(format!("a batch handler returns a sequence of outcomes or None: {error}"))
        })?;
        let (came, wanted) = (outcomes.len()?, batch.len());
        if came != wanted {
            let fault = format!("a batch handler returned {came} outcomes for {wanted} requests");
            return Err(PyTypeError::new_err(fault));
        }
        Ok(Some(outcomes))
    }
}
