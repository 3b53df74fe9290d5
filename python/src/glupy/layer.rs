//! The way of a request through its halves, on its core.

use std::any::Any;
use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use kiln_uring::{Core, Errno};
use kiln_xlators::call::Call;
use kiln_xlators::error::{FopError, FopResult};
use kiln_xlators::fd::FdRef;
use kiln_xlators::fop::any::{AnyReply, AnyRequest, wind};
use kiln_xlators::fop::{Fop, FopSet, reply, request};
use kiln_xlators::graph::Next;
use kiln_xlators::options::Options;
use kiln_xlators::translator::{Event, Fops, Translator, Wound};
use kiln_xlators::types::Gfid;
use pyo3::prelude::*;
use serde_json::{Value as Json, json};

use super::instance::{Instance, count};
use super::options::{BROKEN, Config, OVERLOADED, Policy, TOO_LATE};
use super::port::Port;
use super::task::{Kept, News, Origin, Step, Task, Verdict};
use super::{Snapshot, runner::Runner, thread, with_python};

/// The layer on one core.
pub(super) struct Layer {
    next: Next,
    core: Core,
    port: Rc<Port>,
    instance: Arc<Instance>,
    interest: FopSet,
    config: Cell<Config>,
    /// Requests that wait for this layer's handlers.
    waiting: Cell<usize>,
}

/// What Python keeps of a request. Dropped, Python drops it as well.
struct Held {
    port: Rc<Port>,
    kept: Option<Kept>,
}

impl Held {
    /// Gives it back to Python.
    fn spend(mut self) -> Option<Kept> {
        self.kept.take()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(kept) = self.kept.take() {
            self.port.forget(kept);
        }
    }
}

/// Counts a request that waits.
struct Place<'a>(&'a Cell<usize>);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

/// What becomes of a request that has no verdict.
enum Fallback {
    /// Go on as if there were no handler.
    Pass,
    /// Fail.
    Fail(Errno),
}

impl Layer {
    pub(super) fn new(next: Next, core: &Core, instance: Arc<Instance>, config: Config) -> Self {
        let interest = instance.interest();
        let port = Port::of(core);
        Self {
            next,
            core: core.clone(),
            port,
            instance,
            interest,
            config: Cell::new(config),
            waiting: Cell::new(0),
        }
    }

    fn fallback(&self, policy: Policy, errno: Errno, why: &str) -> Fallback {
        match policy {
            Policy::Error => Fallback::Fail(errno),
            Policy::Pass => Fallback::Pass,
            Policy::Disable => {
                self.instance.disable(why);
                Fallback::Pass
            }
        }
    }

    /// Asks Python about one step.
    async fn ask(&self, step: Step) -> Result<Verdict, Fallback> {
        let config = self.config.get();
        let counts = &self.instance.counts;
        // A request that was let in is let through to its end: only the port's own bound can stop its later halves.
        let later_half = match &step {
            Step::Reply { kept, .. } => Some(*kept),
            Step::Call { .. } | Step::FirstReply { .. } => None,
        };
        let room = later_half.is_some() || self.waiting.get() < config.queue;
        let asked = if room { self.port.ask(&self.instance, step) } else { None };
        let Some(asked) = asked else {
            count(&counts.overloaded);
            if let Some(kept) = later_half {
                self.port.forget(kept);
            }
            return Err(self.fallback(config.on_overload, OVERLOADED, "its queue was full"));
        };
        self.waiting.set(self.waiting.get() + 1);
        let _place = Place(&self.waiting);
        let verdict = match config.limit {
            None => asked.answer().await,
            Some(limit) => match self.core.timeout(limit, asked.answer()).await {
                Ok(verdict) => verdict,
                Err(_) => {
                    count(&counts.too_late);
                    return Err(self.fallback(
                        config.on_failure,
                        TOO_LATE,
                        "a handler took longer than its limit",
                    ));
                }
            },
        };
        match verdict {
            Verdict::Broken => {
                Err(self.fallback(config.on_failure, BROKEN, "a handler failed; the log has why"))
            }
            verdict => Ok(verdict),
        }
    }

    fn hold(&self, kept: Option<Kept>) -> Held {
        Held { port: Rc::clone(&self.port), kept }
    }

