//! The handle of a core, and what is behind it.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use slab::Slab;

use crate::buf::{Buf, Pool};
use crate::driver::Driver;
use crate::helper::HelperJob;
use crate::join::{self, JoinHandle};
use crate::local;
use crate::mailbox::{Mail, Remote, Shared};
use crate::oneshot;
use crate::op::Ops;
use crate::placement::{Class, Place, Warmth, place};
use crate::settling::Settling;
use crate::sys::{Sys, Timespec};
use crate::task::{BoxFuture, TaskId, Tasks};
use crate::time::Instant;
use crate::timer::Timers;
use crate::under_way::{Eras, UnderWay};

/// Random bytes fetched at once.
const RANDOM_BATCH: usize = 256;

/// All state of one core. Every field is borrowed briefly and never across foreign code (a poll, a drop of a future, a job).
pub(crate) struct Inner {
    pub(crate) shared: Arc<Shared>,
    pub(crate) peers: Arc<[Remote]>,
    pub(crate) sys: Arc<dyn Sys>,
    pub(crate) driver: Driver,
    pub(crate) tasks: RefCell<Tasks>,
    pub(crate) timers: RefCell<Timers>,
    /// Who waits until the core has nothing else to do.
    pub(crate) settling: Settling,
    pub(crate) ops: RefCell<Ops>,
    pub(crate) pool: Pool,
    pub(crate) mail: Mail,
    pub(crate) stopping: Stopping,
    /// Tasks that ended by a panic.
    pub(crate) panics: Cell<usize>,
    pub(crate) counters: Counters,
    /// When this turn began, if somebody has asked.
    pub(crate) turn_time: Cell<Option<Instant>>,
    /// The helper jobs under way.
    eras: Eras,
    random: RefCell<(usize, [u8; RANDOM_BATCH])>,
}

/// What the loop has done since the core started.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) turns: Cell<u64>,
    pub(crate) sleeps: Cell<u64>,
    pub(crate) polls: Cell<u64>,
}

impl Counters {
    pub(crate) fn add(counter: &Cell<u64>, by: usize) {
        counter.set(counter.get().wrapping_add(by as u64));
    }
}

/// Figures of one core, see [`Core::vitals`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vitals {
    /// Turns of the loop.
    pub turns: u64,
    /// Turns that ended in a wait for the kernel because nothing was left to do.
    pub sleeps: u64,
    /// Times that a task was run.
    pub polls: u64,
    /// Tasks that exist now.
    pub tasks: usize,
    /// Operations that the kernel has not answered yet.
    pub operations: usize,
    /// Tasks that ended by a panic.
    pub panics: usize,
}

/// Whether the core has been asked to shut down, and who wants to know.
#[derive(Default)]
pub(crate) struct Stopping {
    pub(crate) asked: Cell<bool>,
    /// The loop ends at the end of this turn.
    pub(crate) now: Cell<bool>,
    pub(crate) waiting: RefCell<Slab<Waker>>,
}

/// What a core is made of.
pub(crate) struct Parts {
    pub(crate) shared: Arc<Shared>,
    pub(crate) peers: Arc<[Remote]>,
    pub(crate) sys: Arc<dyn Sys>,
    pub(crate) driver: Driver,
    pub(crate) pool: Pool,
    pub(crate) mail: Mail,
}

impl Inner {
    pub(crate) fn new(parts: Parts) -> Rc<Self> {
        let Parts { shared, peers, sys, driver, pool, mail } = parts;
        Rc::new(Self {
            shared,
            peers,
            sys,
            driver,
            pool,
            mail,
            tasks: RefCell::default(),
            timers: RefCell::default(),
            settling: Settling::default(),
            ops: RefCell::default(),
            stopping: Stopping::default(),
            panics: Cell::new(0),
            counters: Counters::default(),
            turn_time: Cell::new(None),
            eras: Eras::default(),
            random: RefCell::new((RANDOM_BATCH, [0; RANDOM_BATCH])),
        })
    }

    fn spawn(&self, future: BoxFuture) -> TaskId {
        let inserted = self.tasks.borrow_mut().insert(future);
        inserted.unwrap_or_else(|future| {
            tracing::error!(core = self.shared.id, "too many tasks: one is dropped unrun");
            drop(future);
            TaskId { slot: u32::MAX, generation: 0 }
        })
    }

    /// Runs a job where system calls may block.
    pub(crate) fn help(&self, job: HelperJob) {
        self.driver.help(self, job);
    }
}

/// The handle of one core: everything that runs on it reaches time, randomness, files, other tasks and other cores through
/// this. Cheap to clone; stays on its thread.
#[derive(Clone)]
pub struct Core(pub(crate) Rc<Inner>);

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("id", &self.id()).finish_non_exhaustive()
    }
}

impl Core {
    /// The core that runs on this thread right now; `None` on any other thread.
    #[must_use]
    pub fn current() -> Option<Self> {
        local::with_current(|core| Self(core.clone()))
    }

    /// The core's number, from 0, within its engine.
    #[must_use]
    pub fn id(&self) -> usize {
        self.0.shared.id
    }

    /// A number that no other core of this process has, or will have.
    #[must_use]
    pub fn identity(&self) -> u64 {
        self.0.shared.engine << 16 | self.0.shared.id as u64 & 0xffff
    }

    /// The kernel, for plain calls that do not block long; see [`Core::run`] for those that may.
    #[must_use]
    pub fn sys(&self) -> &Arc<dyn Sys> {
        &self.0.sys
    }

    /// What its loop has done, and what it has under way. In simulations the loop's own counters stay at zero.
    #[must_use]
    pub fn vitals(&self) -> Vitals {
        let core = &self.0;
        Vitals {
            turns: core.counters.turns.get(),
            sleeps: core.counters.sleeps.get(),
            polls: core.counters.polls.get(),
            tasks: core.tasks.borrow().len(),
            operations: core.ops.borrow().in_flight(),
            panics: core.panics.get(),
        }
    }

