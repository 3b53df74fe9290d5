//! Who watches `/dev/fuse`.
//!
//! A request that wakes a core on the CPU of its caller costs a switch; one that wakes another CPU costs ten times as much on a
//! virtual machine. The kernel does not choose: it wakes whoever has waited longest. So one core watches alone, and it is
//! the one on whose CPU the callers run: now and then it looks where its caller is, and hands the watch over. Only while
//! requests gather faster than it reads them, all cores watch.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Poll, Waker};

use kiln_uring::host;

use super::lanes::Lanes;

/// Requests between two looks at where a caller runs. A look reads a file of `/proc`, 5 µs.
const LOOK: u32 = 32;
/// Reads in a row that left another request behind before all cores watch.
const CROWD: u32 = 8;
/// Reads in a row that left none behind before one core is enough again.
const CALM: u32 = 256;

/// What the cores share.
#[derive(Debug)]
pub(super) struct Watch {
    one: AtomicUsize,
    all: AtomicBool,
    over: AtomicBool,
    resting: Vec<Mutex<Option<Waker>>>,
}

/// One core's side.
#[derive(Debug)]
pub(super) struct Watcher {
    lane: usize,
    since_look: u32,
    crowded: u32,
    calm: u32,
}

impl Watch {
    pub(super) fn new(lanes: usize) -> Self {
        Self {
            one: AtomicUsize::new(0),
            all: AtomicBool::new(false),
            over: AtomicBool::new(false),
            resting: (0..lanes).map(|_| Mutex::default()).collect(),
        }
    }

    fn is_on(&self, lane: usize) -> bool {
        let [all, over] = [&self.all, &self.over].map(|flag| flag.load(Ordering::Acquire));
        all || over || self.one.load(Ordering::Acquire) == lane
    }

    /// Waits until this core has to watch.
    pub(super) async fn turn(&self, lane: usize) {
        poll_fn(|cx| {
            if !self.is_on(lane) {
                *self.rest(lane) = Some(cx.waker().clone());
                // Somebody may have handed over in between.
                if !self.is_on(lane) {
                    return Poll::Pending;
                }
            }
            Poll::Ready(())
        })
        .await;
    }

    fn rest(&self, lane: usize) -> std::sync::MutexGuard<'_, Option<Waker>> {
        self.resting[lane].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self, lane: usize) {
        let waker = self.rest(lane).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn call_all(&self) {
        (0..self.resting.len()).for_each(|lane| self.call(lane));
    }

    /// The mount is gone; everybody is to see that.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Release);
        self.call_all();
    }
}

impl Watcher {
    pub(super) const fn new(lane: usize) -> Self {
        Self { lane, since_look: 0, crowded: 0, calm: 0 }
    }

    /// A request of thread `tid` has been read; `more` were there besides.
    pub(super) fn has_read(&mut self, watch: &Watch, lanes: &Lanes, tid: u32, more: bool) {
        if lanes.len() < 2 {
            return;
        }
        if more {
            (self.crowded, self.calm) = (self.crowded.saturating_add(1), 0);
            if self.crowded >= CROWD && !watch.all.load(Ordering::Acquire) {
                watch.all.store(true, Ordering::Release);
                watch.call_all();
            }
            return;
        }
        (self.crowded, self.calm) = (0, self.calm.saturating_add(1));
        let all = watch.all.load(Ordering::Acquire);
        if all && self.calm > CALM {
            watch.all.store(false, Ordering::Release);
        }
        self.since_look += 1;
        if self.since_look < LOOK || all {
            return;
        }
        self.since_look = 0;
        if let Some(lane) = host::cpu_of_thread(tid).and_then(|cpu| lanes.bound_to(cpu))
            && lane != self.lane
        {
            watch.one.store(lane, Ordering::Release);
            watch.call(lane);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::Context;

    use super::*;

    fn is_ready(watch: &Watch, lane: usize) -> bool {
        pin!(watch.turn(lane)).as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn one_watches_until_there_is_a_crowd_or_an_end() {
        let watch = Watch::new(2);
        assert!(is_ready(&watch, 0) && !is_ready(&watch, 1));
        watch.all.store(true, Ordering::Release);
        assert!(is_ready(&watch, 1));
        watch.all.store(false, Ordering::Release);
        watch.one.store(1, Ordering::Release);
        assert!(!is_ready(&watch, 0) && is_ready(&watch, 1));
        watch.end();
        assert!(is_ready(&watch, 0));
    }
}
