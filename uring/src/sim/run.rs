//! The deterministic executor: all cores of an engine on one thread, in virtual time.
//!
//! Each step picks, by the seed, one core that has something to do, and on it one runnable task (any of them, not the
//! first) or one message. Every step costs some virtual time; when nothing can run, time jumps to the next timer or
//! completion. So one seed is one interleaving, and replays it.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::MemFs;
use super::faults::Kernel;
use super::world::{Action, Latency, Port, World};
use crate::buf::Pool;
use crate::driver::Driver;
use crate::handle::{Core, Inner, Parts};
use crate::local;
use crate::mailbox::{Mail, Remote, Shared, next_engine};
use crate::step::Ran;
use crate::sys::{Errno, Sys};
use crate::task::TaskId;
use crate::time::Instant;

/// Pool memory of a simulated core in bytes, unless told otherwise.
const POOL: usize = 4 << 20;
/// Most virtual time that one step takes, in nanoseconds.
const STEP_NANOS: u64 = 2000;

/// A simulated machine: kernel, clock, randomness and any number of cores, all decided by one seed.
///
/// Time goes on from one run to the next, and the kernel keeps its files, so a test can stop a run in the middle
/// ([`Sim::run_for`]), cut the power of its [`MemFs`], and start again.
pub struct Sim {
    seed: u64,
    world: Rc<World>,
    tolerate_panics: Cell<bool>,
    pool: Cell<usize>,
}

impl std::fmt::Debug for Sim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sim")
            .field("seed", &self.seed)
            .field("now", &self.world.now())
            .finish_non_exhaustive()
    }
}

