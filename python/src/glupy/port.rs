//! One core's way to Python and back.
//!
//! To the Python thread go tasks, back come answers, each through a bounded single-producer single-consumer queue. Every
//! core has one port, which all its layers share. The requests that wait for their answers stand in a slab; a request that
//! gives up (its time limit passed, its client is gone) leaves it, and an answer that comes too late finds nobody.
//!
//! In the harness there is no thread: the tasks of a core gather in a list, and a task of the same core runs them as one
//! batch when its turn comes, so that the seed of a simulation decides about Python's interleavings too.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Poll, Waker};

use kiln_uring::Core;
use pyo3::Python;
use rtrb::{Consumer, Producer, RingBuffer};
use slab::Slab;

use super::instance::Instance;
use super::options::QUEUE;
use super::runner::Runner;
use super::task::{Answer, Kept, Step, Task, Ticket, Verdict};
use super::thread::{self, Queue};

/// Names a port in its process: [`Core::identity`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PortId(u64);

thread_local! {
    /// The ports of the cores on this thread: one, or in simulations several.
    static PORTS: RefCell<HashMap<PortId, Weak<Port>>> = RefCell::new(HashMap::new());
}

/// A request that waits for its answer.
struct Waiting {
    generation: u32,
    waker: Option<Waker>,
    answer: Option<Verdict>,
    /// What Python keeps while the request waits for a later answer.
    kept: Option<Kept>,
}

enum Route {
    Thread { tasks: RefCell<Producer<Task>>, answers: RefCell<Consumer<Answer>> },
    Here { tasks: RefCell<Vec<Task>>, scheduled: Cell<bool>, runner: Arc<Runner> },
}

/// See the [module](self).
pub(crate) struct Port {
    id: PortId,
    core: Core,
    route: Route,
    waiting: RefCell<Slab<Waiting>>,
    generation: Cell<u32>,
    /// Tasks under way; their answers must find room.
    under_way: Cell<usize>,
    /// Tasks that nobody waits for and that found no room.
    backlog: RefCell<Vec<Task>>,
}

impl Port {
    /// The port of the core.
    pub(crate) fn of(core: &Core) -> Rc<Self> {
        let id = PortId(core.identity());
        if let Some(port) = find(id) {
            return port;
        }
        let port = Rc::new(Self::new(id, core));
        PORTS.with_borrow_mut(|ports| {
            ports.retain(|_, port| port.strong_count() > 0);
            ports.insert(id, Rc::downgrade(&port));
        });
        port
    }

    fn new(id: PortId, core: &Core) -> Self {
        let route = match Runner::here() {
            Some(runner) => Route::Here { tasks: RefCell::default(), scheduled: Cell::new(false), runner },
            None => {
                let (tasks, to_python) = RingBuffer::new(QUEUE);
                // A request may be answered twice: later, and then.
                let (from_python, answers) = RingBuffer::new(2 * QUEUE);
                thread::get().attach(Queue::new(id, core.remote(), to_python, from_python));
                Route::Thread { tasks: RefCell::new(tasks), answers: RefCell::new(answers) }
            }
        };
        Self {
            id,
            core: core.clone(),
            route,
            waiting: RefCell::default(),
            generation: Cell::new(0),
            under_way: Cell::new(0),
            backlog: RefCell::default(),
        }
    }

    /// Asks Python, if there is room.
    pub(crate) fn ask(self: &Rc<Self>, instance: &Arc<Instance>, step: Step) -> Option<Ask> {
        if self.under_way.get() >= QUEUE || !self.flush() {
            return None;
        }
        let generation = self.generation.get().wrapping_add(1);
        self.generation.set(generation);
        let waiting = Waiting { generation, waker: None, answer: None, kept: None };
        let slot = self.waiting.borrow_mut().insert(waiting);
        let ticket = Ticket { slot: u32::try_from(slot).unwrap_or(u32::MAX), generation };
        let ask = Ask { port: Rc::clone(self), ticket };
        if self.push(Task::Ask { instance: Arc::clone(instance), ticket, step }).is_err() {
            return None;
        }
        self.under_way.set(self.under_way.get() + 1);
        self.wake();
        Some(ask)
    }

    /// Tells Python something that has no answer. It is never lost, and never waited for.
    pub(crate) fn tell(self: &Rc<Self>, task: Task) {
        let left = if self.flush() { self.push(task).err() } else { Some(task) };
        if let Some(task) = left {
            self.backlog.borrow_mut().push(task);
        }
        self.wake();
    }

