//! Runs handlers: takes a batch of tasks, answers each once.
//!
//! The runner is where the GIL is: on the Python thread, or, in the harness, on the thread of the simulation. It keeps what
//! belongs to requests between their halves. No lock is held while Python code runs.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use kiln_xlators::error::{FopError, FopResult};
use kiln_xlators::fop::Fop;
use kiln_xlators::fop::any::{AnyReply, AnyRequest};
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PySequence};

use super::instance::{Handler, Instance, count, lock};
use super::port::PortId;
use super::progress::Progress;
use super::task::{Answer, Kept, News, Origin, Step, Task, Ticket, Verdict};
use crate::context::Context;
use crate::types::convert::{self, Raised, Value};

/// Where answers go.
pub(crate) type Outbox<'a> = dyn FnMut(PortId, Answer) + 'a;

/// Where the answer of a request goes.
#[derive(Clone, Copy, Debug)]
struct Place {
    port: PortId,
    ticket: Ticket,
}

/// What is kept of a request whose handler will be asked again.
struct Memory {
    instance: Arc<Instance>,
    ctx: Py<Context>,
    /// For handlers that want to see the request again.
    request: Option<Arc<AnyRequest>>,
    what: Waits,
}

enum Waits {
    /// For its reply.
    Reply,
    /// For its reply, in a generator.
    Generator(Py<PyAny>),
    /// For somebody to finish it, in its fop half (`first`) or in its reply half.
    Finish { place: Place, first: bool },
}

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
struct Group {
    instance: Arc<Instance>,
    fop: Fop,
    replies: bool,
    members: Vec<Member>,
}

/// See the [module](self).
pub(crate) struct Runner {
    memories: Mutex<HashMap<Kept, Memory>>,
    next_kept: AtomicU64,
    next_request: AtomicU64,
    /// Answers that were given outside of a batch.
    late: Mutex<Vec<(PortId, Answer)>>,
    /// Tells whoever flushes the late answers that there are some.
    call: Box<dyn Fn() + Send + Sync>,
    pub progress: Progress,
}

thread_local! {
    static HERE: RefCell<Option<Arc<Runner>>> = const { RefCell::new(None) };
}

impl std::fmt::Debug for Runner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runner").field("memories", &self.kept()).finish_non_exhaustive()
    }
}

