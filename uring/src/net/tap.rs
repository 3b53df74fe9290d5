//! One standing operation that answers again and again (multishot accept and receive), and the queue of its answers.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::buf::Buf;
use crate::handle::Inner;
use crate::op::Request;
use crate::sys::{Errno, File, Sys, SysResult};

/// One answer of a standing operation.
pub(crate) struct Event {
    pub(crate) result: SysResult<u32>,
    /// The buffer that the kernel picked for it.
    pub(crate) buf: Option<Buf>,
    /// The request itself, which comes back with the last answer.
    pub(crate) request: Option<Request>,
}

/// Takes the answers of a standing operation, on its core.
pub(crate) trait Sink {
    /// The event without a request is one of several; the last one brings the request back. True asks for the operation to
    /// be cancelled.
    fn put(&self, event: Event) -> bool;
}

/// What an answer becomes.
pub(crate) trait Item: Sized + 'static {
    /// Reads an event.
    fn from_event(sys: &Arc<dyn Sys>, event: Event) -> SysResult<Self>;
    /// How much of the tap's allowance it takes while it waits.
    fn weight(&self) -> usize;
}

struct Inbox<T> {
    sys: Arc<dyn Sys>,
    queue: RefCell<VecDeque<SysResult<T>>>,
    /// Sum of weights in the queue.
    weight: Cell<usize>,
    /// Weight from which on the operation is stopped.
    limit: usize,
    /// The slot of the operation under way.
    under_way: Cell<Option<usize>>,
    cancelling: Cell<bool>,
    /// Nobody will look any more.
    abandoned: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl<T: Item> Sink for Inbox<T> {
    fn put(&self, event: Event) -> bool {
        let asked = self.cancelling.get();
        if event.request.is_some() {
            self.under_way.set(None);
            self.cancelling.set(false);
        }
        let cancelled = asked && event.result == Err(Errno::CANCELED);
        // Made in any case, so that what an answer hands over is closed or given back.
        let item = T::from_event(&self.sys, event);
        if self.abandoned.get() {
            return false;
        }
        if !cancelled {
            self.weight.set(self.weight.get() + item.as_ref().map_or(0, T::weight));
            self.queue.borrow_mut().push_back(item);
        }
        let waker = self.waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
        let stop =
            self.weight.get() >= self.limit && !self.cancelling.get() && self.under_way.get().is_some();
        if stop {
            self.cancelling.set(true);
        }
        stop
    }
}

/// A standing operation and its unread answers. Dropping it cancels the operation; what still comes is discarded.
pub(crate) struct Tap<T: Item> {
    core: Rc<Inner>,
    inbox: Rc<Inbox<T>>,
}

impl<T: Item> Tap<T> {
    /// A tap without an operation. One that is started is stopped when unread answers weigh `limit`.
    pub(crate) fn new(core: &Rc<Inner>, limit: usize) -> Self {
        let inbox = Inbox {
            sys: core.sys.clone(),
            queue: RefCell::default(),
            weight: Cell::new(0),
            limit,
            under_way: Cell::new(None),
            cancelling: Cell::new(false),
            abandoned: Cell::new(false),
            waker: RefCell::default(),
        };
        Self { core: core.clone(), inbox: Rc::new(inbox) }
    }

    /// Whether an operation is under way.
    pub(crate) fn is_open(&self) -> bool {
        self.inbox.under_way.get().is_some()
    }

    /// Starts an operation; there must be none. EOPNOTSUPP is the answer where only plain system calls exist.
    pub(crate) fn open(&self, request: Request) {
        debug_assert!(!self.is_open(), "one operation at a time");
        if !self.core.driver.can(&request) {
            self.inbox.queue.borrow_mut().push_back(Err(Errno::OPNOTSUPP));
            return;
        }
        let key = self.core.ops.borrow_mut().insert_standing(request, self.inbox.clone());
        self.inbox.under_way.set(Some(key));
        self.core.driver.start(&self.core, key);
    }

    /// Asks the operation to end. Answers may still come until [`Tap::is_open`] is false.
    pub(crate) fn stop(&self) {
        if let Some(key) = self.inbox.under_way.get()
            && !self.inbox.cancelling.replace(true)
        {
            self.core.driver.cancel(&self.core, key);
        }
    }

    /// Takes the oldest unread answer.
    pub(crate) fn pop(&self) -> Option<SysResult<T>> {
        let item = self.inbox.queue.borrow_mut().pop_front()?;
        let weight = item.as_ref().map_or(0, T::weight);
        self.inbox.weight.set(self.inbox.weight.get() - weight);
        Some(item)
    }

    /// Waits until there is an answer or no operation.
    pub(crate) fn poll_change(&self, cx: &Context<'_>) -> Poll<()> {
        if !self.is_open() || !self.inbox.queue.borrow().is_empty() {
            return Poll::Ready(());
        }
        let old = self.inbox.waker.replace(Some(cx.waker().clone()));
        drop(old);
        Poll::Pending
    }
}

impl<T: Item> Drop for Tap<T> {
    fn drop(&mut self) {
        self.inbox.abandoned.set(true);
        self.stop();
        let unread = self.inbox.queue.take();
        drop(unread);
    }
}

impl Item for Buf {
    /// The received bytes; none at the end of the stream.
    fn from_event(_: &Arc<dyn Sys>, event: Event) -> SysResult<Self> {
        let n = event.result? as usize;
        let mut buf = match (event.buf, event.request) {
            (Some(buf), _) | (None, Some(Request::Recv { buf, .. })) => buf,
            (None, _) => Self::empty(),
        };
        buf.truncate(n);
        Ok(buf)
    }

    /// The memory that it keeps, not what is in it.
    fn weight(&self) -> usize {
        self.capacity()
    }
}

impl Item for File {
    /// An accepted connection.
    fn from_event(sys: &Arc<dyn Sys>, event: Event) -> SysResult<Self> {
        event.result.map(|fd| Self::new(sys.clone(), fd.cast_signed()))
    }

    fn weight(&self) -> usize {
        1
    }
}