    /// Moves the backlog on; whether there is none left.
    fn flush(&self) -> bool {
        let mut backlog = self.backlog.borrow_mut();
        while let Some(task) = backlog.pop() {
            if let Err(task) = self.push(task) {
                backlog.push(task);
                return false;
            }
        }
        true
    }

    fn push(&self, task: Task) -> Result<(), Task> {
        match &self.route {
            Route::Thread { tasks, .. } => {
                tasks.borrow_mut().push(task).map_err(|rtrb::PushError::Full(task)| task)
            }
            Route::Here { tasks, .. } => {
                tasks.borrow_mut().push(task);
                Ok(())
            }
        }
    }

    /// Makes sure that somebody runs what was pushed.
    fn wake(self: &Rc<Self>) {
        match &self.route {
            Route::Thread { .. } => thread::get().bell().ring(),
            Route::Here { scheduled, .. } => {
                if !scheduled.replace(true) {
                    let port = Rc::clone(self);
                    self.core.spawn(async move {
                        port.core.yield_now().await;
                        port.run_here();
                    });
                }
            }
        }
    }

    /// Runs what has gathered, as one batch, on this very thread.
    fn run_here(self: &Rc<Self>) {
        let Route::Here { tasks, scheduled, runner } = &self.route else { return };
        scheduled.set(false);
        let tasks = tasks.take();
        let mut answers = Vec::with_capacity(tasks.len());
        Python::attach(|py| {
            let tasks = tasks.into_iter().map(|task| (self.id, task)).collect();
            runner.run(py, tasks, &mut |port, answer| answers.push((port, answer)));
        });
        for (port, answer) in answers {
            if let Some(port) = find(port) {
                port.take(answer);
            }
        }
    }

    /// Takes the answers that have come.
    fn drain(&self) {
        let Route::Thread { answers, .. } = &self.route else { return };
        // One at a time: whoever is woken is polled later, but a stale answer tells Python to forget, through this port.
        while let Ok(answer) = { answers.borrow_mut().pop() } {
            self.take(answer);
        }
    }

    fn take(&self, Answer { ticket, verdict }: Answer) {
        let later = matches!(verdict, Verdict::Later(_));
        if !later {
            self.under_way.set(self.under_way.get().saturating_sub(1));
        }
        let mut waiting = self.waiting.borrow_mut();
        let entry =
            waiting.get_mut(ticket.slot as usize).filter(|entry| entry.generation == ticket.generation);
        match (entry, verdict) {
            (Some(entry), Verdict::Later(kept)) => entry.kept = Some(kept),
            (Some(entry), verdict) => {
                entry.kept = None;
                entry.answer = Some(verdict);
                if let Some(waker) = entry.waker.take() {
                    waker.wake();
                }
            }
            (None, verdict) => {
                drop(waiting);
                if let Some(kept) = verdict.kept() {
                    self.forget(kept);
                }
            }
        }
    }

    /// Lets Python drop what it keeps of a request that is over.
    pub(crate) fn forget(&self, kept: Kept) {
        if let Some(port) = find(self.id) {
            port.tell(Task::Drop(kept));
        }
    }

    /// How many requests wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.borrow().len()
    }
}

impl std::fmt::Debug for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Port").field("id", &self.id).field("waiting", &self.len()).finish_non_exhaustive()
    }
}

fn find(id: PortId) -> Option<Rc<Port>> {
    PORTS.with_borrow(|ports| ports.get(&id).and_then(Weak::upgrade))
}

/// For the Python thread's message to a core: its answers are there.
pub(crate) fn answers_came(id: PortId) {
    if let Some(port) = find(id) {
        port.drain();
    }
}

/// A wait for an answer. Dropped without it, the request is over.
pub(crate) struct Ask {
    port: Rc<Port>,
    ticket: Ticket,
}

impl Ask {
    /// Waits.
    pub(crate) async fn answer(self) -> Verdict {
        poll_fn(|cx| {
            let mut waiting = self.port.waiting.borrow_mut();
            let Some(entry) = waiting.get_mut(self.ticket.slot as usize) else {
                return Poll::Ready(Verdict::Broken);
            };
            match entry.answer.take() {
                Some(verdict) => Poll::Ready(verdict),
                None => {
                    entry.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

impl Drop for Ask {
    fn drop(&mut self) {
        let entry = self.port.waiting.borrow_mut().try_remove(self.ticket.slot as usize);
        let kept = entry.and_then(|entry| entry.kept.or_else(|| entry.answer?.kept()));
        if let Some(kept) = kept {
            self.port.forget(kept);
        }
    }
}