    fn origin(call: &Call) -> Origin {
        Origin { caller: call.caller().clone(), unique: call.unique() }
    }

    /// A request, from its first half to its last.
    async fn run(&self, call: &Call, request: AnyRequest) -> FopResult<AnyReply> {
        let fop = request.fop();
        let halves = self.instance.halves(fop);
        let (mut request, mut held) = if halves.fop.is_some() {
            let request = Arc::new(request);
            match self.ask(Step::Call { origin: Self::origin(call), request: Arc::clone(&request) }).await {
                Ok(Verdict::Pass(kept)) => (own_request(request), self.hold(kept)),
                Ok(Verdict::Wind(request, kept)) => (own_request(request), self.hold(kept)),
                Ok(Verdict::Reply(reply)) => return Ok(own_reply(reply)),
                Ok(Verdict::Fail(error)) => return Err(error),
                Ok(Verdict::Later(_) | Verdict::Broken) => return Err(BROKEN.into()),
                Err(Fallback::Pass) => return wind(&self.next, call, own_request(request)).await,
                Err(Fallback::Fail(errno)) => return Err(errno.into()),
            }
        } else {
            let again = halves.reply.is_batch().then(|| Arc::new(request.duplicate()));
            let reply = wind(&self.next, call, request).await.map(Arc::new);
            let origin = Self::origin(call);
            let step = Step::FirstReply { origin, fop, request: again, reply: reply.clone() };
            return match self.ask(step).await {
                Ok(verdict) => unwound(verdict, reply),
                Err(Fallback::Pass) => reply.map(own_reply),
                Err(Fallback::Fail(errno)) => Err(errno.into()),
            };
        };
        loop {
            let wound = request.fop();
            let reply = wind(&self.next, call, request).await;
            let Some(kept) = held.spend() else { return reply };
            let reply = reply.map(Arc::new);
            match self.ask(Step::Reply { kept, reply: reply.clone() }).await {
                Ok(Verdict::Wind(again, kept)) => {
                    request = own_request(again);
                    held = self.hold(kept);
                }
                Ok(verdict) if wound == fop => return unwound(verdict, reply),
                Ok(Verdict::Pass(_)) => {
                    // A generator whose last word is "go on", after it has wound something else.
                    return Err(BROKEN.into());
                }
                Ok(verdict) => return unwound(verdict, Err(BROKEN.into())),
                Err(Fallback::Pass) if wound == fop => return reply.map(own_reply),
                Err(Fallback::Pass) => return Err(BROKEN.into()),
                Err(Fallback::Fail(errno)) => return Err(errno.into()),
            }
        }
    }
}

/// What a reply half makes of a reply.
fn unwound(verdict: Verdict, reply: FopResult<Arc<AnyReply>>) -> FopResult<AnyReply> {
    match verdict {
        Verdict::Pass(_) => reply.map(own_reply),
        Verdict::Reply(reply) => Ok(own_reply(reply)),
        Verdict::Fail(error) => Err(error),
        Verdict::Wind(..) | Verdict::Later(_) | Verdict::Broken => Err(BROKEN.into()),
    }
}

/// The request again. A copy only when Python has kept something of it.
fn own_request(request: Arc<AnyRequest>) -> AnyRequest {
    Arc::try_unwrap(request).unwrap_or_else(|shared| shared.duplicate())
}

fn own_reply(reply: Arc<AnyReply>) -> AnyReply {
    Arc::try_unwrap(reply).unwrap_or_else(|shared| shared.duplicate())
}

/// A reply of another fop; the Python side lets none through.
fn mismatch(fop: Fop, reply: &AnyReply) -> FopError {
    tracing::error!("{fop} was answered like {}", reply.fop());
    BROKEN.into()
}

