//! Requests that wait, and callers that do not want to any more.
//!
//! When a signal comes to a process that waits for an answer, the kernel sends an INTERRUPT with the number of the request.
//! It may arrive on another core than the request did. Only fops that change nothing can be dropped on the way (reads,
//! lookups, listings, waits for a lock); a change goes on to its end, and its caller hears what became of it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, Waker};

use hashbrown::HashMap;
use kiln_uring::Errno;

use super::door::Door;
use super::front::Front;
use crate::error::FopResult;

/// Interrupts that came before their requests waited, at most. Most are of requests that were answered meanwhile.
const EARLY: usize = 64;

/// A mount, and a request of it.
type Id = (u64, u64);

#[derive(Default)]
struct Waiting {
    /// `None`: interrupted.
    requests: HashMap<Id, Option<Waker>>,
    early: VecDeque<Id>,
}

thread_local! {
    /// Requests of this core that wait.
    static WAITING: RefCell<Waiting> = RefCell::default();
}

/// Takes a request off the list when it ends, however it does.
struct Listed(Id);

impl Drop for Listed {
    fn drop(&mut self) {
        WAITING.with_borrow_mut(|waiting| waiting.requests.remove(&self.0));
    }
}

impl Waiting {
    /// Whether the request has been interrupted; if not, `waker` is told when it is.
    fn look(&mut self, id: Id, waker: &Waker) -> bool {
        if let Some(at) = self.early.iter().position(|early| *early == id) {
            self.early.remove(at);
            return true;
        }
        match self.requests.get_mut(&id) {
            Some(None) => return true,
            Some(Some(known)) => known.clone_from(waker),
            None => drop(self.requests.insert(id, Some(waker.clone()))),
        }
        false
    }

    fn interrupt(&mut self, id: Id) -> Option<Waker> {
        if let Some(waker) = self.requests.get_mut(&id) {
            return waker.take();
        }
        if self.early.len() == EARLY {
            self.early.pop_front();
        }
        self.early.push_back(id);
        None
    }
}

/// The result of `work`, or `EINTR` when its caller does not wait for it any more. Work that never waits costs nothing more.
pub(super) async fn interruptible<T>(door: &Door, work: impl Future<Output = FopResult<T>>) -> FopResult<T> {
    let id = (door.front().client, door.unique());
    let mut work = pin!(work);
    let mut listed = None;
    poll_fn(|cx| {
        if let Poll::Ready(result) = work.as_mut().poll(cx) {
            return Poll::Ready(result);
        }
        listed.get_or_insert_with(|| Listed(id));
        match WAITING.with_borrow_mut(|waiting| waiting.look(id, cx.waker())) {
            true => Poll::Ready(Err(Errno::INTR.into())),
            false => Poll::Pending,
        }
    })
    .await
}

/// Interrupts a request, on whichever core it waits.
pub(super) fn interrupt(front: &Arc<Front>, unique: u64) {
    let id = (front.client, unique);
    for lane in 0..front.lanes.len() {
        // A core that has stopped has no requests.
        let _ = front.lanes.remote(lane).post(move |_| {
            if let Some(waker) = WAITING.with_borrow_mut(|waiting| waiting.interrupt(id)) {
                waker.wake();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupt_is_seen_whenever_it_comes() {
        let waker = Waker::noop();
        let mut waiting = Waiting::default();
        assert!(!waiting.look((1, 1), waker));
        assert!(waiting.interrupt((1, 1)).is_some());
        assert!(waiting.look((1, 1), waker));
        assert!(waiting.interrupt((1, 2)).is_none());
        assert!(!waiting.look((2, 2), waker));
        assert!(waiting.look((1, 2), waker));
        assert!(!waiting.look((1, 2), waker));
    }

    #[test]
    fn early_interrupts_are_bounded() {
        let mut waiting = Waiting::default();
        (0..1000).for_each(|unique| drop(waiting.interrupt((1, unique))));
        assert_eq!(waiting.early.len(), EARLY);
        assert!(waiting.look((1, 999), Waker::noop()));
    }
}
