//! Operations under way: what they need stays here, at a fixed address, until the kernel is done with it.
//!
//! A [`Request`] owns all memory and files that the kernel touches. It lives in the op table of its core from submission to
//! completion, whatever becomes of the future that waits for it: dropping the future asks the kernel to cancel, and
//! the table keeps buffer and file until the kernel has answered.

mod perform;
mod request;
mod stat;

pub(crate) use request::{Request, StatOut};

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use slab::Slab;

use crate::buf::Buf;
use crate::handle::Inner;
use crate::net::{Event, Sink};
use crate::sys::{Errno, SysResult};

enum State {
    /// With the kernel; the task to wake.
    InFlight(Option<Waker>),
    /// Answered; nobody has looked yet.
    Done(SysResult<u32>),
    /// With the kernel, and nobody waits any more.
    Orphan,
    /// With the kernel, which answers once or several times, to here.
    Standing(Rc<dyn Sink>),
}

struct Slot {
    /// Tells this operation from earlier ones in the same slot.
    generation: u32,
    state: State,
    request: Request,
}

/// The op table of one core.
#[derive(Default)]
pub(crate) struct Ops {
    slab: Slab<Slot>,
    in_flight: usize,
    /// Operations that nobody waits for and that the kernel keeps for good.
    abandoned: usize,
    generation: u32,
}

impl Ops {
    /// Puts a request into the table.
    pub(crate) fn insert(&mut self, request: Request) -> usize {
        self.add(request, State::InFlight(None))
    }

    /// Puts a request into the table whose answers go to `sink`.
    pub(crate) fn insert_standing(&mut self, request: Request, sink: Rc<dyn Sink>) -> usize {
        self.add(request, State::Standing(sink))
    }

    fn add(&mut self, request: Request, state: State) -> usize {
        self.in_flight += 1;
        self.generation = self.generation.wrapping_add(1);
        self.slab.insert(Slot { generation: self.generation, state, request })
    }

    /// Where the answers of a standing operation go. After the last one its request comes out of the table.
    fn answer(&mut self, key: usize, more: bool) -> Option<(Rc<dyn Sink>, Option<Request>)> {
        let State::Standing(sink) = &self.slab.get(key)?.state else { return None };
        let sink = sink.clone();
        if more {
            return Some((sink, None));
        }
        self.in_flight -= 1;
        Some((sink, Some(self.slab.remove(key).request)))
    }

    /// The number under which the ring knows the operation in slot `key`. Never the same for two operations in flight, nor
    /// for one and the cancellation of its predecessor in the slot.
    pub(crate) fn token(&self, key: usize) -> Option<u64> {
        let slot = self.slab.get(key)?;
        Some(u64::from(slot.generation) << 32 | u64::try_from(key).ok()?)
    }

    /// The slot of the operation with this number.
    pub(crate) fn key(&self, token: u64) -> Option<usize> {
        let key = usize::try_from(token & u64::from(u32::MAX)).ok()?;
        (self.token(key) == Some(token)).then_some(key)
    }

    /// The request of an operation under way, for the driver.
    pub(crate) fn request(&mut self, key: usize) -> Option<&mut Request> {
        self.slab.get_mut(key).map(|slot| &mut slot.request)
    }

    /// Operations that the kernel still holds.
    pub(crate) const fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Keys of the operations that the kernel still holds.
    pub(crate) fn keys_in_flight(&self) -> Vec<usize> {
        let held = |slot: &Slot| !matches!(slot.state, State::Done(_));
        self.slab.iter().filter(|(_, slot)| held(slot)).map(|(key, _)| key).collect()
    }

