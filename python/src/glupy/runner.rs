//! Runs handlers: takes a batch of tasks, answers each once.
//!
//! The runner is where the GIL is: on the Python thread, or, in the harness, on the thread of the simulation. It keeps what
//! belongs to requests between their halves. No lock is held while Python code runs.

mod batches;

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use kiln_xlators::error::{FopError, FopResult};
use kiln_xlators::fop::Fop;
use kiln_xlators::fop::any::{AnyReply, AnyRequest};
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;

use super::instance::{Handler, Instance, count, lock};
use super::port::PortId;
use super::progress::Progress;
use super::task::{Answer, Kept, News, Origin, Step, Task, Ticket, Verdict};
use crate::context::Context;
use crate::types::convert::{self, Raised, Value};
use batches::Group;

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
                Task::Drop(kept) => {
                    // Each ask is answered once: one that was put off and is given up now is answered to nobody.
                    if let Some(Place { port, ticket }) = self.forget(Some(kept)) {
                        outbox(port, Answer { ticket, verdict: Verdict::Broken });
                    }
                }
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
                let Some(memory) = lock(&self.memories).remove(&kept) else { return Some(Verdict::Broken) };
                let Memory { ctx, request, what, .. } = memory;
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
                let Some(verdict) = ctx.get().later(kept) else { return Verdict::Later(kept) };
                // Somebody was faster than the handler's return.
                let memory = lock(&self.memories).remove(&kept);
                memory.map_or(Verdict::Broken, |memory| self.finished(memory, verdict))
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

    fn keep(
        &self,
        instance: &Arc<Instance>,
        ctx: &Bound<'_, Context>,
        request: Option<Arc<AnyRequest>>,
        what: Waits,
    ) -> Kept {
        self.remember(Memory { instance: Arc::clone(instance), ctx: ctx.clone().unbind(), request, what })
    }

    fn remember(&self, memory: Memory) -> Kept {
        let kept = Kept(self.next_kept.fetch_add(1, Ordering::Relaxed));
        lock(&self.memories).insert(kept, memory);
        kept
    }

    /// What was kept of a request that is over goes. Where its answer was to go, if it was put off.
    fn forget(&self, kept: Option<Kept>) -> Option<Place> {
        let memory = lock(&self.memories).remove(&kept?)?;
        memory.ctx.get().over();
        match memory.what {
            Waits::Finish { place, .. } => Some(place),
            Waits::Reply | Waits::Generator(_) => None,
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
        let Some(memory) = lock(&self.memories).remove(&kept) else { return };
        let Waits::Finish { place: Place { port, ticket }, .. } = memory.what else { return };
        let verdict = self.finished(memory, verdict);
        lock(&self.late).push((port, Answer { ticket, verdict }));
        (self.call)();
    }

    /// What becomes of a request that was put off: a reply half that is still to come wants its context again.
    fn finished(&self, memory: Memory, verdict: Verdict) -> Verdict {
        let Memory { instance, ctx, request, what } = memory;
        let reply = &instance.halves(ctx.get().of()).reply;
        let goes_on = matches!(verdict, Verdict::Pass(None) | Verdict::Wind(_, None));
        if !goes_on || !reply.is_some() || !matches!(what, Waits::Finish { first: true, .. }) {
            return verdict;
        }
        let request = match &verdict {
            Verdict::Wind(request, _) if reply.is_batch() => Some(Arc::clone(request)),
            _ => request,
        };
        let again = self.remember(Memory { instance, ctx, request, what: Waits::Reply });
        match verdict {
            Verdict::Wind(request, _) => Verdict::Wind(request, Some(again)),
            _ => Verdict::Pass(Some(again)),
        }
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