    /// Monotonic time.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::from_nanos(self.0.sys.monotonic())
    }

    /// Monotonic time as it was when this turn of the loop began or somebody asked first in it: for what need not know it to
    /// the microsecond. A turn takes as long as the tasks that can run, some milliseconds at most.
    #[must_use]
    pub fn turn_time(&self) -> Instant {
        // A simulation has no turns.
        if !matches!(self.0.driver, Driver::Ring(_)) {
            return self.now();
        }
        self.0.turn_time.get().unwrap_or_else(|| {
            let now = self.now();
            self.0.turn_time.set(Some(now));
            now
        })
    }

    /// Wall-clock time.
    #[must_use]
    pub fn realtime(&self) -> Timespec {
        self.0.sys.realtime()
    }

    /// An unpredictable number.
    #[must_use]
    pub fn random_u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.random_bytes(&mut bytes);
        u64::from_ne_bytes(bytes)
    }

    /// Fills `out` with unpredictable bytes; short requests are served from a small stock.
    pub fn random_bytes(&self, out: &mut [u8]) {
        if out.len() > RANDOM_BATCH / 4 {
            return self.0.sys.random(out);
        }
        let (used, stock) = &mut *self.0.random.borrow_mut();
        if *used + out.len() > RANDOM_BATCH {
            self.0.sys.random(stock);
            *used = 0;
        }
        let taken = &mut stock[*used..*used + out.len()];
        out.copy_from_slice(taken);
        taken.fill(0);
        *used += out.len();
    }

    /// Starts a task on this core. A panic in it is logged and ends that task alone.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) -> TaskId {
        self.0.spawn(Box::pin(future))
    }

    /// Starts a task whose value can be waited for.
    pub fn spawn_join<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
        join::spawn(self, future)
    }

    /// Drops a task of this core where it stands (right after its present poll, if it is the one that runs). Nothing happens
    /// when it has ended.
    pub fn abort(&self, task: TaskId) {
        let future = self.0.tasks.borrow_mut().abort(task);
        drop(future);
    }

    /// A buffer of `len` bytes, aligned to 4096, from the core's pool, or from the heap when the pool is exhausted or `len` is
    /// beyond 1 MiB. Its contents are zero or what an earlier user in this process left.
    #[must_use]
    pub fn buffer(&self, len: usize) -> Buf {
        self.0.pool.take(len).unwrap_or_else(|| Buf::heap(len))
    }

    /// Runs system calls where [`placement::TABLE`](crate::placement::TABLE) says: right here, or on a helper thread of this
    /// core. Once begun the job runs to its end, even if the wait is dropped. A panic in the job becomes a panic of the
    /// waiting task.
    pub async fn run<T: Send + 'static>(
        &self,
        class: Class,
        warmth: Warmth,
        job: impl FnOnce(&dyn Sys) -> T + Send + 'static,
    ) -> T {
        if place(class, warmth) == Place::Inline {
            return job(&*self.0.sys);
        }
        let (sender, receiver) = oneshot::channel();
        let era = self.0.eras.join();
        self.0.help(Box::new(move |sys| {
            sender.send(catch_unwind(AssertUnwindSafe(|| job(sys))));
            drop(era);
        }));
        match receiver.await {
            Some(Ok(value)) => value,
            Some(Err(panic)) => resume_unwind(panic),
            // Helpers finish all jobs before they stop, so only a task that outlives its core gets here.
            None => std::future::pending().await,
        }
    }

    /// The jobs of [`Core::run`] that helper threads of this core have not finished yet, those that nobody waits for any more
    /// among them.
    #[must_use]
    pub fn under_way(&self) -> UnderWay {
        self.0.eras.turn()
    }

    /// The address of this core.
    #[must_use]
    pub fn remote(&self) -> Remote {
        Remote(self.0.shared.clone())
    }

    /// All cores of this engine, by number, this one included.
    #[must_use]
    pub fn peers(&self) -> &[Remote] {
        &self.0.peers
    }

    /// Whether the engine has been asked to stop.
    #[must_use]
    pub fn shutting_down(&self) -> bool {
        self.0.stopping.asked.get()
    }

    /// Waits until the engine is asked to stop.
    pub async fn shutdown_requested(&self) {
        let mut listener = Listener { core: &self.0, key: None };
        poll_fn(|cx| listener.poll(cx)).await;
    }

    /// Asks everything on this core to stop, as [`Engine::shutdown`](crate::Engine::shutdown) does on all.
    pub fn request_shutdown(&self) {
        self.0.ask_to_stop();
    }
}

/// An entry in the list of those who wait for the shutdown, taken out when dropped.
struct Listener<'a> {
    core: &'a Inner,
    key: Option<usize>,
}

impl Listener<'_> {
    fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.core.stopping.asked.get() {
            return Poll::Ready(());
        }
        let mut waiting = self.core.stopping.waiting.borrow_mut();
        match self.key {
            Some(key) => waiting[key].clone_from(cx.waker()),
            None => self.key = Some(waiting.insert(cx.waker().clone())),
        }
        Poll::Pending
    }
}

impl Drop for Listener<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.core.stopping.waiting.borrow_mut().try_remove(key);
        }
    }
}

impl Inner {
    /// Tells everybody on this core that the engine stops.
    pub(crate) fn ask_to_stop(&self) {
        self.stopping.asked.set(true);
        // Each takes its own entry out.
        let waiting: Vec<Waker> =
            self.stopping.waiting.borrow().iter().map(|(_, waker)| waker.clone()).collect();
        waiting.into_iter().for_each(Waker::wake);
    }
}
