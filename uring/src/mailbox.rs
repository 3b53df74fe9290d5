//! Mailboxes: how work and wakes reach a core from elsewhere.
//!
//! Between the cores of one engine there is one bounded single-producer single-consumer queue per ordered pair; every other
//! thread shares one bounded queue per core. A sender rings the core's bell (an eventfd that the core's ring watches) only
//! when the core has declared itself asleep, and takes that declaration back with the same step, so a burst rings once.
//!
//! A full queue pushes back: a foreign thread yields until there is room. A core must not wait for another core (that one
//! may wait for it), so it keeps what does not fit in an overflow list of its own, in order, and says so in the log each
//! time that list doubles; whoever sends to cores bounds its own requests in flight, and with them this list.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};

use crossbeam_queue::ArrayQueue;

use crate::handle::{Core, Inner};
use crate::local;
use crate::oneshot;
use crate::task::TaskId;

/// Messages that wait between two cores before the sender keeps them.
const PEER_CAPACITY: usize = 256;
/// Messages from foreign threads that wait before the senders wait.
const FOREIGN_CAPACITY: usize = 4096;
/// Overflowing messages before the first warning.
const OVERFLOW_WARN: usize = 1024;

/// Numbers engines, real and simulated.
pub(crate) fn next_engine() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A job for a core.
pub(crate) type Job = Box<dyn FnOnce(&Core) + Send>;

/// What a mailbox carries.
pub(crate) enum Message {
    Job(Job),
    Wake(TaskId),
}

/// The core has stopped, or is about to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the core has stopped")]
pub struct Closed;

/// The part of a core that other threads see.
pub(crate) struct Shared {
    /// Number in the process-wide registry.
    pub(crate) number: u16,
    /// Number within its engine.
    pub(crate) id: usize,
    /// Cores with the same value belong to one engine.
    pub(crate) engine: u64,
    inbox: ArrayQueue<Message>,
    bell: Option<OwnedFd>,
    asleep: AtomicBool,
    closed: AtomicBool,
    /// Tasks and messages that wait for their turn, as of the last loop turn.
    waiting: AtomicUsize,
}

impl Shared {
    pub(crate) fn new(number: u16, id: usize, engine: u64, bell: Option<OwnedFd>) -> Self {
        Self {
            number,
            id,
            engine,
            inbox: ArrayQueue::new(FOREIGN_CAPACITY),
            bell,
            asleep: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
        }
    }

    /// The bell's descriptor, for the ring to watch.
    pub(crate) fn bell(&self) -> Option<RawFd> {
        self.bell.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Wakes the core if it sleeps. Call after making work visible.
    pub(crate) fn ring(&self) {
        // Pairs with the fence in `declare_asleep`: either the core sees the work, or this sees that it sleeps.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed)
            && self.asleep.swap(false, Ordering::AcqRel)
            && let Some(bell) = &self.bell
        {
            // Fails only when the counter would overflow, and then the bell is ringing already.
            let _ = rustix::io::write(bell, &1_u64.to_ne_bytes());
        }
    }

    /// Says that the core is going to sleep unless it finds work right after this call.
    pub(crate) fn declare_asleep(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    pub(crate) fn declare_awake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Refuses messages from now on and drops those that wait.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        while self.inbox.pop().is_some() {}
    }

    /// Publishes what waits here, for [`Remote::load`].
    pub(crate) fn publish(&self, waiting: usize) {
        self.waiting.store(waiting, Ordering::Relaxed);
    }

    /// Sends from a thread that is no core of this engine: waits while the queue is full.
    fn send_foreign(&self, mut message: Message) -> Result<(), Closed> {
        loop {
            if self.is_closed() {
                return Err(Closed);
            }
            match self.inbox.push(message) {
                Ok(()) => break,
                Err(back) => message = back,
            }
            self.ring();
            std::thread::yield_now();
        }
        if self.closed.load(Ordering::SeqCst) {
            // The core may have emptied the queue before the push.
            while self.inbox.pop().is_some() {}
            return Err(Closed);
        }
        self.ring();
        Ok(())
    }

    /// Sends from any thread.
    pub(crate) fn send(self: &Arc<Self>, message: Message) -> Result<(), Closed> {
        if self.is_closed() {
            return Err(Closed);
        }
        let mut message = Some(message);
        let sent = local::with_current(|core| core.mail.send(core, self, &mut message));
        match message {
            None => Ok(()),
            Some(message) => {
                debug_assert_ne!(sent, Some(true));
                self.send_foreign(message)
            }
        }
    }

    /// Wakes a task of this core from another thread.
    pub(crate) fn wake(self: &Arc<Self>, task: TaskId) {
        // A core that has stopped has no tasks to wake.
        let _ = self.send(Message::Wake(task));
    }
}

/// The way from one core to another.
struct Outbox {
    queue: rtrb::Producer<Message>,
    overflow: VecDeque<Message>,
    warn_at: usize,
}

impl Outbox {
    fn push(&mut self, message: Message) {
        if self.overflow.is_empty() {
            match self.queue.push(message) {
                Ok(()) => {}
                Err(rtrb::PushError::Full(back)) => self.overflow.push_back(back),
            }
        } else {
            self.overflow.push_back(message);
        }
    }

