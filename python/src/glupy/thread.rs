//! The Python thread.
//!
//! There is one in the process. It starts the interpreter, takes the GIL, and keeps it while there is work: it takes what
//! has gathered in the queues of all cores as one batch, runs it, hands all answers back, and tells each core once. When
//! nothing comes it looks again for a short while, as long as nobody else wants its CPU, then gives the GIL up and sleeps.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering, fence};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use kiln_uring::Remote;
use pyo3::Python;
use rtrb::{Consumer, Producer};

use super::instance::lock;
use super::port::{self, PortId};
use super::runner::Runner;
use super::task::{Answer, Task};
use super::watchdog;
use crate::interpreter;

/// Most tasks that are taken at once from one core.
const TAKE: usize = 256;
/// How long it looks for work before it sleeps: about what waking it would cost.
const SPIN: Duration = Duration::from_micros(30);

/// Wakes a thread, at no cost while it is awake.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    asleep: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Bell {
    /// Wakes the thread if it sleeps. Call after making work visible.
    pub(crate) fn ring(&self) {
        // Pairs with the fence in `sleep`: either the thread sees the work, or this sees that it sleeps.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed)
            && self.asleep.swap(false, Ordering::AcqRel)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    /// Sleeps until the bell rings, unless there is work.
    pub(crate) fn sleep(&self, work: impl Fn() -> bool) {
        self.thread.get_or_init(thread::current);
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        while !work() && self.asleep.load(Ordering::Acquire) {
            thread::park();
        }
        self.asleep.store(false, Ordering::Relaxed);
    }
}

/// The thread's ends of one core's queues.
pub(crate) struct Queue {
    port: PortId,
    remote: Remote,
    tasks: Consumer<Task>,
    answers: Producer<Answer>,
    answered: bool,
}

impl Queue {
    pub(crate) const fn new(
        port: PortId,
        remote: Remote,
        tasks: Consumer<Task>,
        answers: Producer<Answer>,
    ) -> Self {
        Self { port, remote, tasks, answers, answered: false }
    }
}

/// Something that is done now and then, with the GIL.
pub(crate) type Job = Box<dyn FnOnce(Python<'_>, &Arc<Runner>) + Send>;

/// See the [module](self).
pub(crate) struct PythonThread {
    bell: Arc<Bell>,
    runner: Arc<Runner>,
    jobs: Mutex<VecDeque<Job>>,
    joining: Mutex<Vec<Queue>>,
    /// Jobs or queues came.
    news: AtomicBool,
    /// Answers were given outside of a batch.
    late: Arc<AtomicBool>,
    /// The kernel's number of the thread, and Python's; 0 until it runs.
    tid: AtomicU32,
    ident: AtomicI64,
}

impl std::fmt::Debug for PythonThread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PythonThread").field("runner", &self.runner).finish_non_exhaustive()
    }
}

static THREAD: OnceLock<PythonThread> = OnceLock::new();
static STARTED: OnceLock<()> = OnceLock::new();

/// The thread, if there is one.
pub(crate) fn running() -> Option<&'static PythonThread> {
    STARTED.get()?;
    THREAD.get()
}

/// The thread, which is started when it is asked for first.
pub(crate) fn get() -> &'static PythonThread {
    let python = THREAD.get_or_init(|| {
        let (bell, late) = (Arc::<Bell>::default(), Arc::<AtomicBool>::default());
        let call = {
            let (bell, late) = (Arc::clone(&bell), Arc::clone(&late));
            move || {
                late.store(true, Ordering::Release);
                bell.ring();
            }
        };
        PythonThread {
            bell,
            runner: Runner::new(call),
            jobs: Mutex::default(),
            joining: Mutex::default(),
            news: AtomicBool::new(false),
            late,
            tid: AtomicU32::new(0),
            ident: AtomicI64::new(0),
        }
    });
    STARTED.get_or_init(|| {
        let spawned = thread::Builder::new().name("kiln-python".into()).spawn(|| python.run());
        if let Err(error) = spawned {
            tracing::error!("no thread for Python: {error}");
        }
        watchdog::start(python);
    });
    python
}

impl PythonThread {
    pub(crate) fn bell(&self) -> &Bell {
        &self.bell
    }

    pub(crate) const fn runner(&self) -> &Arc<Runner> {
        &self.runner
    }

    /// The kernel's number of the thread.
    pub(crate) fn tid(&self) -> u32 {
        self.tid.load(Ordering::Acquire)
    }