macro_rules! define_layer {
    ($(#[doc = $doc:literal] $variant:ident $method:ident $number:literal $access:ident $subject:ident
        ($($arg:ident : $type:ty),*) -> $reply:ident;)*) => {
        impl Fops for Layer {
            fn next(&self) -> &Next {
                &self.next
            }

            fn intercepts(&self) -> FopSet {
                self.interest
            }

            $(
                fn $method<'a>(&'a self, call: &'a Call, req: request::$variant) -> Wound<'a, reply::$reply> {
                    if self.instance.is_disabled() {
                        count(&self.instance.counts.not_handled);
                        return self.next.$method(call, req);
                    }
                    Wound::new(call, async move {
                        match self.run(call, AnyRequest::$variant(req)).await? {
                            AnyReply::$variant(reply) => Ok(reply),
                            other => Err(mismatch(Fop::$variant, &other)),
                        }
                    })
                }
            )*
        }
    };
}

kiln_xlators::for_each_fop!(define_layer);

impl Translator for Layer {
    fn reconfigure(&self, options: &Options) -> Result<(), String> {
        self.config.set(Config::new(options));
        Ok(())
    }

    fn notify(&self, event: &Event) {
        // All cores hear of everything but a client's end; one tells Python.
        let told = matches!(event, Event::ClientGone(_)) || self.core.id() == 0;
        if !self.instance.hooks.notify || !told {
            return;
        }
        let (event, client, reason) = match event {
            Event::ChildUp => ("child-up", None, None),
            Event::ChildDown(reason) => ("child-down", None, Some(reason.clone())),
            Event::ClientGone(client) => ("client-gone", Some(*client), None),
            Event::Stopping => ("stopping", None, None),
        };
        let instance = Arc::clone(&self.instance);
        let tell = move |py: Python<'_>, runner: &Arc<Runner>| {
            let _running = runner.progress.enter_hook(py, &instance);
            let detail = match (client, reason) {
                (Some(client), _) => client.into_pyobject(py).map(|detail| detail.into_any()).ok(),
                (None, Some(reason)) => reason.into_pyobject(py).map(|detail| detail.into_any()).ok(),
                (None, None) => None,
            };
            if let Err(error) = instance.loaded.bind(py).call_method1("notify", (event, detail)) {
                runner.hook_failed(py, &instance, "notify", error);
            }
        };
        match Runner::here() {
            Some(runner) => Python::attach(|py| tell(py, &runner)),
            None => thread::get().post(tell),
        }
    }

    fn fini(&self) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        if self.core.id() != 0 || !self.instance.hooks.fini {
            return Box::pin(std::future::ready(()));
        }
        let instance = Arc::clone(&self.instance);
        let end = move |py: Python<'_>, runner: &Arc<Runner>| {
            let _running = runner.progress.enter_hook(py, &instance);
            if let Err(error) = instance.loaded.bind(py).call_method0("fini") {
                runner.hook_failed(py, &instance, "fini", error);
            }
        };
        Box::pin(async move {
            if Runner::here().is_some() {
                let _ = with_python(end);
                return;
            }
            // Not on this core: a translator that hangs must not keep the brick from ending.
            let (done, ended) = kiln_xlators::handoff::handoff();
            thread::get().post(move |py, runner| {
                end(py, runner);
                // The brick may have ended without it.
                let _ = done.give(());
            });
            if self.core.timeout(super::PATIENCE / 6, ended).await.is_err() {
                tracing::warn!(
                    layer = self.instance.name,
                    "the brick ends without waiting for `fini` any longer"
                );
            }
        })
    }

    fn release(&self, fd: &FdRef) {
        let hooks = self.instance.hooks;
        let wanted = if fd.is_directory() { hooks.releasedir } else { hooks.release };
        if wanted {
            let (instance, news) = (Arc::clone(&self.instance), News::Release(Arc::clone(fd)));
            self.port.tell(Task::Tell { instance, news });
        }
    }

    fn forget(&self, gfid: Gfid) {
        if self.instance.hooks.forget {
            let instance = Arc::clone(&self.instance);
            self.port.tell(Task::Tell { instance, news: News::Forget(gfid) });
        }
    }

    fn statedump(&self) -> Json {
        json!({
            "waiting": self.waiting.get(),
            "disabled": self.instance.is_disabled(),
            "stuck": self.instance.stuck(),
            "state": self.instance.state(),
        })
    }

    fn stats(&self) -> Option<Box<dyn Any + Send>> {
        Some(Box::new(Snapshot { shared: self.instance.stats(), waiting: self.waiting.get() }))
    }
}
