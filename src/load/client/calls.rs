//! Calls under way: who waits for which reply.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use kiln_xlators::protocol::rpc::programs::fops;
use slab::Slab;

use super::answer::{Answer, Expect};

/// Why nothing more can be asked on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault(pub Rc<str>);

impl Fault {
    /// With this sentence.
    pub fn new(text: impl AsRef<str>) -> Self {
        Self(text.as_ref().into())
    }
}

/// A call that has been made.
struct Call {
    expect: Expect,
    procedure: u32,
    since: Instant,
    waiter: Option<Waker>,
    answer: Option<Answer>,
    /// Nobody waits for the answer any more.
    forgotten: bool,
}

/// See the [module](self). An xid is the place of its call, and in the upper half how often places have been taken, so that
/// a reply that comes twice finds nobody.
#[derive(Default)]
pub struct Calls {
    places: RefCell<Slab<(u16, Call)>>,
    turn: std::cell::Cell<u16>,
    fault: RefCell<Option<Fault>>,
}

impl Calls {
    /// Takes a place for a call and returns its xid; `None` when there are 65,535 already.
    pub fn enter(&self, procedure: u32, expect: Expect, since: Instant) -> Option<u32> {
        let mut places = self.places.borrow_mut();
        let turn = self.turn.get().wrapping_add(1);
        self.turn.set(turn);
        let call = Call { expect, procedure, since, waiter: None, answer: None, forgotten: false };
        let place = u16::try_from(places.vacant_key()).ok()?;
        places.insert((turn, call));
        Some(u32::from(turn) << 16 | u32::from(place))
    }

    /// A reply has come.
    ///
    /// # Errors
    /// A sentence, when it answers nothing or does not decode.
    pub fn complete(&self, xid: u32, accept: Option<u32>, body: &[u8]) -> Result<(), String> {
        let mut places = self.places.borrow_mut();
        let place = (xid & 0xffff) as usize;
        let Some((_, call)) = places.get_mut(place).filter(|(turn, _)| u32::from(*turn) == xid >> 16) else {
            return Err(format!("the brick answered call {xid:#x}, which nobody made"));
        };
        let name = name_of(call.procedure);
        match accept {
            Some(0) => {}
            Some(status) => return Err(format!("the brick did not accept {name} (RPC status {status})")),
            None => return Err(format!("the brick denied {name}")),
        }
        let answer = Answer::read(call.expect, body)
            .map_err(|error| format!("the reply to {name} does not decode: {error}"))?;
        if call.forgotten {
            places.remove(place);
        } else {
            call.answer = Some(answer);
            if let Some(waker) = call.waiter.take() {
                waker.wake();
            }
        }
        Ok(())
    }

    /// Lets all who wait now and later fail with this.
    pub fn fail(&self, fault: &Fault) {
        self.fault.borrow_mut().get_or_insert_with(|| fault.clone());
        for (_, (_, call)) in self.places.borrow_mut().iter_mut() {
            if let Some(waker) = call.waiter.take() {
                waker.wake();
            }
        }
    }

    /// Why nothing more can be asked.
    pub fn fault(&self) -> Option<Fault> {
        self.fault.borrow().clone()
    }

    /// The name of a call that has waited for longer than `limit`.
    pub fn overdue(&self, limit: Duration) -> Option<&'static str> {
        let places = self.places.borrow();
        let late = places.iter().find(|(_, (_, call))| call.answer.is_none() && call.since.elapsed() > limit);
        late.map(|(_, (_, call))| name_of(call.procedure))
    }
}

fn name_of(procedure: u32) -> &'static str {
    fops::name_of(procedure).unwrap_or("a call")
}

/// The answer of a call, once it is there.
pub struct Pending<'c> {
    calls: &'c Calls,
    place: usize,
    taken: bool,
}

impl<'c> Pending<'c> {
    /// Of the call with this number.
    pub const fn new(calls: &'c Calls, xid: u32) -> Self {
        Self { calls, place: (xid & 0xffff) as usize, taken: false }
    }
}

impl Future for Pending<'_> {
    type Output = Result<Answer, Fault>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut places = self.calls.places.borrow_mut();
        let Some((_, call)) = places.get_mut(self.place) else {
            return Poll::Ready(Err(Fault::new("the call is not known")));
        };
        if let Some(answer) = call.answer {
            places.remove(self.place);
            drop(places);
            self.taken = true;
            return Poll::Ready(Ok(answer));
        }
        if let Some(fault) = self.calls.fault() {
            return Poll::Ready(Err(fault));
        }
        match &mut call.waiter {
            Some(waiter) => waiter.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if self.taken {
            return;
        }
        let mut places = self.calls.places.borrow_mut();
        match places.get_mut(self.place) {
            Some((_, call)) if call.answer.is_none() => call.forgotten = true,
            Some(_) => _ = places.remove(self.place),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln_xlators::protocol::rpc::programs::fops::{CommonRsp, procedure};
    use kiln_xlators::protocol::xdr::to_vec;
    use std::task::Poll;

    fn poll(pending: &mut Pending<'_>) -> Poll<Result<Answer, Fault>> {
        Pin::new(pending).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn answers_find_who_waits_and_only_once() {
        let calls = Calls::default();
        let body = to_vec(&CommonRsp { op_ret: -1, op_errno: 2, ..CommonRsp::default() });
        let xid = calls.enter(procedure::FLUSH, Expect::Common, Instant::now()).unwrap();
        let mut pending = Pending::new(&calls, xid);
        assert!(poll(&mut pending).is_pending());
        assert_eq!(calls.overdue(Duration::ZERO), Some("FLUSH"));
        calls.complete(xid, Some(0), &body).unwrap();
        assert_eq!(calls.overdue(Duration::ZERO), None);
        let Poll::Ready(Ok(answer)) = poll(&mut pending) else { panic!("no answer") };
        assert_eq!((answer.ret, answer.errno), (-1, 2));
        assert!(calls.complete(xid, Some(0), &body).is_err());
        // The place is taken again by another call, which the old number does not reach.
        let again = calls.enter(procedure::FLUSH, Expect::Common, Instant::now()).unwrap();
        assert_eq!(xid & 0xffff, again & 0xffff);
        assert!(calls.complete(xid, Some(0), &body).is_err());
    }

    #[test]
    fn what_is_refused_garbled_or_forgotten() {
        let calls = Calls::default();
        let enter = || calls.enter(procedure::STAT, Expect::Attributes, Instant::now()).unwrap();
        let error = |accept| calls.complete(enter(), accept, &[0; 8]).unwrap_err();
        assert!(error(Some(0)).contains("does not decode") && error(Some(4)).contains("status 4"));
        assert!(error(None).contains("denied STAT"));
        let forgotten = calls.enter(procedure::FLUSH, Expect::Common, Instant::now()).unwrap();
        drop(Pending::new(&calls, forgotten));
        calls.complete(forgotten, Some(0), &to_vec(&CommonRsp::default())).unwrap();
        assert!(calls.complete(forgotten, Some(0), &[]).is_err());
        let fault = Fault::new("the brick is gone");
        let left = enter();
        calls.fail(&fault);
        assert_eq!(poll(&mut Pending::new(&calls, left)), Poll::Ready(Err(fault)));
    }
}
