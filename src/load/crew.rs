//! One thread of a load: its runtime, its sessions, and the workers on them.
//!
//! The thread does one step after the other as it is told; between them its runtime rests, and nothing is under way.

use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use super::config::Plan;
use super::distribution::Chooser;
use super::pace::{Pace, Schedule};
use super::recorder::{Interval, Recorder, Tallies};
use super::targets::{Done, OpError, Session, Target};
use super::workloads::{Checked, FileSet, Opened, Shared, Worker};

/// What a thread is told to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Connect.
    Connect,
    /// Make the file set; the first thread alone.
    Prepare,
    /// Open what is needed, on all connections.
    Open,
    /// Work. Times are nanoseconds since the base.
    Run {
        /// When it begins.
        start: u64,
        /// When it begins to count.
        from: u64,
        /// When it ends.
        end: u64,
    },
    /// Read back what was written.
    ReadBack,
    /// Remove what workers made, and close everything.
    Clean,
    /// Remove the file set; the first thread alone.
    Remove,
}

/// What a thread has seen while it worked.
#[derive(Debug, Default)]
pub struct Seen {
    /// What happened.
    pub tallies: Tallies,
    /// The same, by seconds.
    pub intervals: Vec<Interval>,
    /// When the last operation that counted ended, in nanoseconds since the base.
    pub last: u64,
    /// Names that were listed.
    pub listed: u64,
    /// Operations that were due, and for which nobody was free until the end.
    pub not_begun: u64,
}

/// What a thread says when a step is over.
#[derive(Debug)]
pub enum Report {
    /// It went well.
    Ready,
    /// After [`Step::Run`].
    Seen(Box<Seen>),
    /// After [`Step::ReadBack`].
    Checked(Checked),
    /// It cannot go on.
    Failed(String),
}

/// What threads share.
pub struct Common<T: Target> {
    /// On what.
    pub target: T,
    /// What is to be done.
    pub plan: Plan,
    /// Where times begin.
    pub base: Instant,
    /// The files, once they are there.
    pub set: OnceLock<Arc<FileSet<<T::Session as Session>::Node>>>,
    /// The operator does not want to wait until the end.
    pub stop: Arc<AtomicBool>,
    /// What each thread has done of the present step.
    pub progress: Vec<Arc<AtomicU64>>,
}

/// Runs a thread: the steps that come, until there are no more.
pub fn run<T: Target>(
    common: &Common<T>,
    index: usize,
    steps: &Receiver<Step>,
    reports: &Sender<(usize, Report)>,
) {
    let say = |report| _ = reports.send((index, report));
    // Replies are looked for when there is something to do with them; an interrupt of the thread is not needed.
    let mut ring = tokio_uring::uring_builder();
    ring.setup_coop_taskrun().setup_cqsize(4096);
    let runtime = match tokio_uring::Runtime::new(tokio_uring::builder().entries(1024).uring_builder(&ring)) {
        Ok(runtime) => runtime,
        Err(error) => return say(Report::Failed(format!("io_uring cannot be used: {error}"))),
    };
    let mut crew = Crew {
        common,
        index,
        plan: Rc::new(common.plan.clone()),
        recorder: Rc::new(Recorder::new(common.base, common.plan.intervals)),
        sessions: Vec::new(),
        workers: Vec::new(),
        opened: Vec::new(),
    };
    while let Ok(step) = steps.recv() {
        let report = runtime.block_on(crew.take(step)).unwrap_or_else(Report::Failed);
        let failed = matches!(report, Report::Failed(_));
        say(report);
        if failed {
            break;
        }
    }
    // The tasks of connections see the end, so that the runtime has nothing under way when it goes.
    runtime.block_on(async {
        crew.sessions.iter().for_each(|session| session.end());
        tokio::task::yield_now().await;
    });
}

struct Crew<'c, T: Target> {
    common: &'c Common<T>,
    index: usize,
    plan: Rc<Plan>,
    recorder: Rc<Recorder>,
    sessions: Vec<Rc<T::Session>>,
    workers: Vec<Worker<T::Session>>,
    opened: Vec<Rc<Opened<T::Session>>>,
}

