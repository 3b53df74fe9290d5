//! Whether a core that wakes takes its CPU from whoever runs there.
//!
//! The scheduler lets a woken thread interrupt one that computes. That is right for single requests. It is wrong when a
//! client on the same CPU sends many, one after the other: each wakes the core, which interrupts the client, serves one
//! request, sends one reply and sleeps again. With `SCHED_BATCH` (`sched(7)`) the client goes on until it waits, and the core
//! finds all of its requests at once: a third fewer cycles per request, and more requests per second.
//!
//! But a program that never waits keeps such a core from its CPU until the scheduler takes it away, milliseconds later. So a
//! core is patient only while it finds several requests per wake anyway, and while the kernel's own account of its waits for
//! the CPU (`/proc/thread-self/schedstat`) says that they are short; after long ones it takes its CPU at once for a while.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use crate::host::{self, Scheduling};
use crate::time::Instant;

/// Sleeps between two looks at the clock.
const SLEEPS_PER_LOOK: u64 = 32;
/// Shortest time that is judged.
const SHORTEST: Duration = Duration::from_millis(20);
/// Fewest sleeps per second at which anything is to be gained.
const FEWEST_SLEEPS: u64 = 500;
/// Tasks run per sleep, in halves, from which on requests come together: a single one takes five in two sleeps.
const TOGETHER: u64 = 7;
/// The same when it is patient already.
const STILL_TOGETHER: u64 = 6;
/// Mean wait for the CPU that is too long.
const TOO_LONG: Duration = Duration::from_micros(300);
/// How long it is not patient after the first wait that was too long; twice as long after each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(64);
/// Patience that pays for so long clears what was before.
const GOOD: Duration = Duration::from_secs(10);

/// What the kernel says of a thread's waits for its CPU.
#[derive(Clone, Copy, Debug, Default)]
struct Waits {
    total: Duration,
    turns: u64,
}

/// What a core did and suffered in some time.
#[derive(Clone, Copy, Debug)]
struct Seen {
    span: Duration,
    sleeps: u64,
    polls: u64,
    waits: Waits,
}

/// What follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Requests come together and the CPU is there in time.
    Pays,
    /// Nothing is gained.
    Idle,
    /// The CPU comes too late.
    Hurts,
}

impl Seen {
    fn judge(&self, patient: bool) -> Verdict {
        let mean = self.waits.total.checked_div(u32::try_from(self.waits.turns).unwrap_or(u32::MAX));
        if mean.is_some_and(|mean| mean > TOO_LONG) {
            return Verdict::Hurts;
        }
        let enough = u128::from(self.sleeps) * 1_000_000 >= u128::from(FEWEST_SLEEPS) * self.span.as_micros();
        let together = if patient { STILL_TOGETHER } else { TOGETHER };
        if enough && self.polls * 2 >= self.sleeps * together { Verdict::Pays } else { Verdict::Idle }
    }
}

/// Since when something is counted.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    at: Instant,
    sleeps: u64,
    polls: u64,
    waits: Waits,
}

/// The state of one core, see the [module](self).
pub(crate) struct Patience {
    /// `None` where the kernel does not tell, or nobody wants patience.
    account: Option<File>,
    patient: bool,
    mark: Mark,
    next_look: u64,
    since: Instant,
    not_before: Instant,
    pause: Duration,
}

impl Patience {
    /// For the calling thread.
    pub(crate) fn new(wanted: bool) -> Self {
        let account = wanted.then(|| File::open("/proc/thread-self/schedstat").ok()).flatten();
        // A kernel without the account says that the thread never ran.
        let account = account.filter(|file| read(file).is_some_and(|waits| waits.turns > 0));
        Self {
            account,
            patient: false,
            mark: Mark::default(),
            next_look: SLEEPS_PER_LOOK,
            since: Instant::default(),
            not_before: Instant::default(),
            pause: FIRST_PAUSE,
        }
    }

    /// Whether others come first at present.
    pub(crate) const fn is_patient(&self) -> bool {
        self.patient
    }

