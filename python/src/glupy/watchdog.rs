//! Watches the Python thread: a handler that does not return must not cost others more than it has to.
//!
//! A handler that computes for long is moved behind everything else on the machine (`SCHED_IDLE`) until it returns, and after
//! one that was stuck the whole thread stays there for a while. One that
//! runs past its layer's time limit is *stuck*: its requests have ended by policy by then, its Python stack goes into the
//! log and the dump, and an exception is sent into it, which ends loops. A handler that is stuck in C code that keeps the
//! GIL cannot be interrupted; the stack is missing then.

use std::ffi::c_long;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use kiln_uring::host::{self, Scheduling};
use pyo3::exceptions::PyTimeoutError;
use pyo3::prelude::*;
use pyo3::{Python, ffi};

use super::instance::{Instance, Stuck, count};
use super::progress::Running;
use super::thread::PythonThread;

/// How often it looks.
const TICK: Duration = Duration::from_millis(10);
/// How long a handler may compute as if it were any other thread.
const PATIENCE: Duration = Duration::from_millis(20);
/// How long after a stuck handler all of them run behind everything else: the next one is likely to loop as well.
const PROBATION: Duration = Duration::from_secs(10);
/// How long nothing must have happened before it sleeps itself.
const REST: Duration = Duration::from_secs(1);

/// Whether it looks. While it rests, the Python thread wakes it before it calls a handler.
static AWAKE: AtomicBool = AtomicBool::new(false);
static THREAD: std::sync::OnceLock<thread::Thread> = std::sync::OnceLock::new();

/// Before a batch: makes sure that somebody watches.
pub(super) fn awake() {
    if !AWAKE.load(Ordering::Relaxed)
        && !AWAKE.swap(true, Ordering::AcqRel)
        && let Some(thread) = THREAD.get()
    {
        thread.unpark();
    }
}

/// Starts it.
pub(super) fn start(python: &'static PythonThread) {
    let spawned = thread::Builder::new().name("kiln-py-watch".into()).spawn(|| watch(python));
    match spawned {
        Ok(handle) => _ = THREAD.set(handle.thread().clone()),
        Err(error) => tracing::error!("nothing watches Python: {error}"),
    }
}

/// A call that has been running for a while.
struct Seen {
    running: Running,
    since: Instant,
    /// When an exception was sent into it last.
    interrupted: Option<Instant>,
}

fn watch(python: &PythonThread) {
    let progress = &python.runner().progress;
    let mut seen: Option<Seen> = None;
    let mut demoted = false;
    let mut probation: Option<Instant> = None;
    let mut quiet_since = Instant::now();
    loop {
        let running = progress.running();
        if running.map(|running| running.call) != seen.as_ref().map(|seen| seen.running.call) {
            if let Some(Seen { running, interrupted: Some(_), .. }) = &seen
                && let Some(instance) = progress.instance(running.instance)
            {
                instance.no_longer_stuck();
                tracing::warn!(layer = instance.name, "the stuck handler has ended");
                probation = Some(Instant::now() + PROBATION);
            }
            if demoted && probation.is_none_or(|end| Instant::now() >= end) {
                demoted = !host::set_scheduling(python.tid(), Scheduling::Normal);
            }
            seen = running.map(|running| Seen { running, since: Instant::now(), interrupted: None });
        }
        if let Some(seen) = &mut seen {
            quiet_since = Instant::now();
            let age = seen.since.elapsed();
            if age >= PATIENCE && !demoted {
                demoted = host::set_scheduling(python.tid(), Scheduling::Background);
            }
            let instance = progress.instance(seen.running.instance);
            let limit = instance.as_ref().map_or(0, |instance| instance.limit.load(Ordering::Relaxed));
            let limit = Duration::from_nanos(limit);
            let due = seen.interrupted.unwrap_or(seen.since).elapsed() >= limit;
            if let Some(instance) = instance
                && !limit.is_zero()
                && due
            {
                if seen.interrupted.is_none() {
                    count(&instance.counts.stuck);
                }
                seen.interrupted = Some(Instant::now());
                interrupt(python, &instance, seen.running);
            }
        } else if quiet_since.elapsed() >= REST {
            AWAKE.store(false, Ordering::Release);
            // A batch that began just before that line does not wake this thread; it is looked for after a while.
            thread::park_timeout(REST);
            AWAKE.store(true, Ordering::Release);
            quiet_since = Instant::now();
        }
        thread::sleep(TICK);
    }
}

/// Notes the stack of a stuck handler and sends an exception into it.
fn interrupt(python: &PythonThread, instance: &Instance, running: Running) {
    let fop = running.fop.map_or("hook", |fop| fop.name());
    let stuck = |stack| Stuck { fop, stack, over: false };
    // First without the GIL, which may never come.
    instance.set_stuck(stuck("(it holds the interpreter's lock)".into()));
    Python::attach(|py| {
        // Whoever has the GIL decides what runs: from here on the call cannot end.
        if python.runner().progress.running() != Some(running) {
            instance.no_longer_stuck();
            return;
        }
        let stack = stack(py, python.ident()).unwrap_or_else(|error| format!("(unknown: {error})"));
        tracing::error!(
            layer = instance.name,
            fop,
            "a handler runs longer than its time limit; it is at\n{stack}"
        );
        instance.set_stuck(stuck(stack));
        python.runner().progress.interrupts();
        let error = py.get_type::<PyTimeoutError>();
        // SAFETY: the GIL is held, and the type lives as long as the interpreter.
        unsafe { ffi::PyThreadState_SetAsyncExc(python.ident() as c_long, error.as_ptr()) };
    });
}

/// What a thread is doing, as Python shows it.
fn stack(py: Python<'_>, ident: i64) -> PyResult<String> {
    let frames = py.import("sys")?.call_method0("_current_frames")?;
    let frame = frames.get_item(ident)?;
    let lines = py.import("traceback")?.call_method1("format_stack", (frame,))?;
    Ok(lines.extract::<Vec<String>>()?.concat())
}
