//! The loop of one core.
//!
//! ```text
//! loop {
//!     take completions          deliver the ring's answers, which wakes tasks
//!     fire timers               those that are due
//!     take messages             from the other cores and from foreign threads, a bounded number
//!     run tasks                 until none is runnable, or the budget of the turn is spent
//!     flush                     messages that found a full queue before
//!     work left?   submit       hand new operations to the kernel, all at once, and go round again
//!     nothing?     settle       those who wait for just that, such as senders: submit, and if that brings anything, go round
//!                               again, a few times; while the core is patient, others get its CPU first
//!                  spin         for a moment, if so configured and requests have been coming quickly
//!                  sleep        in the ring, which also submits, until a completion, a timer, or the bell
//! }
//! ```
//!
//! One system call per turn at most, and none when the turn neither made nor awaits an operation. Before it sleeps the core
//! declares so and looks at its mailboxes once more; whoever posts after that look rings the bell (see [`crate::mailbox`]).

use std::rc::Rc;
use std::time::Duration;

use crate::driver::{Driver, Ring};
use crate::handle::{Core, Counters, Inner};
use crate::patience::Patience;
use crate::step::Ran;
use crate::time::Instant;

/// Messages taken in one turn.
const MESSAGES_PER_TURN: usize = 256;
/// Tasks run between two looks at the clock.
const TASKS_PER_LOOK: usize = 8;
/// Turns for which those who wait for the end of work are put off at most.
const PUT_OFF: usize = 8;
/// How long a core with messages that another core has no room for waits before it tries again.
const OVERFLOW_RETRY: Duration = Duration::from_millis(1);
/// How long the end waits for the kernel to give back operations.
const LAST_ANSWERS: Duration = Duration::from_secs(30);

/// What the loop may spend.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Tasks per turn, at most this many.
    pub(crate) tasks: usize,
    /// Time for tasks per turn, about.
    pub(crate) turn: Duration,
    /// Longest spin before sleeping.
    pub(crate) spin: Duration,
    /// Whether a wake always takes the CPU at once.
    pub(crate) preempt: bool,
}

/// What was cut off at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CutOff {
    pub(crate) tasks: usize,
    pub(crate) operations: usize,
}

/// Runs a core until it is told to stop, then ends its tasks and waits for its operations.
pub(crate) fn run(core: &Rc<Inner>, budget: Budget) -> CutOff {
    let Driver::Ring(ring) = &core.driver else { return CutOff::default() };
    let mut pace = Pace::default();
    let mut patience = Patience::new(!budget.preempt);
    let mut turn = 0_usize;
    let mut put_off = 0_usize;
    ring.arm_bell();
    while !core.stopping.now.get() {
        turn = turn.wrapping_add(1);
        let mut work = ring.reap(core);
        let timed = core.timers.borrow().next().is_some().then(|| now(core));
        core.turn_time.set(timed);
        work += timed.map_or(0, |now| core.fire_timers(now));
        work += (0..MESSAGES_PER_TURN).take_while(|_| core.take_message(turn)).count();
        let ran = run_tasks(core, budget);
        Counters::add(&core.counters.turns, 1);
        Counters::add(&core.counters.polls, ran);
        work += ran;
        let overflow = core.mail.flush(&core.peers);
        let runnable = core.tasks.borrow().runnable();
        core.shared.publish(runnable + core.mail.waiting(&core.shared));
        if !core.settling.is_empty() {
            settle(core, ring, &mut put_off, &patience);
            continue;
        }
        put_off = 0;
        if has_work(core) {
            ring.submit();
            continue;
        }
        if core.stopping.now.get() {
            break;
        }
        if work > 0 && !budget.spin.is_zero() && pace.await_more(core, ring, budget.spin) {
            continue;
        }
        patience.sleeping(core.counters.sleeps.get(), core.counters.polls.get(), || now(core));
        sleep(core, ring, overflow);
    }
    finish(core, ring)
}

fn now(core: &Inner) -> Instant {
    Instant::from_nanos(core.sys.monotonic())
}