impl Sim {
    /// A machine with an empty file system in memory.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with_fs(seed, MemFs::new())
    }

    /// A machine with this file system in memory, which the caller may keep a hand on.
    #[must_use]
    pub fn with_fs(seed: u64, fs: Arc<MemFs>) -> Self {
        Self::on(Kernel::over(fs, seed), seed)
    }

    /// A machine around any kernel. With the real one files are real; time, order and faults are still simulated.
    #[must_use]
    pub fn with_sys(seed: u64, sys: Arc<dyn Sys>) -> Self {
        Self::on(Kernel::around(sys, seed), seed)
    }

    fn on(kernel: Kernel, seed: u64) -> Self {
        let world = Rc::new(World::new(Arc::new(kernel), seed));
        Self { seed, world, tolerate_panics: Cell::new(false), pool: Cell::new(POOL) }
    }

    /// The seed, for messages.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// The kernel that cores of this machine see, with its hooks for faults.
    #[must_use]
    pub fn kernel(&self) -> &Arc<Kernel> {
        &self.world.kernel
    }

    /// How long operations of the ring and of helpers take from now on.
    pub fn set_latency(&self, latency: Latency) {
        self.world.latency.set(latency);
    }

    /// Pool memory of each core of the next runs, in bytes: 4 MiB otherwise, which take longer to make than a short run.
    pub fn set_pool(&self, bytes: usize) {
        self.pool.set(bytes);
    }

    /// Lets a run go on to its end when a task panics; without this the run panics at its end.
    pub fn tolerate_panics(&self) {
        self.tolerate_panics.set(true);
    }

    /// A number that stands for every decision made so far: two runs with equal numbers took the same course.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.world.fingerprint()
    }

    /// Virtual time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.world.now()
    }

    /// Runs a future on one core to its end, then drops whatever it left running.
    ///
    /// # Panics
    /// When nothing can ever run again before the future is ready, or when a task panicked.
    pub fn run<T, Fut: Future<Output = T>>(&self, f: impl FnOnce(Core) -> Fut) -> T {
        let mut f = Some(f);
        let mut once = |core| (f.take().expect("there is one core"))(core);
        let values = self.drive(1, None, &mut once);
        values.into_iter().flatten().next().expect("without a limit the run ends with a value")
    }

    /// Runs a future on one core for at most `limit` of virtual time and drops everything then, as if the machine had lost
    /// power; `None` if the future was not ready by then.
    ///
    /// # Panics
    /// As [`Sim::run`].
    pub fn run_for<T, Fut: Future<Output = T>>(
        &self,
        limit: Duration,
        f: impl FnOnce(Core) -> Fut,
    ) -> Option<T> {
        let mut f = Some(f);
        let mut once = |core| (f.take().expect("there is one core"))(core);
        self.drive(1, Some(self.now() + limit), &mut once).into_iter().flatten().next()
    }

    /// Runs one future on each of `n` cores of one engine until all are ready; their values by core number.
    ///
    /// # Panics
    /// As [`Sim::run`].
    pub fn run_cores<T, Fut: Future<Output = T>>(&self, n: usize, mut f: impl FnMut(Core) -> Fut) -> Vec<T> {
        let values = self.drive(n, None, &mut f);
        values.into_iter().map(|value| value.expect("without a limit every core ends with a value")).collect()
    }

    fn drive<T, Fut: Future<Output = T>>(
        &self,
        n: usize,
        deadline: Option<Instant>,
        f: &mut dyn FnMut(Core) -> Fut,
    ) -> Vec<Option<T>> {
        let cores = Cores::new(n, &self.world, self.pool.get());
        let mut roots: Vec<Root<Fut>> = Vec::new();
        for core in &cores.all {
            let _here = local::enter(core);
            core.tasks.borrow_mut().insert_root();
            roots.push(Root { future: Some(Box::pin(f(Core(core.clone())))), value: None });
        }
        while roots.iter().any(|root| root.value.is_none()) {
            if deadline.is_some_and(|deadline| self.now() >= deadline) {
                break;
            }
            cores.catch_up();
            if let Some(index) = cores.pick() {
                let spent = self.world.rng.borrow_mut().below(STEP_NANOS);
                self.world.kernel.advance_to(self.now() + Duration::from_nanos(spent));
                let core = &cores.all[index];
                let _here = local::enter(core);
                if let Some(id) = cores.step(core) {
                    roots[index].poll(core, id);
                }
            } else if let Some(next) = cores.next_event() {
                self.world.kernel.advance_to(deadline.map_or(next, |deadline| next.min(deadline)));
            } else {
                panic!("seed {}: deadlock, nothing can run and nothing is under way", self.seed);
            }
        }
        let values = roots
            .iter_mut()
            .zip(&cores.all)
            .map(|(root, core)| {
                let _here = local::enter(core);
                root.future = None;
                root.value.take()
            })
            .collect();
        let panics: usize = cores.all.iter().map(|core| core.panics.get()).sum();
        drop(cores);
        assert!(
            panics == 0 || self.tolerate_panics.get(),
            "seed {}: {panics} tasks panicked, see the log above",
            self.seed
        );
        values
    }
}

/// A future given to the run, and its value.
struct Root<Fut: Future> {
    future: Option<Pin<Box<Fut>>>,
    value: Option<Fut::Output>,
}

impl<Fut: Future> Root<Fut> {
    fn poll(&mut self, core: &Inner, id: TaskId) {
        let Some(future) = &mut self.future else { return };
        let waker = core.wake_ref(id).waker();
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            self.value = Some(value);
            self.future = None;
        }
    }
}

/// The cores of one run.
struct Cores {
    all: Vec<Rc<Inner>>,
    world: Rc<World>,
}

impl Cores {
    fn new(n: usize, world: &Rc<World>, pool: usize) -> Self {
        let engine = next_engine();
        let shared: Vec<Arc<Shared>> = (0..n)
            .map(|id| local::register(|number| Arc::new(Shared::new(number, id, engine, None))))
            .map(|shared| shared.expect("fewer than 65536 cores live in a process"))
            .collect();
        let peers: Arc<[Remote]> = shared.iter().cloned().map(Remote).collect();
        let all = shared
            .into_iter()
            .zip(Mail::mesh(n))
            .map(|(shared, mail)| {
                Inner::new(Parts {
                    shared,
                    peers: peers.clone(),
                    sys: world.kernel.clone(),
                    driver: Driver::Sim(Port::new(world.clone())),
                    pool: Pool::new(pool),
                    mail,
                })
            })
            .collect();
        Self { all, world: world.clone() }
    }

