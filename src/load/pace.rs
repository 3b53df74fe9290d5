//! When the next operation begins.
//!
//! In a closed loop, when the one before has ended. In an open loop, at a fixed rate: the n-th operation is meant to begin at
//! n times the period, and its time is counted from then on, also when nobody was free to begin it. So a target that stalls is
//! charged with everything that was due meanwhile, which a closed loop would leave out.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio_uring::fs::File;

use super::recorder::Recorder;

const SECOND: u64 = 1_000_000_000;

/// How late a timer may be on its own account, in nanoseconds: an idle virtual processor takes some 60 µs to wake up.
const TIMER_SLACK: u64 = 200_000;

/// Shortest time that the timer is set for, in nanoseconds: at high rates one wake-up lets several begin.
const SHORTEST_WAIT: u64 = 50_000;

/// The times at which operations are due: those of one thread among several.
#[derive(Clone, Debug)]
pub struct Schedule {
    start: u64,
    period: f64,
    /// The number of the next one, among those of all threads.
    next: Cell<u64>,
    step: u64,
}

impl Schedule {
    /// From `start` (nanoseconds) on, `rate` per second by `threads` threads together, of which this is number `index`.
    pub fn new(start: u64, rate: f64, index: usize, threads: usize) -> Self {
        let period = SECOND as f64 / rate.max(f64::MIN_POSITIVE);
        Self { start, period, next: Cell::new(index as u64), step: threads.max(1) as u64 }
    }

    /// Takes the next time.
    fn take(&self) -> u64 {
        let number = self.next.get();
        self.next.set(number + self.step);
        self.start.saturating_add((number as f64 * self.period) as u64)
    }

    /// How many of this thread's are due from `from` on and before `to`, and were not taken.
    pub fn untaken(&self, from: u64, to: u64) -> u64 {
        let place = |time: u64| (time.saturating_sub(self.start) as f64 / self.period).ceil() as u64;
        place(to).saturating_sub(self.next.get().max(place(from))).div_ceil(self.step)
    }
}

/// The pace of one thread.
pub struct Pace {
    schedule: Option<Schedule>,
    end: u64,
    recorder: Rc<Recorder>,
    waiting: RefCell<VecDeque<(u64, Waker)>>,
    alarm: RefCell<Option<Waker>>,
    over: Cell<bool>,
}

impl Pace {
    /// Until `end`; without a schedule, in a closed loop.
    pub fn new(recorder: Rc<Recorder>, schedule: Option<Schedule>, end: u64) -> Rc<Self> {
        Rc::new(Self {
            schedule,
            end,
            recorder,
            waiting: RefCell::default(),
            alarm: RefCell::default(),
            over: Cell::new(false),
        })
    }

    /// The schedule of an open loop.
    pub fn schedule(&self) -> Option<&Schedule> {
        self.schedule.as_ref()
    }

    /// Waits until the next operation may begin and says when it was meant to; `None` when the time is over.
    pub async fn next(&self) -> Option<u64> {
        let now = self.recorder.now();
        if now >= self.end {
            return None;
        }
        let Some(schedule) = &self.schedule else { return Some(now) };
        let due = schedule.take();
        if due >= self.end {
            return None;
        }
        if due <= now {
            return Some(due);
        }
        self.wait_until(due).await;
        // Somebody was free in time. That the timer was a little late is no fault of the target; if it was more, this thread
        // was kept from running, and nobody knows by whom.
        let now = self.recorder.now();
        Some(if now.saturating_sub(due) <= TIMER_SLACK { now } else { due })
    }

    fn wait_until(&self, due: u64) -> impl Future<Output = ()> {
        let mut waits = false;
        poll_fn(move |cx| {
            if self.recorder.now() >= due || self.over.get() {
                return Poll::Ready(());
            }
            if !waits {
                waits = true;
                // Times are taken in their order, so the queue is sorted.
                self.waiting.borrow_mut().push_back((due, cx.waker().clone()));
                if let Some(alarm) = self.alarm.borrow_mut().take() {
                    alarm.wake();
                }
            }
            Poll::Pending
        })
    }

    /// Lets everybody go.
    pub fn stop(&self) {
        self.over.set(true);
        self.waiting.borrow_mut().drain(..).for_each(|(_, waker)| waker.wake());
        if let Some(alarm) = self.alarm.borrow_mut().take() {
            alarm.wake();
        }
    }