impl<T: Target> Crew<'_, T> {
    async fn take(&mut self, step: Step) -> Result<Report, String> {
        let named = |what: &'static str| move |error: OpError| format!("{what}: {error}");
        match step {
            Step::Connect => self.connect()?,
            Step::Prepare => self.prepare().await?,
            Step::Open => self.open().await.map_err(named("the files cannot be opened"))?,
            Step::Run { start, from, end } => {
                return self.work(start, from, end).await.map(|seen| Report::Seen(Box::new(seen)));
            }
            Step::ReadBack => {
                return self
                    .read_back()
                    .await
                    .map(Report::Checked)
                    .map_err(named("what was written cannot be read back"));
            }
            Step::Clean => self.clean().await.map_err(named("what was made cannot be removed"))?,
            Step::Remove => self.remove().await.map_err(named("the files cannot be removed"))?,
        }
        Ok(Report::Ready)
    }

    /// The numbers of the connections of this thread.
    fn numbers(&self) -> impl Iterator<Item = usize> + use<T> {
        (self.index..self.plan.connections).step_by(self.plan.threads)
    }

    fn connect(&mut self) -> Result<(), String> {
        for _ in self.numbers() {
            self.sessions.push(Rc::new(self.common.target.connect()?));
        }
        Ok(())
    }

    async fn prepare(&mut self) -> Result<(), String> {
        let Some(session) = self.sessions.first() else { return Ok(()) };
        let set = FileSet::prepare(session, &self.plan, self.progress()).await?;
        // Only one thread prepares.
        let _ = self.common.set.set(Arc::new(set));
        Ok(())
    }

    fn progress(&self) -> &Arc<AtomicU64> {
        &self.common.progress[self.index]
    }

    async fn open(&mut self) -> Done {
        let Some(set) = self.common.set.get() else { return Ok(()) };
        let plan = &self.plan;
        for (number, session) in self.numbers().zip(&self.sessions) {
            let opened = Rc::new(Opened::open(&**session, set, plan).await?);
            self.opened.push(Rc::clone(&opened));
            // What goes one after the other does so on each connection, from places far from each other.
            let start = |len: u64| len / plan.connections as u64 * number as u64;
            let shared = Shared {
                session: Rc::clone(session),
                opened,
                set: Arc::clone(set),
                plan: Rc::clone(plan),
                recorder: Rc::clone(&self.recorder),
                blocks: Chooser::new(plan.distribution, plan.blocks(), start(plan.blocks())),
                names: Chooser::new(plan.distribution, plan.entries, start(plan.entries)),
            };
            let first = number * plan.depth;
            self.workers
                .extend((first..first + plan.depth).map(|number| Worker::new(&shared, number as u64)));
        }
        self.each(|mut worker| async move {
            let made = worker.prepare().await;
            (worker, made)
        })
        .await
    }

    /// Lets all workers do something at once, and waits for them. They are given away and come back.
    async fn each<F, R>(&mut self, what: F) -> Done
    where
        F: Fn(Worker<T::Session>) -> R,
        R: Future<Output = (Worker<T::Session>, Done)> + 'static,
    {
        let workers = std::mem::take(&mut self.workers).into_iter();
        let tasks: Vec<_> = workers.map(|worker| tokio_uring::spawn(what(worker))).collect();
        let mut all = Ok(());
        for task in tasks {
            let (worker, outcome) = task.await.map_err(|error| lost(&error))?;
            self.workers.push(worker);
            all = all.and(outcome);
        }
        all
    }

    async fn work(&mut self, start: u64, from: u64, end: u64) -> Result<Seen, String> {
        self.recorder.open(from, end);
        // All threads begin at once. Nothing is under way here that could mind.
        let lead = start.saturating_sub(self.recorder.now());
        std::thread::sleep(std::time::Duration::from_nanos(lead));
        let plan = Rc::clone(&self.plan);
        let schedule = plan.rate.map(|rate| Schedule::new(start, rate, self.index, plan.threads));
        let timed = schedule.is_some();
        let pace = Pace::new(Rc::clone(&self.recorder), schedule, end);
        let timer = timed.then(|| tokio_uring::spawn(Rc::clone(&pace).run()));
        let (pace_, common) =
            (Rc::clone(&pace), (Arc::clone(&self.common.stop), Arc::clone(self.progress())));
        let outcome = self
            .each(move |worker| {
                let (pace, (stop, progress)) = (Rc::clone(&pace_), common.clone());
                work(worker, pace, stop, progress)
            })
            .await;
        pace.stop();
        if let Some(timer) = timer.filter(|timer| timer.is_finished())
            && let Ok(Err(error)) = timer.await
        {
            return Err(format!("the timer of the open loop failed: {error}"));
        }
        outcome.map_err(|error| error.to_string())?;
        let ended = if self.common.stop.load(Ordering::Relaxed) { from } else { end };
        let counted = plan.count.is_none();
        let untaken = pace.schedule().filter(|_| counted).map_or(0, |schedule| schedule.untaken(from, ended));
        let (tallies, intervals) = self.recorder.take();
        let listed = self.workers.iter().map(|worker| worker.listed).sum();
        Ok(Seen { tallies, intervals, last: self.recorder.last(), listed, not_begun: untaken })
    }

    async fn read_back(&mut self) -> Done<Checked> {
        self.each(|mut worker| async move {
            let read = worker.read_back().await;
            (worker, read)
        })
        .await?;
        let mut all = Checked::default();
        for worker in &mut self.workers {
            all.add(std::mem::take(&mut worker.checked));
        }
        Ok(all)
    }

    async fn clean(&mut self) -> Done {
        if !self.plan.keep || self.plan.reuse {
            self.each(|mut worker| async move {
                let cleaned = worker.clean().await;
                (worker, cleaned)
            })
            .await?;
        }
        self.workers.clear();
        for (session, opened) in self.sessions.iter().zip(self.opened.drain(..)) {
            if let Ok(opened) = Rc::try_unwrap(opened) {
                opened.close(&**session).await?;
            }
        }
        Ok(())
    }

    async fn remove(&mut self) -> Done {
        match (self.sessions.first(), self.common.set.get()) {
            (Some(session), Some(set)) => set.remove(session, &self.plan, self.progress()).await,
            _ => Ok(()),
        }
    }
}

fn lost(error: &tokio::task::JoinError) -> OpError {
    OpError::Broken(super::client::Fault::new(format!("a worker of the load was lost: {error}")))
}

/// What a worker does until the end.
async fn work<S: Session>(
    mut worker: Worker<S>,
    pace: Rc<Pace>,
    stop: Arc<AtomicBool>,
    progress: Arc<AtomicU64>,
) -> (Worker<S>, Done) {
    while !worker.is_done() && !stop.load(Ordering::Relaxed) {
        let Some(since) = pace.next().await else { break };
        let (kind, outcome) = worker.operate().await;
        let outcome = match outcome {
            Ok(bytes) => Ok(bytes),
            Err(OpError::Errno(errno)) => Err(errno),
            Err(broken) => {
                // The others need not go on for a result that nobody will see.
                stop.store(true, Ordering::Relaxed);
                return (worker, Err(broken));
            }
        };
        worker.count(kind, since, outcome);
        progress.fetch_add(1, Ordering::Relaxed);
        worker.left = worker.left.map(|left| left - 1);
    }
    (worker, Ok(()))
}