impl Runner {
    pub(crate) fn new(call: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            memories: Mutex::default(),
            next_kept: AtomicU64::new(1),
            next_request: AtomicU64::new(1),
            late: Mutex::default(),
            call: Box::new(call),
            progress: Progress::default(),
        })
    }

    /// The runner of this thread, if Python runs here rather than on a thread of its own.
    pub(crate) fn here() -> Option<Arc<Self>> {
        HERE.with_borrow(Clone::clone)
    }

    /// Lets the cores of this thread run Python here from now on.
    pub(crate) fn run_on_this_thread() {
        HERE.with_borrow_mut(|here| {
            here.get_or_insert_with(|| Self::new(|| ()));
        });
    }

    /// How many requests have something kept.
    pub(crate) fn kept(&self) -> usize {
        lock(&self.memories).len()
    }

    /// Runs a batch.
    pub(crate) fn run(self: &Arc<Self>, py: Python<'_>, tasks: Vec<(PortId, Task)>, outbox: &mut Outbox<'_>) {
        let mut groups: Vec<Group> = Vec::new();
        for (port, task) in tasks {
            match task {
                Task::Ask { instance, ticket, step } => {
                    let place = Place { port, ticket };
                    if let Some(verdict) = self.step(py, instance, place, step, &mut groups) {
                        outbox(port, Answer { ticket, verdict });
                    }
                }
                Task::Tell { instance, news } => self.tell(py, &instance, news),
                Task::Drop(kept) => self.forget(Some(kept)),
            }
        }
        for group in groups {
            self.run_group(py, group, outbox);
        }
        self.flush_late(outbox);
    }

    /// Hands out the answers that were given outside of a batch.
    pub(crate) fn flush_late(&self, outbox: &mut Outbox<'_>) {
        let late = std::mem::take(&mut *lock(&self.late));
        late.into_iter().for_each(|(port, answer)| outbox(port, answer));
    }

    /// One step of one request; `None` when it waits for its batch.
    fn step(
        self: &Arc<Self>,
        py: Python<'_>,
        instance: Arc<Instance>,
        place: Place,
        step: Step,
        groups: &mut Vec<Group>,
    ) -> Option<Verdict> {
        match step {
            Step::Call { origin, request } => {
                // Nobody waits for it any more when only Python has it.
                if Arc::strong_count(&request) == 1 {
                    return Some(Verdict::Pass(None));
                }
                let fop = request.fop();
                let ctx = match self.context(py, fop, origin) {
                    Ok(ctx) => ctx,
                    Err(error) => return Some(self.fault(py, &instance, fop, error)),
                };
                if instance.halves(fop).fop.is_batch() {
                    return self.gather(py, groups, instance, place, ctx, fop, Some(request), None);
                }
                count(&instance.counts.calls);
                Some(self.call(py, &instance, place, &ctx, &request))
            }
            Step::FirstReply { origin, fop, request, reply } => {
                let ctx = match self.context(py, fop, origin) {
                    Ok(ctx) => ctx,
                    Err(error) => return Some(self.fault(py, &instance, fop, error)),
                };
                self.reply_half(py, groups, instance, place, ctx, request, reply)
            }
            Step::Reply { kept, reply } => {
                let Memory { ctx, request, what, .. } = lock(&self.memories).remove(&kept)?;
                ctx.get().running();
                let ctx = ctx.into_bound(py);
                match what {
                    Waits::Generator(generator) => {
                        Some(self.resume(py, &instance, place, &ctx, generator.bind(py), Some(reply)))
                    }
                    _ => self.reply_half(py, groups, instance, place, ctx, request, reply),
                }
            }
        }
    }

    fn context<'py>(
        self: &Arc<Self>,
        py: Python<'py>,
        fop: Fop,
        origin: Origin,
    ) -> PyResult<Bound<'py, Context>> {
        let id = self.next_request.fetch_add(1, Ordering::Relaxed);
        Bound::new(py, Context::new(id, fop, origin, Arc::clone(self)))
    }

    /// The fop half in a plain handler or a generator.
    fn call(
        self: &Arc<Self>,
        py: Python<'_>,
        instance: &Arc<Instance>,
        place: Place,
        ctx: &Bound<'_, Context>,
        request: &Arc<AnyRequest>,
    ) -> Verdict {
        let fop = request.fop();
        let halves = instance.halves(fop);
        let (Handler::Plain(handler) | Handler::Generator(handler)) = &halves.fop else {
            return Verdict::Pass(None);
        };
        let result = convert::arguments(py, ctx.as_any(), request).and_then(|arguments| {
            let _running = self.progress.enter(py, instance, fop);
            handler.bind(py).call1(arguments)
        });
        match result {
            Ok(generator) if matches!(halves.fop, Handler::Generator(_)) => {
                self.resume(py, instance, place, ctx, &generator, None)
            }
            Ok(outcome) => match convert::outcome(&outcome) {
                Ok(value) => {
                    let again = halves.reply.is_batch().then(|| Arc::clone(request));
                    self.after_fop(py, instance, place, ctx, value, again)
                }
                Err(error) => self.fault(py, instance, fop, error),
            },
            Err(error) => self.fault(py, instance, fop, error),
        }
    }

    /// What a fop half's outcome means.
    fn after_fop(
        &self,
        py: Python<'_>,
        instance: &Arc<Instance>,
        place: Place,
        ctx: &Bound<'_, Context>,
        value: Value,
        request: Option<Arc<AnyRequest>>,
    ) -> Verdict {
        let fop = ctx.get().of();
        if !matches!(value, Value::Later) && ctx.get().over() {
            let twice = PyRuntimeError::new_err("the handler finished the request, and answered it as well");
            return self.fault(py, instance, fop, twice);
        }
        let wants_reply = instance.halves(fop).reply.is_some();
        let keep = |request| wants_reply.then(|| self.keep(instance, ctx, request, Waits::Reply));
        match value {
            Value::Pass => {
                count(&instance.counts.passed);
                Verdict::Pass(keep(request))
            }
            Value::Wind(changed) if changed.fop() == fop => {
                count(&instance.counts.wound);
                let request = request.map(|_| Arc::clone(&changed));
                Verdict::Wind(changed, keep(request))
            }
            Value::Wind(other) => {
                let fault = format!("a handler of {fop} cannot wind {}: only a generator can", other.fop());
                self.fault(py, instance, fop, PyTypeError::new_err(fault))
            }
            value => self.end(py, instance, place, ctx, value, true, request),
        }
    }

    /// Outcomes that mean the same in each half.
    #[allow(clippy::too_many_arguments, reason = "one request, in parts")]
    fn end(
        &self,
        py: Python<'_>,
        instance: &Arc<Instance>,
        place: Place,
        ctx: &Bound<'_, Context>,
        value: Value,
        first: bool,
        request: Option<Arc<AnyRequest>>,
    ) -> Verdict {
        let fop = ctx.get().of();
        match value {
            Value::Reply(reply) if reply.fop() == fop => {
                count(&instance.counts.answered);
                Verdict::Reply(reply)
            }
            Value::Reply(reply) => {
                let fault = format!("a reply.{} is no answer to {fop}", class_name(reply.fop()));
                self.fault(py, instance, fop, PyTypeError::new_err(fault))
            }
            Value::Fail(error) => {
                count(&instance.counts.failed);
                Verdict::Fail(error)
            }
            Value::Later => {
                let kept = self.keep(instance, ctx, request, Waits::Finish { place, first });
                match ctx.get().later(kept) {
                    Some(verdict) => {
                        lock(&self.memories).remove(&kept);
                        verdict
                    }
                    None => Verdict::Later(kept),
                }
            }
            Value::Pass | Value::Wind(_) => Verdict::Pass(None),
        }
    }

    /// The reply half of a plain handler, or of a batch handler, whose turn comes later.
    #[allow(clippy::too_many_arguments, reason = "one request, in parts")]
    fn reply_half<'py>(
        self: &Arc<Self>,
        py: Python<'py>,
        groups: &mut Vec<Group>,
        instance: Arc<Instance>,
        place: Place,
        ctx: Bound<'py, Context>,
        request: Option<Arc<AnyRequest>>,
        reply: FopResult<Arc<AnyReply>>,
    ) -> Option<Verdict> {
        let fop = ctx.get().of();
        let reply = match reply_object(py, reply) {
            Ok(reply) => reply,
            Err(error) => return Some(self.fault(py, &instance, fop, error)),
        };
        match &instance.halves(fop).reply {
            Handler::Batch(_) => self.gather(py, groups, instance, place, ctx, fop, request, Some(reply)),
            Handler::Plain(handler) => {
                count(&instance.counts.replies);
                let result = {
                    let _running = self.progress.enter(py, &instance, fop);
                    handler.bind(py).call1((&ctx, reply))
                };
                Some(match result.and_then(|outcome| convert::outcome(&outcome)) {
                    Ok(value) => self.after_reply(py, &instance, place, &ctx, value),
                    Err(error) => self.fault(py, &instance, fop, error),
                })
            }
            Handler::None | Handler::Generator(_) => Some(Verdict::Pass(None)),
        }
    }

    /// What a reply half's outcome means.
    fn after_reply(
        &self,
        py: Python<'_>,
        instance: &Arc<Instance>,
        place: Place,
        ctx: &Bound<'_, Context>,
        value: Value,
    ) -> Verdict {
        let fop = ctx.get().of();
        if !matches!(value, Value::Later) && ctx.get().over() {
            let twice = PyRuntimeError::new_err("the handler finished the request, and answered it as well");
            return self.fault(py, instance, fop, twice);
        }
        match value {
            Value::Pass => {
                count(&instance.counts.passed);
                Verdict::Pass(None)
            }
            Value::Wind(_) => {
                let fault =
                    PyTypeError::new_err("a reply half cannot wind: only a generator can do so again");
                self.fault(py, instance, fop, fault)
            }
            value => self.end(py, instance, place, ctx, value, false, None),
        }
    }

    /// Lets a generator go on, with the reply it waits for.
    fn resume(
        &self,
        py: Python<'_>,
        instance: &Arc<Instance>,
        place: Place,
        ctx: &Bound<'_, Context>,
        generator: &Bound<'_, PyAny>,
        reply: Option<FopResult<Arc<AnyReply>>>,
    ) -> Verdict {
        let fop = ctx.get().of();
        let result = {
            let _running = self.progress.enter(py, instance, fop);
            match reply {
                None => generator.call_method1("send", (py.None(),)),
                Some(Ok(reply)) => {
                    count(&instance.counts.replies);
                    convert::reply_object(py, reply)
                        .and_then(|reply| generator.call_method1("send", (reply,)))
                }
                Some(Err(error)) => {
                    count(&instance.counts.replies);
                    fop_error(py, &error).and_then(|error| generator.call_method1("throw", (error,)))
                }
            }
        };
        match result {
            Ok(yielded) => match convert::outcome(&yielded) {
                Ok(Value::Wind(request)) => {
                    count(&instance.counts.wound);
                    let waits = Waits::Generator(generator.clone().unbind());
                    Verdict::Wind(request, Some(self.keep(instance, ctx, None, waits)))
                }
                Ok(_) => {
                    let fault = "a generator yields requests to wind; what it answers it returns";
                    self.fault(py, instance, fop, PyTypeError::new_err(fault))
                }
                Err(error) => self.fault(py, instance, fop, error),
            },
            Err(error) if error.is_instance_of::<pyo3::exceptions::PyStopIteration>(py) => {
                let value = error.value(py).getattr("value").and_then(|value| convert::outcome(&value));
                match value {
                    // The reply half of a generator is the rest of it.
                    Ok(Value::Wind(request)) if request.fop() == fop => {
                        count(&instance.counts.wound);
                        Verdict::Wind(request, None)
                    }
                    Ok(Value::Wind(_)) => {
                        let fault = format!(
                            "what a generator returns must answer or wind {fop}; yield other requests"
                        );
                        self.fault(py, instance, fop, PyTypeError::new_err(fault))
                    }
                    Ok(Value::Pass) => {
                        count(&instance.counts.passed);
                        Verdict::Pass(None)
                    }
                    Ok(value) => self.end(py, instance, place, ctx, value, false, None),
                    Err(error) => self.fault(py, instance, fop, error),
                }
            }
            Err(error) => self.fault(py, instance, fop, error),
        }
    }

    /// Puts a request with the others for the same batch handler.
    #[allow(clippy::too_many_arguments, reason = "one request, in parts")]
    fn gather<'py>(
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
    fn run_group(self: &Arc<Self>, py: Python<'_>, group: Group, outbox: &mut Outbox<'_>) {
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

    fn keep(
        &self,
        instance: &Arc<Instance>,
        ctx: &Bound<'_, Context>,
        request: Option<Arc<AnyRequest>>,
        what: Waits,
    ) -> Kept {
        let kept = Kept(self.next_kept.fetch_add(1, Ordering::Relaxed));
        let memory = Memory { instance: Arc::clone(instance), ctx: ctx.clone().unbind(), request, what };
        lock(&self.memories).insert(kept, memory);
        kept
    }

    /// What was kept of a request that is over goes.
    pub(crate) fn forget(&self, kept: Option<Kept>) {
        let memory = kept.and_then(|kept| lock(&self.memories).remove(&kept));
        if let Some(memory) = memory {
            memory.ctx.get().over();
        }
    }

    /// For `Context.finish`: what the outcome means.
    pub(crate) fn judge(&self, ctx: &Bound<'_, Context>, outcome: &Bound<'_, PyAny>) -> PyResult<Verdict> {
        let fop = ctx.get().of();
        match convert::outcome(outcome)? {
            Value::Later => {
                Err(PyTypeError::new_err("a request is finished with its outcome, not with LATER"))
            }
            Value::Wind(request) if request.fop() != fop => Err(PyTypeError::new_err(format!(
                "a request of {fop} is not finished with one of {}",
                request.fop()
            ))),
            Value::Reply(reply) if reply.fop() != fop => Err(PyTypeError::new_err(format!(
                "a reply.{} is no answer to {fop}",
                class_name(reply.fop())
            ))),
            Value::Pass => Ok(Verdict::Pass(None)),
            Value::Wind(request) => Ok(Verdict::Wind(request, None)),
            Value::Reply(reply) => Ok(Verdict::Reply(reply)),
            Value::Fail(error) => Ok(Verdict::Fail(error)),
        }
    }

    /// For `Context.finish`: the answer of a request that was put off.
    pub(crate) fn finish(&self, kept: Kept, verdict: Verdict) {
        let Some(Memory { instance, ctx, request, what: Waits::Finish { place, first }, .. }) =
            lock(&self.memories).remove(&kept)
        else {
            return;
        };
        // A reply half that is still to come wants the context again.
        let halves = instance.halves(ctx.get().of());
        let verdict = match verdict {
            Verdict::Pass(None) | Verdict::Wind(_, None) if first && halves.reply.is_some() => {
                let again = Kept(self.next_kept.fetch_add(1, Ordering::Relaxed));
                let request = match &verdict {
                    Verdict::Wind(request, _) if halves.reply.is_batch() => Some(Arc::clone(request)),
                    _ => request,
                };
                let memory = Memory { instance, ctx, request, what: Waits::Reply };
                lock(&self.memories).insert(again, memory);
                match verdict {
                    Verdict::Wind(request, _) => Verdict::Wind(request, Some(again)),
                    _ => Verdict::Pass(Some(again)),
                }
            }
            verdict => verdict,
        };
        lock(&self.late).push((place.port, Answer { ticket: place.ticket, verdict }));
        (self.call)();
    }

    fn tell(&self, py: Python<'_>, instance: &Arc<Instance>, news: News) {
        let loaded = instance.loaded.bind(py);
        let _running = self.progress.enter_hook(py, instance);
        let (hook, result) = match news {
            News::Forget(gfid) => ("forget", loaded.call_method1("forget", (&gfid.as_bytes()[..],))),
            News::Release(fd) => {
                let hook = if fd.is_directory() { "releasedir" } else { "release" };
                (hook, convert::fd_object(py, &fd).and_then(|fd| loaded.call_method1(hook, (fd,))))
            }
        };
        if let Err(error) = result {
            self.hook_failed(py, instance, hook, error);
        }
    }

    /// A hook that has no request to fail.
    pub(crate) fn hook_failed(&self, py: Python<'_>, instance: &Instance, hook: &str, error: PyErr) {
        match convert::raised(py, error) {
            Raised::Bug { kind, traceback } => {
                instance.fault(None, format!("{kind} in `{hook}`"), &traceback);
            }
            Raised::Errno(error) => tracing::warn!(layer = instance.name, "`{hook}` raised {error}"),
        }
    }

    /// A handler raised, or answered nonsense.
    fn fault(&self, py: Python<'_>, instance: &Instance, fop: Fop, error: PyErr) -> Verdict {
        match convert::raised(py, error) {
            Raised::Errno(error) => {
                count(&instance.counts.failed);
                Verdict::Fail(error)
            }
            Raised::Bug { kind, traceback } => {
                instance.fault(Some(fop), kind, &traceback);
                Verdict::Broken
            }
        }
    }
}

/// What a reply half sees: the reply, or the failure.
fn reply_object(py: Python<'_>, reply: FopResult<Arc<AnyReply>>) -> PyResult<Bound<'_, PyAny>> {
    match reply {
        Ok(reply) => convert::reply_object(py, reply),
        Err(error) => convert::failure_object(py, &error),
    }
}

/// `kiln.FopError`, for generators.
fn fop_error<'py>(py: Python<'py>, error: &FopError) -> PyResult<Bound<'py, PyAny>> {
    let failure = convert::failure_object(py, error)?;
    py.import("kiln.errors")?.getattr("FopError")?.call1((failure,))
}

/// The name of the reply's class.
fn class_name(fop: Fop) -> String {
    format!("{fop:?}")
}