    /// Wakes those who are due, by a timer of the kernel: that of the runtime counts in milliseconds. Runs until
    /// [`Pace::stop`].
    ///
    /// # Errors
    /// The kernel has no timer for us.
    pub async fn run(self: Rc<Self>) -> io::Result<()> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
        let handle = File::from_std(timer.try_clone()?.into());
        let mut expirations = vec![0; 8];
        while !self.over.get() {
            let Some(due) = self.soonest().await else { break };
            let wait = due.saturating_sub(self.recorder.now()).max(SHORTEST_WAIT);
            let spec = Itimerspec {
                it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
                it_value: Timespec { tv_sec: (wait / SECOND).cast_signed(), tv_nsec: (wait % SECOND) as _ },
            };
            timerfd_settime(&timer, TimerfdTimerFlags::empty(), &spec)?;
            let (read, buffer) = handle.read_at(expirations, 0).await;
            expirations = buffer;
            read?;
            let now = self.recorder.now();
            let mut waiting = self.waiting.borrow_mut();
            while waiting.front().is_some_and(|(due, _)| *due <= now) {
                if let Some((_, waker)) = waiting.pop_front() {
                    waker.wake();
                }
            }
        }
        Ok(())
    }

    /// The time of who is due first, as soon as anybody waits; `None` at the end.
    async fn soonest(&self) -> Option<u64> {
        poll_fn(|cx| {
            if self.over.get() {
                return Poll::Ready(None);
            }
            if let Some((due, _)) = self.waiting.borrow().front() {
                return Poll::Ready(Some(*due));
            }
            *self.alarm.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Instant;

    proptest! {
        /// All threads together have each time of the schedule once, in order.
        #[test]
        fn threads_share_a_schedule(rate in 1.0_f64..1e6, threads in 1_usize..5, start in 0_u64..1 << 40) {
            let schedules: Vec<_> = (0..threads).map(|index| Schedule::new(start, rate, index, threads)).collect();
            let mut all: Vec<u64> = schedules.iter().flat_map(|own| [own.take(), own.take(), own.take()]).collect();
            all.sort_unstable();
            for (number, time) in all.into_iter().enumerate() {
                prop_assert_eq!(time, start + (number as f64 * SECOND as f64 / rate) as u64);
            }
        }

        #[test]
        fn what_was_not_taken_is_counted(taken in 0_u64..50, due in 0_u64..50) {
            let schedule = Schedule::new(1000, 1e9, 0, 1);
            (0..taken).for_each(|_| _ = schedule.take());
            prop_assert_eq!(schedule.untaken(1000, 1000 + due), due.saturating_sub(taken));
            prop_assert_eq!(schedule.untaken(1000 + due, 1000 + due), 0);
        }
    }

    #[test]
    fn an_open_loop_keeps_its_times_when_the_target_stalls() {
        tokio_uring::start(async {
            let recorder = Rc::new(Recorder::new(Instant::now(), false));
            let begin = recorder.now();
            let schedule = Schedule::new(begin, 1000.0, 0, 1);
            let pace = Pace::new(Rc::clone(&recorder), Some(schedule), begin + 40_000_000);
            let timer = tokio_uring::spawn(Rc::clone(&pace).run());
            let mut meant = Vec::new();
            while let Some(due) = pace.next().await {
                assert!(recorder.now() >= due);
                // A timer that is a little late does not count.
                meant.push((due - begin) / 1_000_000);
                if meant.len() == 5 {
                    std::thread::sleep(std::time::Duration::from_millis(20));
                }
            }
            pace.stop();
            timer.await.unwrap().unwrap();
            let expected: Vec<u64> = (0..meant.len() as u64).collect();
            assert_eq!(meant, expected);
        });
    }

    #[test]
    fn a_closed_loop_begins_now_and_ends() {
        tokio_uring::start(async {
            let recorder = Rc::new(Recorder::new(Instant::now(), false));
            let pace = Pace::new(Rc::clone(&recorder), None, recorder.now() + SECOND);
            let before = recorder.now();
            assert!(pace.next().await.unwrap() >= before);
            let over = Pace::new(Rc::clone(&recorder), None, recorder.now());
            assert_eq!(over.next().await, None);
        });
    }
}