    /// Moves what overflowed into the queue as far as there is room.
    fn flush(&mut self) -> bool {
        let before = self.overflow.len();
        while let Some(message) = self.overflow.pop_front() {
            if let Err(rtrb::PushError::Full(back)) = self.queue.push(message) {
                self.overflow.push_front(back);
                break;
            }
        }
        before != self.overflow.len()
    }
}

/// A core's own side of all its mailboxes.
#[derive(Default)]
pub(crate) struct Mail {
    outboxes: RefCell<Vec<Option<Outbox>>>,
    inboxes: RefCell<Vec<rtrb::Consumer<Message>>>,
    /// Messages to itself.
    own: RefCell<VecDeque<Message>>,
}

impl Mail {
    /// The mailboxes of `n` cores of one engine.
    pub(crate) fn mesh(n: usize) -> Vec<Self> {
        let all: Vec<Self> = (0..n).map(|_| Self::default()).collect();
        for (from, sender) in all.iter().enumerate() {
            for (to, receiver) in all.iter().enumerate() {
                let outbox = (from != to).then(|| {
                    let (queue, consumer) = rtrb::RingBuffer::new(PEER_CAPACITY);
                    receiver.inboxes.borrow_mut().push(consumer);
                    Outbox { queue, overflow: VecDeque::new(), warn_at: OVERFLOW_WARN }
                });
                sender.outboxes.borrow_mut().push(outbox);
            }
        }
        all
    }

    /// Sends from the core `me` if `to` belongs to the same engine; takes the message in that case.
    fn send(&self, me: &Inner, to: &Shared, message: &mut Option<Message>) -> bool {
        if me.shared.engine != to.engine {
            return false;
        }
        if to.id == me.shared.id {
            self.own.borrow_mut().extend(message.take());
            return true;
        }
        let piled_up = {
            let mut all = self.outboxes.borrow_mut();
            let Some(Some(outbox)) = all.get_mut(to.id) else { return false };
            if let Some(message) = message.take() {
                outbox.push(message);
            }
            let waiting = outbox.overflow.len();
            (waiting >= outbox.warn_at).then(|| {
                outbox.warn_at *= 2;
                waiting
            })
        };
        to.ring();
        if let Some(waiting) = piled_up {
            tracing::warn!(
                from = me.shared.id,
                to = to.id,
                waiting,
                "messages to another core pile up: it does not keep up"
            );
        }
        true
    }

    /// Moves overflowed messages on; the number that still wait.
    pub(crate) fn flush(&self, peers: &[Remote]) -> usize {
        let mut all = self.outboxes.borrow_mut();
        let mut waiting = 0;
        for (outbox, peer) in all.iter_mut().zip(peers) {
            let Some(outbox) = outbox else { continue };
            if outbox.overflow.is_empty() {
                continue;
            }
            if peer.0.is_closed() {
                outbox.overflow.clear();
            } else if outbox.flush() {
                peer.0.ring();
            }
            waiting += outbox.overflow.len();
        }
        waiting
    }

    /// Messages to other cores that found no room yet.
    pub(crate) fn overflowed(&self) -> usize {
        self.outboxes.borrow().iter().flatten().map(|outbox| outbox.overflow.len()).sum()
    }

    /// The next message for this core, from wherever. `first` rotates the order in which peers are asked.
    pub(crate) fn receive(&self, shared: &Shared, first: usize) -> Option<Message> {
        if let Some(message) = self.own.borrow_mut().pop_front() {
            return Some(message);
        }
        let mut inboxes = self.inboxes.borrow_mut();
        let n = inboxes.len();
        for offset in 0..n {
            if let Ok(message) = inboxes[(first + offset) % n].pop() {
                return Some(message);
            }
        }
        shared.inbox.pop()
    }

    /// Messages that wait for this core.
    pub(crate) fn waiting(&self, shared: &Shared) -> usize {
        let peers: usize = self.inboxes.borrow().iter().map(rtrb::Consumer::slots).sum();
        self.own.borrow().len() + peers + shared.inbox.len()
    }
}

/// The address of a core: posts work to it from any thread.
#[derive(Clone)]
pub struct Remote(pub(crate) Arc<Shared>);

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("core", &self.0.id).field("closed", &self.0.is_closed()).finish()
    }
}

impl Remote {
    /// Runs `job` on that core, on its loop and not inside this call. Jobs of one sender run in the order in which they were
    /// posted. A core that stops may drop a job unrun even after it was accepted.
    ///
    /// # Errors
    /// [`Closed`] when the core has stopped.
    pub fn post(&self, job: impl FnOnce(&Core) + Send + 'static) -> Result<(), Closed> {
        self.0.send(Message::Job(Box::new(job)))
    }

    /// Runs a future on that core as a task and waits for its value. Dropping the wait leaves the task running.
    ///
    /// # Errors
    /// [`Closed`] when the core stopped, or the task panicked, before there was a value.
    pub async fn call<T, F, Fut>(&self, job: F) -> Result<T, Closed>
    where
        T: Send + 'static,
        F: FnOnce(Core) -> Fut + Send + 'static,
        Fut: Future<Output = T> + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        self.post(move |core| {
            let future = job(core.clone());
            core.spawn(async move { sender.send(future.await) });
        })?;
        receiver.await.ok_or(Closed)
    }

    /// The core's number within its engine.
    #[must_use]
    pub fn core_id(&self) -> usize {
        self.0.id
    }

    /// Tasks and messages that waited for their turn at the end of the core's last loop turn: a hint for spreading load,
    /// nothing more.
    #[must_use]
    pub fn load(&self) -> usize {
        self.0.waiting.load(Ordering::Relaxed)
    }
}
