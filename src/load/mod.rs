//! `kiln load`: puts a load on a brick, stock or Kiln, or on a mounted directory, and tells how it was borne.
//!
//! [`run`] leads some threads ([`crew`]) from step to step: connect, make files, open them, work, read back, remove. Each has a
//! `tokio-uring` runtime with the workers of some connections; a worker does one operation of a [`workload`](workloads) at a
//! time, when its [`pace`] allows it, on a [target](targets). Times and counts gather in each thread's [`recorder`] and come together
//! in [`results`]. While that goes on, this thread reads what the brick's process uses, and draws the progress.

mod blocks;
mod client;
mod config;
mod crew;
mod distribution;
mod kinds;
mod machine;
mod names;
mod pace;
mod process;
mod progress;
mod recorder;
mod report;
mod results;
mod targets;
#[cfg(test)]
mod tests;
mod workloads;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

pub use blocks::SMALLEST as SMALLEST_BLOCK;
pub use client::{Peer, Setup};
pub use config::{LoadConfig, Plan, Where};
pub use distribution::Distribution;
pub use report::{log, table};
pub use results::Results;
pub use workloads::Workload;

use config::TargetInfo;
use crew::{Common, Report, Step};
use machine::Machine;
use progress::Progress;
use results::{Gathered, Run, Use};
use targets::Target;
use targets::brick::BrickTarget;
use targets::mount::MountTarget;
use workloads::Checked;

/// How often this thread looks at what the others do.
const TICK: Duration = Duration::from_millis(50);
/// Between the word to begin and the beginning, so that all threads begin at once.
const LEAD: Duration = Duration::from_millis(5);

/// Runs a load to its end, or until `stop` is set.
///
/// # Errors
/// A sentence about what prevented it. Single operations that fail do not.
pub fn run(config: &LoadConfig, stop: Arc<AtomicBool>) -> Result<Results, String> {
    match &config.target {
        Where::Brick { setup, name } => {
            let listener = process::listener(&setup.peer);
            let (address, pid) = (setup.peer.to_string(), config.pid.or(listener));
            let bricks = names::candidates(name.as_deref(), listener);
            let setup = Setup { bricks, ..setup.clone() };
            let name = Arc::new(OnceLock::new());
            let target = BrickTarget { setup, name: Arc::clone(&name) };
            lead(config, target, pid, stop, || {
                let brick = name.get().cloned().unwrap_or_default();
                TargetInfo::Brick { address: address.clone(), brick }
            })
        }
        Where::Mount(dir) => {
            let target = MountTarget { dir: dir.clone() };
            lead(config, target, config.pid, stop, || TargetInfo::Mount { dir: dir.clone() })
        }
    }
}

/// The threads, as this one sees them.
struct Lead {
    steps: Vec<Sender<Step>>,
    reports: Receiver<(usize, Report)>,
    progress: Progress,
}

impl Lead {
    /// Lets the first `count` threads do a step, and waits for their reports. `tick` is called meanwhile, and says when it
    /// wants to be called again at the latest.
    fn step(
        &mut self,
        step: Step,
        count: usize,
        mut tick: impl FnMut(&mut Progress) -> Duration,
    ) -> Result<Vec<Report>, String> {
        for to in &self.steps[..count] {
            // A thread that is gone has said why.
            let _ = to.send(step);
        }
        let mut all = Vec::with_capacity(count);
        while all.len() < count {
            let wait = tick(&mut self.progress).min(TICK);
            match self.reports.recv_timeout(wait) {
                Ok((_, Report::Failed(why))) => return Err(why),
                Ok((_, report)) => all.push(report),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err("a thread of the load died".to_owned()),
            }
        }
        Ok(all)
    }

    /// A step of which the threads count the parts.
    fn part(
        &mut self,
        step: Step,
        count: usize,
        what: &'static str,
        len: u64,
    ) -> Result<Vec<Report>, String> {
        self.progress.begin(what, len);
        self.step(step, count, |progress| {
            progress.tick(None);
            TICK
        })
    }
}

