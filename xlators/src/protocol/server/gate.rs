//! How much may be under way: whoever wants more waits, and what is not read yet stays with its sender.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Requests and bytes, in use and allowed.
#[derive(Debug)]
pub(super) struct Gate {
    requests: Cell<usize>,
    bytes: Cell<usize>,
    max_requests: Cell<usize>,
    max_bytes: Cell<usize>,
    waiting: RefCell<Vec<Waiting>>,
    /// The number that was given last.
    last: Cell<u64>,
}

/// Somebody who waits.
#[derive(Debug)]
struct Waiting {
    number: u64,
    waker: Waker,
    cost: Cost,
    max_bytes: usize,
}

/// Takes who does not wait any more off the list.
struct Place<'a> {
    gate: &'a Gate,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.gate.waiting.borrow_mut().retain(|waiting| waiting.number != self.number);
    }
}

/// What one request takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    pub requests: usize,
    pub bytes: usize,
}

impl Cost {
    pub(super) fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.bytes += other.bytes;
    }
}

impl Gate {
    pub(super) const fn new(max_requests: usize, max_bytes: usize) -> Self {
        Self {
            requests: Cell::new(0),
            bytes: Cell::new(0),
            max_requests: Cell::new(max_requests),
            max_bytes: Cell::new(max_bytes),
            waiting: RefCell::new(Vec::new()),
            last: Cell::new(0),
        }
    }

    /// Whether there is room. The only request may be of any size: it could never be served otherwise.
    pub(super) fn has_room(&self, cost: Cost) -> bool {
        self.has_room_in(cost, self.max_bytes.get())
    }

    /// The same, with a quarter of the memory left to those who hold little: however many hold much, and for however long.
    pub(super) fn has_room_for_much(&self, cost: Cost) -> bool {
        self.has_room_in(cost, self.much())
    }

    /// What those may hold together who hold much.
    fn much(&self) -> usize {
        self.max_bytes.get() - self.max_bytes.get() / 4
    }

    fn has_room_in(&self, cost: Cost, max_bytes: usize) -> bool {
        let fits = |used: usize, more: usize, most: usize| used == 0 || used.saturating_add(more) <= most;
        fits(self.requests.get(), cost.requests, self.max_requests.get())
            && fits(self.bytes.get(), cost.bytes, max_bytes)
    }

    pub(super) fn enter(&self, cost: Cost) {
        self.requests.set(self.requests.get() + cost.requests);
        self.bytes.set(self.bytes.get() + cost.bytes);
    }

    pub(super) fn leave(&self, cost: Cost) {
        debug_assert!(
            self.requests.get() >= cost.requests && self.bytes.get() >= cost.bytes,
            "{self:?} {cost:?}"
        );
        self.requests.set(self.requests.get().saturating_sub(cost.requests));
        self.bytes.set(self.bytes.get().saturating_sub(cost.bytes));
        if !self.waiting.borrow().is_empty() {
            // Those for whom there is no room yet are not bothered: a crowd of them would cost every request of others.
            self.wake(|waiting| self.has_room_in(waiting.cost, waiting.max_bytes));
        }
    }

    /// Lets some of those who wait look again.
    fn wake(&self, which: impl Fn(&Waiting) -> bool) {
        let woken: Vec<Waiting> =
            self.waiting.borrow_mut().extract_if(.., |waiting| which(waiting)).collect();
        woken.into_iter().for_each(|waiting| waiting.waker.wake());
    }

    /// Lets all of those who wait look again.
    pub(super) fn reconsider(&self) {
        self.wake(|_| true);
    }

    /// Waits until there may be room, as [`Self::has_room`] says, or this has to be looked at again.
    pub(super) async fn room(&self, cost: Cost) {
        self.room_in(cost, self.max_bytes.get()).await;
    }

    /// As [`Self::has_room_for_much`] says.
    pub(super) async fn room_for_much(&self, cost: Cost) {
        self.room_in(cost, self.much()).await;
    }

    async fn room_in(&self, cost: Cost, max_bytes: usize) {
        let number = self.last.get() + 1;
        self.last.set(number);
        let _place = Place { gate: self, number };
        let mut waits = false;
        poll_fn(|cx| {
            let mut all = self.waiting.borrow_mut();
            let mine = all.iter_mut().find(|waiting| waiting.number == number);
            match mine {
                None if waits => return Poll::Ready(()),
                Some(mine) => mine.waker.clone_from(cx.waker()),
                None => all.push(Waiting { number, waker: cx.waker().clone(), cost, max_bytes }),
            }
            waits = true;
            Poll::Pending
        })
        .await;
    }

    pub(super) fn in_use(&self) -> Cost {
        Cost { requests: self.requests.get(), bytes: self.bytes.get() }
    }

    /// Whether somebody waits.
    pub(super) fn is_wanted(&self) -> bool {
        !self.waiting.borrow().is_empty()
    }

    /// Other limits, for requests to come.
    pub(super) fn set_limits(&self, max_requests: usize, max_bytes: usize) {
        self.max_requests.set(max_requests);
        self.max_bytes.set(max_bytes);
        self.reconsider();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_request_always_fits() {
        let gate = Gate::new(2, 100);
        let huge = Cost { requests: 1, bytes: 1000 };
        assert!(gate.has_room(huge));
        gate.enter(huge);
        assert!(!gate.has_room(Cost { requests: 1, bytes: 1 }));
        gate.leave(huge);
        let small = Cost { requests: 1, bytes: 10 };
        gate.enter(small);
        gate.enter(small);
        assert!(!gate.has_room(small), "two requests are the limit");
        assert!(gate.has_room(Cost { requests: 0, bytes: 80 }));
        gate.set_limits(3, 100);
        assert!(gate.has_room(small));
        assert_eq!(gate.in_use(), Cost { requests: 2, bytes: 20 });
        let more = |bytes| Cost { requests: 1, bytes };
        assert!(gate.has_room_for_much(more(55)) && !gate.has_room_for_much(more(56)));
        assert!(gate.has_room(more(80)), "but there is that much");
    }
}
