//! The engine: one pinned thread per core, their common start and their common end.

use std::future::Future;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::buf::Pool;
use crate::driver::{self, Driver, Facts, Provided, Ring, RingParts, SetupError, Step, explain};
use crate::handle::{Core, Inner, Parts};
use crate::helper::Helpers;
use crate::local;
use crate::mailbox::{Mail, Remote, Shared, next_engine};
use crate::reactor::{self, Budget, CutOff};
use crate::sys::Sys;

/// How often a shutdown looks whether all is done.
const DRAIN_LOOK: Duration = Duration::from_millis(1);

/// What an engine is to be.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Cores; 0 takes as many as the process may use CPUs.
    pub cores: usize,
    /// Whether each core is bound to a CPU of its own (in turn, when there are more cores than CPUs). Kernel workers and
    /// helper threads inherit that CPU, which makes handing work to them ten times cheaper.
    pub pin: bool,
    /// Helper threads per core, for system calls that may block; at least 1.
    pub helpers_per_core: usize,
    /// Kernel workers per ring for operations that block.
    pub kernel_workers: u32,
    /// Entries of the submission queue, rounded up to a power of two; the completion queue has four times as many.
    pub ring_entries: u32,
    /// Bytes of pooled buffers per core; 0 for none. Registered with its ring, which locks them, when the ring first reads
    /// or writes a file.
    pub registered_buffers: usize,
    /// Bytes of memory per core that sockets receive into, as a ring of 16 KiB buffers that the kernel picks from (rounded
    /// down to a power of two of them); 0 for none. Not locked.
    pub receive_buffers: usize,
    /// Longest spin of an idle core before it sleeps, and only while requests follow one another that quickly. 20–50 µs
    /// triples the rate of single requests on a virtual machine; leave it 0 where other threads want the CPU.
    pub spin: Duration,
    /// Whether a core that wakes always takes its CPU from whoever runs there. Otherwise it lets them go on while requests
    /// come several at a time and it does not wait long.
    pub preempt: bool,
    /// Most tasks run in one turn of the loop.
    pub tasks_per_turn: usize,
    /// About the longest time for tasks in one turn of the loop.
    pub turn: Duration,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            cores: 0,
            pin: true,
            helpers_per_core: 4,
            kernel_workers: 16,
            ring_entries: 256,
            registered_buffers: 16 << 20,
            receive_buffers: 4 << 20,
            spin: Duration::ZERO,
            preempt: false,
            tasks_per_turn: 256,
            turn: Duration::from_micros(100),
        }
    }
}

/// How a shutdown went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Tasks that had not ended by themselves.
    pub cut_tasks: usize,
    /// Operations that had to be cancelled.
    pub cut_operations: usize,
}

impl Drained {
    /// Whether everything ended by itself.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.cut_tasks == 0 && self.cut_operations == 0
    }
}

/// A core's thread ended by a panic of the reactor itself.
#[derive(Debug, thiserror::Error)]
#[error("the thread of core {core} panicked; the log has the message")]
pub struct CoreLost {
    /// The core.
    pub core: usize,
}

/// Running cores.
#[derive(Debug)]
pub struct Engine {
    remotes: Arc<[Remote]>,
    threads: Vec<JoinHandle<CutOff>>,
}

/// What `start` waits for, from each core.
type Report = (usize, Result<(), SetupError>);

/// Everything a core's thread starts with.
struct Seed {
    shared: Arc<Shared>,
    peers: Arc<[Remote]>,
    mail: Mail,
    sys: Arc<dyn Sys>,
    cpu: Option<usize>,
    config: EngineConfig,
}