    /// Python's number of the thread.
    pub(crate) fn ident(&self) -> i64 {
        self.ident.load(Ordering::Acquire)
    }

    /// Serves one more core.
    pub(crate) fn attach(&self, queue: Queue) {
        lock(&self.joining).push(queue);
        self.has_news();
    }

    /// Does something with the GIL, and waits for what comes of it, for at most `limit`.
    pub(crate) fn ask<T: Send + 'static>(
        &self,
        limit: Duration,
        job: impl FnOnce(Python<'_>, &Arc<Runner>) -> T + Send + 'static,
    ) -> Option<T> {
        let (sender, receiver) = mpsc::sync_channel(1);
        self.post(move |py, runner| {
            // Whoever asked may have given up.
            let _ = sender.send(job(py, runner));
        });
        receiver.recv_timeout(limit).ok()
    }

    /// Does something with the GIL, when its turn comes.
    pub(crate) fn post(&self, job: impl FnOnce(Python<'_>, &Arc<Runner>) + Send + 'static) {
        lock(&self.jobs).push_back(Box::new(job));
        self.has_news();
    }

    fn has_news(&self) {
        self.news.store(true, Ordering::Release);
        self.bell.ring();
    }

    fn run(&self) {
        if let Err(error) = interpreter::start() {
            tracing::error!("Python cannot start: {error}");
            return;
        }
        self.tid.store(kiln_uring::host::thread_id(), Ordering::Release);
        self.ident.store(super::progress::this_thread(), Ordering::Release);
        Python::attach(|py| self.serve(py));
    }

    fn serve(&self, py: Python<'_>) {
        let mut queues: Vec<Queue> = Vec::new();
        let mut batch: Vec<(PortId, Task)> = Vec::new();
        let mut idle_since: Option<Instant> = None;
        loop {
            if self.news.swap(false, Ordering::AcqRel) {
                queues.append(&mut lock(&self.joining));
                queues.retain(|queue| !queue.tasks.is_abandoned() || !queue.tasks.is_empty());
                // One at a time: a job may take long, and the lock must be free for those who post.
                while let Some(job) = { lock(&self.jobs).pop_front() } {
                    job(py, &self.runner);
                }
                idle_since = None;
            }
            for queue in &mut queues {
                let port = queue.port;
                let take = queue.tasks.slots().min(TAKE);
                if let Ok(chunk) = queue.tasks.read_chunk(take) {
                    batch.extend(chunk.into_iter().map(|task| (port, task)));
                }
            }
            if !batch.is_empty() {
                watchdog::awake();
                let tasks = std::mem::take(&mut batch);
                self.runner.run(py, tasks, &mut |port, answer| hand_out(&mut queues, port, answer));
                tell(&mut queues);
                idle_since = None;
            } else if self.late.swap(false, Ordering::AcqRel) {
                self.runner.flush_late(&mut |port, answer| hand_out(&mut queues, port, answer));
                tell(&mut queues);
            } else if idle_since.get_or_insert_with(Instant::now).elapsed() < SPIN {
                // A core on the same CPU is woken by its answers, but need not take the CPU away from here; let it have it.
                thread::yield_now();
            } else {
                // Exclusively: the queues' ends are this thread's, with the GIL or without.
                let ends = &mut queues;
                py.detach(move || {
                    self.bell.sleep(|| {
                        self.news.load(Ordering::Acquire)
                            || self.late.load(Ordering::Acquire)
                            || ends.iter().any(|queue| !queue.tasks.is_empty())
                    });
                });
                idle_since = None;
            }
        }
    }
}

/// Puts an answer into its core's queue. There is room for as many as were asked for.
fn hand_out(queues: &mut [Queue], port: PortId, answer: Answer) {
    let Some(queue) = queues.iter_mut().find(|queue| queue.port == port) else { return };
    if queue.answers.push(answer).is_err() {
        // The bounds exclude it; the request then ends by its time limit.
        tracing::error!("an answer of Python found no room");
    }
    queue.answered = true;
}

/// Tells the cores that have answers, each once.
fn tell(queues: &mut [Queue]) {
    for queue in queues.iter_mut().filter(|queue| queue.answered) {
        queue.answered = false;
        let port = queue.port;
        // A core that has stopped waits for nothing.
        let _ = queue.remote.post(move |_| port::answers_came(port));
    }
}