fn lead<T: Target>(
    config: &LoadConfig,
    target: T,
    pid: Option<u32>,
    stop: Arc<AtomicBool>,
    info: impl Fn() -> TargetInfo,
) -> Result<Results, String> {
    let plan = &config.plan;
    let counters: Vec<_> = (0..plan.threads).map(|_| Arc::default()).collect();
    let common = Arc::new(Common {
        target,
        plan: plan.clone(),
        base: Instant::now(),
        set: OnceLock::new(),
        stop: Arc::clone(&stop),
        progress: counters.clone(),
    });
    let (report, reports) = channel();
    let mut steps = Vec::new();
    let mut threads = Vec::new();
    for index in 0..plan.threads {
        let (step, taken) = channel();
        let (common, report) = (Arc::clone(&common), report.clone());
        let name = format!("load-{index}");
        let thread =
            thread::Builder::new().name(name).spawn(move || crew::run(&common, index, &taken, &report));
        threads.push(thread.map_err(|error| format!("a thread cannot be started: {error}"))?);
        steps.push(step);
    }
    drop(report);
    let mut lead = Lead { steps, reports, progress: Progress::new(config.progress, counters) };
    let outcome = whole(config, &mut lead, &common, pid, &info);
    lead.progress.end();
    if outcome.is_ok() {
        // They have nothing to do any more; after a failure one may hang in the kernel, and this process ends anyway.
        drop(lead);
        threads.into_iter().for_each(|thread| _ = thread.join());
    }
    outcome
}

/// All steps.
fn whole<T: Target>(
    config: &LoadConfig,
    lead: &mut Lead,
    common: &Common<T>,
    pid: Option<u32>,
    info: &impl Fn() -> TargetInfo,
) -> Result<Results, String> {
    let (plan, threads) = (&config.plan, config.plan.threads);
    let workers = plan.workers();
    lead.step(Step::Connect, threads, |_| TICK)?;
    lead.part(Step::Prepare, 1, "preparing", workloads::steps(plan))?;
    lead.part(Step::Open, threads, "opening", workers)?;
    let measured = measure(lead, common, pid)?;
    let mut gathered = Gathered::default();
    for report in measured.reports {
        if let Report::Seen(seen) = report {
            gathered.add(*seen);
        }
    }
    let mut checked = None;
    if plan.verify {
        let all = checked.get_or_insert_with(Checked::default);
        for report in lead.part(Step::ReadBack, threads, "verifying", workers)? {
            if let Report::Checked(one) = report {
                all.add(one);
            }
        }
    }
    let cleaned = lead
        .part(Step::Clean, threads, "removing", workers)
        .and_then(|_| lead.part(Step::Remove, 1, "removing", workloads::steps(plan)));
    if let Err(why) = cleaned {
        tracing::warn!("{why}");
        eprintln!("kiln: the files of the load are not all removed: {why}");
    }
    Ok(gathered.into_results(Run {
        plan,
        machine: Machine::this(),
        target: info(),
        date: machine::utc(SystemTime::now()),
        began: measured.began,
        seconds: measured.seconds,
        before: measured.before,
        after: measured.after,
        checked,
    }))
}

/// What came out of the time that counts.
struct Measured {
    reports: Vec<Report>,
    began: SystemTime,
    seconds: f64,
    before: Use,
    after: Use,
}

fn measure<T: Target>(lead: &mut Lead, common: &Common<T>, pid: Option<u32>) -> Result<Measured, String> {
    let plan = &common.plan;
    let start = common.base.elapsed() + LEAD;
    let from = start + plan.warmup;
    let end = if plan.count.is_some() { Duration::MAX } else { from + plan.duration };
    let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let (mut before, mut after) = (None, None);
    let mut began = SystemTime::now();
    let timed = plan.count.is_none() && plan.workload != Workload::Unlink;
    lead.progress.begin("measuring", plan.count.unwrap_or(if timed { ns(end - start) } else { plan.files }));
    let step = Step::Run { start: ns(start), from: ns(from), end: ns(end) };
    let reports = lead.step(step, plan.threads, |progress| {
        let now = common.base.elapsed();
        if now >= from && before.is_none() {
            before = Some(usage(pid));
            began = SystemTime::now();
        }
        if now >= end && after.is_none() {
            after = Some(usage(pid));
        }
        progress.tick(timed.then(|| ns(now.saturating_sub(start))));
        let next = if now < from { from } else { end };
        next.saturating_sub(now).max(Duration::from_micros(100))
    })?;
    let after = after.unwrap_or_else(|| usage(pid));
    // The last operation that counted ends the time, unless the clock did.
    let last = reports.iter().filter_map(|report| match report {
        Report::Seen(seen) => Some(Duration::from_nanos(seen.last)),
        _ => None,
    });
    let early =
        plan.count.is_some() || plan.workload == Workload::Unlink || common.stop.load(Ordering::Relaxed);
    let ended = if early { last.max().unwrap_or(from).min(end) } else { end };
    let seconds = ended.saturating_sub(from).as_secs_f64();
    Ok(Measured { reports, began, seconds, before: before.unwrap_or(after), after })
}

/// What the kernel says of the brick's process and ours.
fn usage(pid: Option<u32>) -> Use {
    Use {
        brick: pid.and_then(|pid| Some((pid, process::cpu_ns(pid)?))),
        memory: pid.and_then(process::memory).unwrap_or_default(),
        own: process::cpu_ns(std::process::id()).unwrap_or(0),
    }
}