impl Engine {
    /// Starts the cores and runs `init` on each, all at the same time; returns when all have said `Ok`. What `init` spawns goes
    /// on running. If anything fails the cores are stopped again and the first error comes back.
    ///
    /// # Errors
    /// See [`SetupError`].
    pub fn start<F, Fut, E>(config: EngineConfig, sys: Arc<dyn Sys>, init: F) -> Result<Self, SetupError>
    where
        F: Fn(Core) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        let cpus = allowed_cpus()?;
        let n = if config.cores == 0 { cpus.len() } else { config.cores };
        let cells = register(n)?;
        let remotes: Arc<[Remote]> = cells.iter().cloned().map(Remote).collect();
        let mut engine = Self { remotes: remotes.clone(), threads: Vec::new() };
        let init = Arc::new(init);
        let (reports, answers) = mpsc::channel();
        let mut outcome = Ok(());
        for (core, (shared, mail)) in cells.into_iter().zip(Mail::mesh(n)).enumerate() {
            let seed = Seed {
                shared,
                peers: remotes.clone(),
                mail,
                sys: sys.clone(),
                cpu: config.pin.then(|| cpus[core % cpus.len()]),
                config: config.clone(),
            };
            let (reports, init) = (reports.clone(), init.clone());
            let thread = thread::Builder::new()
                .name(format!("kiln-{core}"))
                .spawn(move || core_main(seed, &*init, Reporter { core, reports: Some(reports) }));
            match thread {
                Ok(thread) => engine.threads.push(thread),
                Err(source) => {
                    outcome = Err(SetupError::Thread { core, source });
                    break;
                }
            }
        }
        drop(reports);
        if outcome.is_ok() {
            outcome = wait_for_all(&answers, n);
        }
        match outcome {
            Ok(()) => Ok(engine),
            Err(error) => {
                // The error that comes back is the one that matters; the engine's drop stops and joins the rest.
                drop(engine);
                Err(error)
            }
        }
    }

    /// The addresses of all cores, by number.
    #[must_use]
    pub fn remotes(&self) -> &[Remote] {
        &self.remotes
    }

    /// Stops in order: tells every core ([`Core::shutdown_requested`]), lets tasks and operations come to their end for at most
    /// `drain` while all cores go on serving each other, cancels and drops what is left, and joins the threads.
    ///
    /// # Errors
    /// [`CoreLost`] when a core's thread had panicked.
    pub fn shutdown(mut self, drain: Duration) -> Result<Drained, CoreLost> {
        self.stop(drain)
    }

    fn stop(&mut self, drain: Duration) -> Result<Drained, CoreLost> {
        for remote in &*self.remotes {
            // A core that is closed already has nothing to be told.
            let _ = remote.post(|core| core.0.ask_to_stop());
        }
        self.drain(drain);
        for remote in &*self.remotes {
            let _ = remote.post(Core::stop);
        }
        let mut drained = Drained::default();
        let mut lost = None;
        for (core, thread) in self.threads.drain(..).enumerate() {
            match thread.join() {
                Ok(cut) => {
                    drained.cut_tasks += cut.tasks;
                    drained.cut_operations += cut.operations;
                }
                Err(_) => lost = lost.or(Some(CoreLost { core })),
            }
        }
        // Cores whose threads never came up are still registered.
        for remote in &*self.remotes {
            remote.0.close();
            local::unregister(&remote.0);
        }
        lost.map_or(Ok(drained), Err)
    }

    /// Waits until two looks in a row find every core idle: one look can miss a message on its way from a core that was
    /// looked at later to one that was looked at before.
    fn drain(&self, limit: Duration) {
        let end = Instant::now() + limit;
        let mut quiet = 0;
        while quiet < 2 {
            if Instant::now() >= end {
                return;
            }
            if self.is_idle(end) {
                quiet += 1;
            } else {
                quiet = 0;
                thread::sleep(DRAIN_LOOK);
            }
        }
    }

    fn is_idle(&self, end: Instant) -> bool {
        let (sender, answers) = mpsc::channel();
        let mut asked = 0;
        for remote in &*self.remotes {
            let sender = sender.clone();
            // A send fails only when this function gave up.
            let ask = move |core: &Core| {
                let _ = sender.send(core.is_idle());
            };
            asked += usize::from(remote.post(ask).is_ok());
        }
        drop(sender);
        (0..asked)
            .all(|_| answers.recv_timeout(end.saturating_duration_since(Instant::now())).unwrap_or(false))
    }
}

impl Drop for Engine {
    /// Stops at once, without draining.
    fn drop(&mut self) {
        if !self.threads.is_empty()
            && let Err(error) = self.stop(Duration::ZERO)
        {
            tracing::error!(%error, "stopping the engine");
        }
    }
}

fn wait_for_all(answers: &Receiver<Report>, n: usize) -> Result<(), SetupError> {
    for _ in 0..n {
        // Each core reports exactly once, at the latest when its thread ends.
        match answers.recv() {
            Ok((_, report)) => report?,
            Err(_) => return Err(SetupError::InitPanicked { core: 0 }),
        }
    }
    Ok(())
}