/// Whether there is something to do without a look at the kernel.
fn has_work(core: &Inner) -> bool {
    core.tasks.borrow().runnable() > 0 || core.mail.waiting(&core.shared) > 0
}

/// Lets those run who wait until there is nothing else to do, unless there is, and they were not put off too often.
fn settle(core: &Inner, ring: &Ring, put_off: &mut usize, patience: &Patience) {
    if patience.is_patient() && !has_work(core) {
        std::thread::yield_now();
    }
    ring.submit();
    if *put_off < PUT_OFF && (has_work(core) || ring.has_completions()) {
        *put_off += 1;
        return;
    }
    *put_off = 0;
    core.settling.release();
}

/// Runs woken tasks within the budget; how many.
fn run_tasks(core: &Rc<Inner>, budget: Budget) -> usize {
    let mut ran = 0;
    let mut since = None;
    while ran < budget.tasks && core.tasks.borrow().runnable() > 0 {
        match core.run_task(0) {
            Ran::Task => ran += 1,
            Ran::Root(id) => core.tasks.borrow_mut().remove(id),
        }
        if ran % TASKS_PER_LOOK == 0 {
            let now = now(core);
            if now - *since.get_or_insert(now) > budget.turn {
                break;
            }
        }
    }
    ran
}

fn sleep(core: &Inner, ring: &Ring, overflow: usize) {
    Counters::add(&core.counters.sleeps, 1);
    core.shared.declare_asleep();
    if core.mail.waiting(&core.shared) == 0 {
        let timer = core.timers.borrow().next().map(|at| at - now(core));
        let limit = match (timer, overflow) {
            (limit, 0) => limit,
            (limit, _) => Some(limit.map_or(OVERFLOW_RETRY, |limit| limit.min(OVERFLOW_RETRY))),
        };
        ring.wait(limit);
    }
    core.shared.declare_awake();
}

/// Decides whether waiting awake pays: only while the last gap between two pieces of work was short.
#[derive(Default)]
struct Pace {
    idle_since: Option<Instant>,
}

impl Pace {
    /// Called when work has just been done. Spins until there is more, which is true, or until it does not pay.
    fn await_more(&mut self, core: &Inner, ring: &Ring, longest: Duration) -> bool {
        let start = now(core);
        let Some(gap) = self.idle_since.replace(start).map(|before| start - before) else { return false };
        if gap > longest {
            return false;
        }
        loop {
            ring.submit();
            if ring.has_completions() || core.mail.waiting(&core.shared) > 0 {
                return true;
            }
            let now = now(core);
            if core.timers.borrow().next().is_some_and(|at| at <= now) {
                return true;
            }
            if now - start > longest {
                return false;
            }
            std::hint::spin_loop();
        }
    }
}

/// Drops what still runs and waits until the kernel has let go of all memory.
fn finish(core: &Rc<Inner>, ring: &Ring) -> CutOff {
    let tasks = core.drop_tasks();
    let operations = core.ops.borrow().in_flight();
    let end = now(core) + LAST_ANSWERS;
    while core.ops.borrow().in_flight() > 0 && now(core) < end {
        ring.wait(Some(Duration::from_millis(100)));
        ring.reap(core);
    }
    let stuck = core.ops.borrow().in_flight();
    if stuck > 0 {
        tracing::error!(
            core = core.shared.id,
            stuck,
            "the kernel keeps operations after 30 s (a device that does not answer?); their memory is left to it"
        );
    }
    core.shared.close();
    ring.stop_helpers();
    while core.mail.receive(&core.shared, 0).is_some() {}
    CutOff { tasks, operations }
}

impl Core {
    /// Ends the loop at the end of this turn.
    pub(crate) fn stop(&self) {
        self.0.stopping.now.set(true);
    }

    /// Whether nothing is alive or under way here.
    pub(crate) fn is_idle(&self) -> bool {
        let core = &self.0;
        core.tasks.borrow().len() == 0
            && core.ops.borrow().in_flight() == 0
            && core.mail.waiting(&core.shared) == 0
            && core.mail.overflowed() == 0
    }
}
