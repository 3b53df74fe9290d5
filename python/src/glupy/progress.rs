//! What the Python thread is doing now, for the [watchdog](super::watchdog), at the price of two stores a call.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use kiln_xlators::fop::Fop;
use pyo3::{Python, ffi};

use super::instance::{Instance, lock};

/// In place of a fop's number: a hook.
const HOOK: u64 = 0xff;

/// A handler that runs now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Running {
    /// Tells one call from the next.
    pub call: u64,
    /// [`Instance::number`].
    pub instance: u32,
    /// `None` for a hook.
    pub fop: Option<Fop>,
}

/// See the [module](self). One thread writes.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    calls: AtomicU64,
    /// Instance and fop, or 0.
    now: AtomicU64,
    /// An exception was sent into the call that runs.
    interrupted: AtomicBool,
    /// All instances that may run, by number.
    instances: Mutex<Vec<Weak<Instance>>>,
}

impl Progress {
    /// A handler of a fop is called.
    pub(crate) fn enter<'a>(&'a self, py: Python<'a>, instance: &Instance, fop: Fop) -> Entered<'a> {
        self.begin(py, instance, fop as u64)
    }

    /// A hook is called.
    pub(crate) fn enter_hook<'a>(&'a self, py: Python<'a>, instance: &Instance) -> Entered<'a> {
        self.begin(py, instance, HOOK)
    }

    fn begin<'a>(&'a self, py: Python<'a>, instance: &Instance, what: u64) -> Entered<'a> {
        // One writer: no read-modify-write is needed.
        self.calls.store(self.calls.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        self.now.store(u64::from(instance.number) << 8 | what, Ordering::Release);
        Entered { progress: self, _py: py }
    }

    /// The handler that runs now.
    pub(crate) fn running(&self) -> Option<Running> {
        let call = self.calls.load(Ordering::Acquire);
        let now = self.now.load(Ordering::Acquire);
        let fop = Fop::ALL.get((now & HOOK) as usize).copied();
        (now != 0).then_some(Running { call, instance: (now >> 8) as u32, fop })
    }

    /// An exception is sent into the call that runs. Needs the GIL.
    pub(crate) fn interrupts(&self) {
        self.interrupted.store(true, Ordering::Release);
    }

    /// An instance may run from now on.
    pub(crate) fn add(&self, instance: &Arc<Instance>) {
        let mut instances = lock(&self.instances);
        instances.retain(|known| known.strong_count() > 0);
        instances.push(Arc::downgrade(instance));
    }

    /// The instance of that number.
    pub(crate) fn instance(&self, number: u32) -> Option<Arc<Instance>> {
        self.instances().into_iter().find(|instance| instance.number == number)
    }

    /// All that may run.
    pub(crate) fn instances(&self) -> Vec<Arc<Instance>> {
        lock(&self.instances).iter().filter_map(Weak::upgrade).collect()
    }
}

/// Until it is dropped, a handler runs.
pub(crate) struct Entered<'a> {
    progress: &'a Progress,
    _py: Python<'a>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.progress.now.store(0, Ordering::Release);
        if self.progress.interrupted.swap(false, Ordering::AcqRel) {
            // SAFETY: the GIL is held (`_py`), and the thread is this one. The exception that was meant for the call that
            // has just ended must not hit the next one.
            unsafe { ffi::PyThreadState_SetAsyncExc(this_thread(), std::ptr::null_mut()) };
        }
    }
}

/// Python's name of the calling thread.
pub(crate) fn this_thread() -> std::ffi::c_long {
    // SAFETY: without preconditions. Python's own `threading.get_ident` gives the same number.
    (unsafe { ffi::PyThread_get_thread_ident() }) as std::ffi::c_long
}