    /// The core is about to sleep, as often as this since its start, and has run so many tasks. `now` is asked for now and then.
    pub(crate) fn sleeping(&mut self, sleeps: u64, polls: u64, now: impl FnOnce() -> Instant) {
        if sleeps < self.next_look {
            return;
        }
        self.next_look = sleeps + SLEEPS_PER_LOOK;
        let Some(account) = &self.account else {
            self.next_look = u64::MAX;
            return;
        };
        let at = now();
        let span = at - self.mark.at;
        if span < SHORTEST {
            return;
        }
        let waits = read(account).unwrap_or_default();
        let seen = Seen {
            span,
            sleeps: sleeps - self.mark.sleeps,
            polls: polls - self.mark.polls,
            waits: Waits {
                total: waits.total.saturating_sub(self.mark.waits.total),
                turns: waits.turns.saturating_sub(self.mark.waits.turns),
            },
        };
        self.mark = Mark { at, sleeps, polls, waits };
        self.follow(seen.judge(self.patient), at);
    }

    fn follow(&mut self, verdict: Verdict, at: Instant) {
        match verdict {
            Verdict::Pays if !self.patient && at >= self.not_before => {
                self.since = at;
                self.set(true);
            }
            Verdict::Pays if self.patient && at - self.since > GOOD => self.pause = FIRST_PAUSE,
            Verdict::Hurts if self.patient => {
                self.not_before = at + self.pause;
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                self.set(false);
            }
            Verdict::Idle if self.patient => self.set(false),
            Verdict::Pays | Verdict::Idle | Verdict::Hurts => {}
        }
    }

    fn set(&mut self, patient: bool) {
        let scheduling = if patient { Scheduling::Patient } else { Scheduling::Normal };
        if host::set_scheduling(host::thread_id(), scheduling) {
            self.patient = patient;
        } else {
            self.account = None;
        }
    }
}

/// Time waited for a CPU in nanoseconds and number of turns on one: the second and third figure of `schedstat`.
fn read(account: &File) -> Option<Waits> {
    let mut text = [0; 96];
    let len = account.read_at(&mut text, 0).ok()?;
    let mut figures = std::str::from_utf8(text.get(..len)?).ok()?.split_ascii_whitespace().skip(1);
    let mut next = || figures.next()?.parse().ok();
    Some(Waits { total: Duration::from_nanos(next()?), turns: next()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seen(sleeps: u64, polls: u64, wait_us: u64) -> Seen {
        let waits = Waits { total: Duration::from_micros(wait_us * sleeps), turns: sleeps };
        Seen { span: Duration::from_millis(20), sleeps, polls, waits }
    }

    #[test]
    fn single_requests_and_rare_ones_gain_nothing() {
        assert_eq!(seen(400, 1000, 10).judge(true), Verdict::Idle);
        assert_eq!(seen(5, 100, 10).judge(false), Verdict::Idle);
        assert_eq!(seen(200, 700, 10).judge(false), Verdict::Pays);
        assert_eq!(seen(200, 640, 10).judge(false), Verdict::Idle);
        assert_eq!(seen(200, 640, 10).judge(true), Verdict::Pays, "it does not flutter");
        assert_eq!(seen(0, 0, 0).judge(true), Verdict::Idle);
    }

    #[test]
    fn long_waits_hurt_whatever_is_gained() {
        assert_eq!(seen(200, 2000, 301).judge(true), Verdict::Hurts);
        assert_eq!(seen(200, 2000, 299).judge(true), Verdict::Pays);
    }

    #[test]
    fn pauses_grow_and_are_forgotten() {
        let mut patience = Patience::new(true);
        if patience.account.is_none() {
            return;
        }
        let at = |seconds| Instant::default() + Duration::from_secs(seconds);
        let mut ask = |verdict, seconds| {
            patience.follow(verdict, at(seconds));
            patience.patient
        };
        assert!(ask(Verdict::Pays, 1));
        assert!(!ask(Verdict::Hurts, 2));
        assert!(!ask(Verdict::Pays, 2));
        assert!(ask(Verdict::Pays, 3));
        assert!(!ask(Verdict::Hurts, 4));
        assert!(!ask(Verdict::Pays, 5), "the second pause is longer");
        assert!(ask(Verdict::Pays, 6));
        assert!(ask(Verdict::Pays, 17), "ten good seconds");
        assert!(!ask(Verdict::Hurts, 18));
        assert!(ask(Verdict::Pays, 19));
        assert!(!ask(Verdict::Idle, 20));
        assert!(ask(Verdict::Pays, 20));
    }

    #[test]
    fn the_account_is_read() {
        let Ok(account) = File::open("/proc/thread-self/schedstat") else { return };
        assert!(read(&account).is_some());
    }
}
