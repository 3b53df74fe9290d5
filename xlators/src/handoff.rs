//! One value from any core to one task, where the giver learns whether it was taken.
//!
//! A wait for another core can be dropped at any time (the client is gone). A lock that was granted at that very moment
//! must not stay behind, so exactly one side knows that the value got lost: [`Giver::give`] returns it when nobody waits any
//! more, and [`Taker::abandon`] returns it when it had come but was not taken.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

#[derive(Debug)]
enum State<T> {
    Empty(Option<Waker>),
    Full(T),
    /// Taken, abandoned, or never to come.
    Over,
}

type Cell<T> = Arc<Mutex<State<T>>>;

fn locked<T>(cell: &Cell<T>) -> MutexGuard<'_, State<T>> {
    cell.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The end that gives. Dropped without a value, it tells the other end so.
#[derive(Debug)]
pub struct Giver<T>(Cell<T>);

/// The end that waits; `None` when the giver was dropped without a value.
#[derive(Debug)]
pub struct Taker<T>(Cell<T>);

/// A new pair.
#[must_use]
pub fn handoff<T>() -> (Giver<T>, Taker<T>) {
    let cell = Arc::new(Mutex::new(State::Empty(None)));
    (Giver(Arc::clone(&cell)), Taker(cell))
}

impl<T> Giver<T> {
    /// Gives the value and wakes the taker.
    ///
    /// # Errors
    /// The value itself, when nobody waits for it any more.
    pub fn give(self, value: T) -> Result<(), T> {
        let waker = {
            let mut state = locked(&self.0);
            match &mut *state {
                State::Empty(waker) => {
                    let waker = waker.take();
                    *state = State::Full(value);
                    waker
                }
                _ => return Err(value),
            }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }
}

impl<T> Drop for Giver<T> {
    fn drop(&mut self) {
        let waker = {
            let mut state = locked(&self.0);
            match &mut *state {
                State::Empty(waker) => {
                    let waker = waker.take();
                    *state = State::Over;
                    waker
                }
                _ => None,
            }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Taker<T> {
    /// Stops waiting; the value, if it has come and was not taken. The giver gets everything that comes later back.
    pub fn abandon(&self) -> Option<T> {
        match std::mem::replace(&mut *locked(&self.0), State::Over) {
            State::Full(value) => Some(value),
            _ => None,
        }
    }
}

impl<T> Future for Taker<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = locked(&self.0);
        match &mut *state {
            State::Empty(waker) => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
            _ => match std::mem::replace(&mut *state, State::Over) {
                State::Full(value) => Poll::Ready(Some(value)),
                _ => Poll::Ready(None),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use kiln_uring::sim::Sim;

    use super::*;

    #[test]
    fn a_value_is_taken_returned_or_found() {
        Sim::new(1).run(async |_| {
            let (giver, taker) = handoff();
            giver.give(1).unwrap();
            assert_eq!(taker.await, Some(1));

            let (giver, taker) = handoff();
            assert_eq!(taker.abandon(), None);
            assert_eq!(giver.give(2), Err(2));

            let (giver, taker) = handoff();
            giver.give(3).unwrap();
            assert_eq!(taker.abandon(), Some(3));

            let (giver, taker) = handoff::<u8>();
            drop(giver);
            assert_eq!(taker.await, None);
        });
    }
}