    /// Takes note of the kernel's answer. Returns whom to wake, or a request that nobody waits for, to be discarded.
    fn complete(&mut self, key: usize, result: SysResult<u32>) -> Completed {
        let Some(slot) = self.slab.get_mut(key) else { return Completed::Unknown };
        match std::mem::replace(&mut slot.state, State::Done(result)) {
            State::InFlight(waker) => {
                self.in_flight -= 1;
                Completed::Wake(waker)
            }
            State::Orphan => {
                if slot.request.is_cancellable() {
                    self.in_flight -= 1;
                } else {
                    self.abandoned -= 1;
                }
                Completed::Discard(self.slab.remove(key).request)
            }
            other @ (State::Done(_) | State::Standing(_)) => {
                slot.state = other;
                Completed::Unknown
            }
        }
    }
}

impl Drop for Ops {
    /// Memory that the kernel still holds is left to it for ever: better lost than written to after somebody else got it.
    fn drop(&mut self) {
        if self.in_flight + self.abandoned > 0 {
            std::mem::forget(std::mem::take(&mut self.slab));
        }
    }
}

enum Completed {
    Wake(Option<Waker>),
    Discard(Request),
    Unknown,
}

/// Waits for one operation.
pub(crate) struct Op {
    core: Rc<Inner>,
    key: Option<usize>,
}

impl Op {
    /// Hands `request` to the driver.
    pub(crate) fn submit(core: &Rc<Inner>, request: Request) -> Self {
        let key = core.ops.borrow_mut().insert(request);
        core.driver.start(core, key);
        Self { core: core.clone(), key: Some(key) }
    }
}

impl Future for Op {
    type Output = (SysResult<u32>, Request);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let key = self.key.expect("not polled again after it was ready");
        let mut ops = self.core.ops.borrow_mut();
        match &mut ops.slab[key].state {
            State::InFlight(waker) => {
                *waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            State::Done(_) => {}
            State::Orphan | State::Standing(_) => unreachable!("these have no future"),
        }
        let slot = ops.slab.remove(key);
        drop(ops);
        self.key = None;
        let State::Done(result) = slot.state else { unreachable!("just looked") };
        Poll::Ready((result, slot.request))
    }
}

impl Drop for Op {
    fn drop(&mut self) {
        let Some(key) = self.key.take() else { return };
        let mut ops = self.core.ops.borrow_mut();
        let Some(slot) = ops.slab.get_mut(key) else { return };
        match std::mem::replace(&mut slot.state, State::Orphan) {
            State::InFlight(_) if !slot.request.is_cancellable() => {
                ops.in_flight -= 1;
                ops.abandoned += 1;
            }
            State::InFlight(_) => {
                drop(ops);
                self.core.driver.cancel(&self.core, key);
            }
            State::Done(result) => {
                let request = ops.slab.remove(key).request;
                drop(ops);
                request.discard(result, &self.core.sys);
            }
            state @ (State::Orphan | State::Standing(_)) => slot.state = state,
        }
    }
}

impl Inner {
    /// Delivers an answer of the kernel to operation `key`: the bytes in the buffer that it picked, if it did, and whether
    /// more answers follow.
    pub(crate) fn answer(&self, key: usize, result: SysResult<u32>, buf: Option<Buf>, more: bool) {
        let standing = self.ops.borrow_mut().answer(key, more);
        match standing {
            Some((sink, request)) => {
                if sink.put(Event { result, buf, request }) {
                    self.driver.cancel(self, key);
                }
            }
            None => self.complete(key, result),
        }
    }

    /// Delivers the kernel's one answer to operation `key`.
    fn complete(&self, key: usize, result: SysResult<u32>) {
        let completed = self.ops.borrow_mut().complete(key, result);
        match completed {
            Completed::Wake(waker) => {
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            Completed::Discard(request) => request.discard(result, &self.sys),
            Completed::Unknown => {
                tracing::error!(key, "the kernel answered an operation that does not exist")
            }
        }
    }
}

/// A completion's result field as a `SysResult`.
pub(crate) fn from_raw(result: i32) -> SysResult<u32> {
    u32::try_from(result).map_err(|_| Errno::from_raw_os_error(result.checked_neg().unwrap_or(libc::EIO)))
}