/// Reports once for a core, whatever happens to it.
struct Reporter {
    core: usize,
    reports: Option<Sender<Report>>,
}

impl Reporter {
    fn report(mut self, report: Result<(), SetupError>) {
        self.send(report);
    }

    fn send(&mut self, report: Result<(), SetupError>) {
        if let Some(reports) = self.reports.take() {
            // Nobody listens any more when another core has failed.
            let _ = reports.send((self.core, report));
        }
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.send(Err(SetupError::InitPanicked { core: self.core }));
    }
}

fn allowed_cpus() -> Result<Vec<usize>, SetupError> {
    let set = sched_getaffinity(None).map_err(|errno| explain(Step::Cpus, errno.into(), Facts::gather(0)))?;
    let cpus: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect();
    if cpus.is_empty() {
        let source = io::Error::other("no CPU in the set");
        return Err(SetupError::Other { step: Step::Cpus, source });
    }
    Ok(cpus)
}

/// Makes the outside of `n` cores.
fn register(n: usize) -> Result<Vec<Arc<Shared>>, SetupError> {
    let engine = next_engine();
    let mut all: Vec<Arc<Shared>> = Vec::new();
    let mut outcome = Ok(());
    for id in 0..n {
        let bell = match eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK) {
            Ok(bell) => bell,
            Err(errno) => {
                outcome = Err(explain(Step::Bell, errno.into(), Facts::gather(0)));
                break;
            }
        };
        match local::register(|number| Arc::new(Shared::new(number, id, engine, Some(bell)))) {
            Some(shared) => all.push(shared),
            None => {
                outcome = Err(SetupError::TooManyCores);
                break;
            }
        }
    }
    if outcome.is_err() {
        all.iter().for_each(local::unregister);
    }
    outcome.map(|()| all)
}

/// The thread of one core.
fn core_main<F, Fut, E>(seed: Seed, init: &F, reporter: Reporter) -> CutOff
where
    F: Fn(Core) -> Fut,
    Fut: Future<Output = Result<(), E>> + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let leave = Leave(seed.shared.clone());
    let EngineConfig { tasks_per_turn, turn, spin, preempt, .. } = seed.config;
    let budget = Budget { tasks: tasks_per_turn.max(1), turn, spin, preempt };
    let inner = match build(seed) {
        Ok(inner) => inner,
        Err(error) => {
            drop(leave);
            reporter.report(Err(error));
            return CutOff::default();
        }
    };
    let _here = local::enter(&inner);
    let core = Core(inner.clone());
    let number = core.id();
    let ready = init(core.clone());
    core.spawn(async move {
        let result = ready.await;
        reporter.report(result.map_err(|error| SetupError::Init { core: number, source: error.into() }));
    });
    drop(core);
    reactor::run(&inner, budget)
}

/// Takes a core off the list of those that can be reached when its thread ends, even by a panic.
struct Leave(Arc<Shared>);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.close();
        local::unregister(&self.0);
    }
}

/// Pins the calling thread, then makes its ring, so that kernel workers and helpers inherit the CPU.
fn build(seed: Seed) -> Result<Rc<Inner>, SetupError> {
    let Seed { shared, peers, mail, sys, cpu, config } = seed;
    let core = shared.id;
    if let Some(cpu) = cpu {
        let mut set = CpuSet::new();
        set.set(cpu);
        sched_setaffinity(None, &set).map_err(|errno| SetupError::Pin { core, cpu, source: errno.into() })?;
    }
    driver::check_pool(config.registered_buffers)?;
    let pool = Pool::new(config.registered_buffers);
    let (ring, opcodes) = driver::create(config.ring_entries, config.kernel_workers)?;
    let helpers = Helpers::start(config.helpers_per_core, core, &sys)
        .map_err(|source| SetupError::Thread { core, source })?;
    let provided = Provided::new(&ring, config.receive_buffers).unwrap_or_else(|error| {
        // Linux 5.19; without it receives bring their own memory.
        tracing::debug!(core, %error, "no ring of receive buffers");
        None
    });
    let ring = Ring::new(RingParts {
        ring,
        helpers,
        provided,
        arena: pool.arena().cloned(),
        opcodes: if sys.is_real() { opcodes } else { 0 },
        bell: shared.bell(),
    });
    Ok(Inner::new(Parts { shared, peers, sys, driver: Driver::Ring(Box::new(ring)), pool, mail }))
}