    /// Lets everything happen that is due.
    fn catch_up(&self) {
        loop {
            // Before each action: one that has to wait must not miss what the one before it did to a socket.
            self.world.carry();
            let Some(action) = self.world.due() else { break };
            match action {
                Action::Complete { core, key } => {
                    if let Some(core) = self.all.get(core) {
                        let _here = local::enter(core);
                        core.come_back(key, &*self.world.kernel);
                    }
                }
                Action::Help { core, job } => {
                    // On a helper's thread there is no core, but here a wake must not wait for room in a queue.
                    if let Some(core) = self.all.get(core) {
                        let _here = local::enter(core);
                        job(&*self.world.kernel);
                    }
                }
            }
        }
        for core in &self.all {
            let _here = local::enter(core);
            core.fire_timers(self.world.now());
        }
    }

    /// A core that has something to do.
    fn pick(&self) -> Option<usize> {
        for core in &self.all {
            core.mail.flush(&core.peers);
        }
        let busy: Vec<usize> = (0..self.all.len()).filter(|&index| self.all[index].has_work()).collect();
        if busy.is_empty() {
            return None;
        }
        Some(busy[self.world.rng.borrow_mut().below(busy.len() as u64) as usize])
    }

    /// One step of a core; a root that is to be polled.
    fn step(&self, core: &Rc<Inner>) -> Option<TaskId> {
        let runnable = core.tasks.borrow().runnable() as u64;
        let mail = u64::from(core.mail.waiting(&core.shared) > 0);
        let choice = self.world.rng.borrow_mut().below(runnable + mail);
        self.world.note([3, core.shared.id as u64, choice]);
        if choice == runnable {
            core.take_message(0);
            return None;
        }
        match core.run_task(choice as usize) {
            Ran::Task => None,
            Ran::Root(id) => Some(id),
        }
    }

    fn next_event(&self) -> Option<Instant> {
        let timers = self.all.iter().filter_map(|core| core.timers.borrow().next());
        timers.chain(self.world.next()).min()
    }
}

impl Drop for Cores {
    fn drop(&mut self) {
        // Nothing that was under way happens any more.
        for core in &self.all {
            core.shared.close();
            let _here = local::enter(core);
            core.drop_tasks();
            local::unregister(&core.shared);
        }
        self.world.forget();
        for core in &self.all {
            let under_way = core.ops.borrow().keys_in_flight();
            for key in under_way {
                core.answer(key, Err(Errno::CANCELED), None, false);
            }
            while core.mail.receive(&core.shared, 0).is_some() {}
        }
    }
}

impl Inner {
    fn has_work(&self) -> bool {
        self.tasks.borrow().runnable() > 0 || self.mail.waiting(&self.shared) > 0
    }

    /// Performs a simulated operation and delivers its answer.
    fn come_back(&self, key: usize, sys: &dyn Sys) {
        let Driver::Sim(port) = &self.driver else { return };
        if port.take_cancelled(key) {
            port.forget(key);
            return self.answer(key, Err(Errno::CANCELED), None, false);
        }
        let socket = match self.ops.borrow_mut().request(key) {
            Some(request) => request.socket(),
            None => return,
        };
        let Some(fd) = socket else {
            let result = match self.ops.borrow_mut().request(key) {
                Some(request) => request.perform(sys),
                None => return,
            };
            return self.answer(key, result, None, false);
        };
        let Some((result, buf, more)) = port.attempt(self, key, fd) else { return };
        if more {
            // Before the answer, which may ask for the end.
            port.start(self, key);
        } else {
            port.forget(key);
        }
        self.answer(key, result, buf, more);
    }
}
