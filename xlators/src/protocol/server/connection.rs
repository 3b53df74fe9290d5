//! One client's connection: what its tasks share, and how it ends.
//!
//! One task receives ([`super::intake`]); each request is a task of its own; one task sends while there is something to send.
//! When the peer is gone, or asks for too much, or the server stops: nothing more is received; locks that wait are given
//! up; other requests end; the descriptors are released; then the layers hear that the client is gone.

use std::cell::{Cell, OnceCell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use kiln_uring::net::Address;
use kiln_uring::{Instant, TaskId};
use serde_json::{Value as Json, json};
use slab::Slab;

use super::door::{Brick, Door};
use super::gate::{Cost, Gate};
use super::link::Outlet;
use super::outbox::Outbox;
use super::shared::Seat;
use super::signal::Signal;
use super::stats::{ClientStats, bump};
use super::tls::Identity;
use crate::fd::FdTable;
use crate::protocol::rpc::message::Accept;
use crate::protocol::rpc::message::{bare_reply, call_record};
use crate::protocol::rpc::programs::callback;
use crate::protocol::xdr::Wire;
use crate::translator::Event;
use crate::types::Gfid;

/// How long an ending connection goes on sending the replies that are done.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Replies with which a send does not wait for more.
const PLENTY: usize = 8;
/// What a client may hold of the memory that those who hold more do not get.
const LITTLE: usize = 1 << 20;
/// How long it may take to say that it ends.
const GOODBYE: Duration = Duration::from_secs(1);

/// What SETVOLUME has told.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) brick: Rc<Brick>,
    /// The directory that is the client's root: that of the brick, or one below it.
    pub(super) root: Gfid,
    /// Its path in the brick.
    pub(super) directory: String,
    /// The client's own name for itself.
    pub(super) process: String,
    pub(super) version: String,
}

/// A request under way.
#[derive(Debug, Default)]
struct Running {
    task: Option<TaskId>,
    /// It may wait for as long as somebody else likes.
    waits: bool,
}

/// See the [module](self).
pub(super) struct Connection {
    pub(super) door: Rc<Door>,
    pub(super) peer: Address,
    pub(super) local: Address,
    /// Unique among the clients of this process.
    pub(super) client: u64,
    pub(super) since: Instant,
    /// Who it is by its certificate, where the connection is encrypted.
    pub(super) identity: Option<Identity>,
    pub(super) bound: OnceCell<Bound>,
    /// Whether a call was understood yet.
    pub(super) greeted: Cell<bool>,
    pub(super) fds: FdTable,
    pub(super) gate: Gate,
    pub(super) stats: ClientStats,
    pub(super) outbox: Outbox,
    sender: RefCell<Option<Outlet>>,
    sending: Cell<Option<(TaskId, Instant)>>,
    /// The sending task, while it waits for more replies.
    gathering: Cell<Option<Waker>>,
    /// When the bytes that it holds room for are to be there, if others wait for room.
    pub(super) expected: Cell<Option<Instant>>,
    /// It waits behind others because it holds much itself.
    waits_with_much: Cell<bool>,
    running: RefCell<Slab<Running>>,
    idle: RefCell<Option<Rc<Signal>>>,
    /// Set to end the connection.
    pub(super) end: Signal,
    why: Cell<&'static str>,
    /// Its place is for somebody else: nothing more is sent.
    evicted: Cell<bool>,
    callbacks: Cell<u32>,
    pub(super) seat: Seat,
}

impl Connection {
    pub(super) fn new(
        door: &Rc<Door>,
        peer: Address,
        local: Address,
        sender: Outlet,
        identity: Option<Identity>,
        seat: Seat,
    ) -> Rc<Self> {
        let settings = door.shared.settings();
        Rc::new(Self {
            peer,
            local,
            client: seat.client,
            since: door.core.now(),
            identity,
            bound: OnceCell::new(),
            greeted: Cell::new(false),
            fds: FdTable::new(settings.fds),
            gate: Gate::new(settings.requests, settings.client_memory),
            stats: ClientStats::default(),
            outbox: Outbox::default(),
            sender: RefCell::new(Some(sender)),
            sending: Cell::new(None),
            gathering: Cell::new(None),
            expected: Cell::new(None),
            waits_with_much: Cell::new(false),
            running: RefCell::default(),
            idle: RefCell::default(),
            end: Signal::default(),
            why: Cell::new("the client is gone"),
            evicted: Cell::new(false),
            callbacks: Cell::new(1),
            door: Rc::clone(door),
            seat,
        })
    }

    /// Starts a request as a task.
    pub(super) fn run(self: &Rc<Self>, waits: bool, work: impl Future<Output = ()> + 'static) {
        let slot = self.running.borrow_mut().insert(Running { task: None, waits });
        let place = Place { connection: Rc::clone(self), slot };
        let task = self.door.core.spawn(async move {
            work.await;
            drop(place);
        });
        if let Some(running) = self.running.borrow_mut().get_mut(slot) {
            running.task = Some(task);
        }
    }

    /// Locks that wait.
    pub(super) fn waiting(&self) -> usize {
        self.running.borrow().iter().filter(|(_, running)| running.waits).count()
    }

    /// Whether it has requests that end by themselves, or replies that are not sent yet.
    pub(super) fn is_busy(&self) -> bool {
        self.sending.get().is_some() || self.running.borrow().iter().any(|(_, running)| !running.waits)
    }

    /// Waits until there is room for a request, and takes it.
    pub(super) async fn admit(&self, cost: Cost) {
        loop {
            // What it holds may have changed while it waited.
            let is_little = self.gate.in_use().bytes + cost.bytes <= LITTLE;
            let all = &self.door.gate;
            if !self.gate.has_room(cost) {
                self.gate.room(cost).await;
            } else if is_little && !all.has_room(cost) {
                all.room(cost).await;
            } else if !is_little && !all.has_room_for_much(cost) {
                self.waits_with_much.set(true);
                all.room_for_much(cost).await;
                self.waits_with_much.set(false);
            } else {
                break;
            }
        }
        self.gate.enter(cost);
        self.door.gate.enter(cost);
    }

    /// A request is over, its reply sent or dropped.
    pub(super) fn leave(&self, cost: Cost) {
        self.gate.leave(cost);
        self.door.gate.leave(cost);
        if self.waits_with_much.get() && self.gate.in_use().bytes <= LITTLE {
            self.door.gate.reconsider();
        }
    }

    /// Sends what is in the outbox, once there is plenty or the core has done what it can do at once.
    pub(super) fn flush(self: &Rc<Self>) {
        if self.sending.get().is_some() {
            if self.outbox.replies() >= PLENTY
                && let Some(gathering) = self.gathering.take()
            {
                gathering.wake();
            }
            return;
        }
        let Some(sender) = self.sender.take() else { return };
        let this = Rc::clone(self);
        let task = self.door.core.spawn(async move { this.send(sender).await });
        self.sending.set(Some((task, self.door.core.turn_time())));
    }

    async fn send(self: Rc<Self>, mut sender: Outlet) {
        while !self.outbox.is_empty() {
            self.gathered().await;
            let Some(batch) = self.outbox.take() else { break };
            if let Some((task, _)) = self.sending.get() {
                self.sending.set(Some((task, self.door.core.turn_time())));
            }
            let expected: usize = batch.parts.iter().map(|part| part.len()).sum();
            let paid = Paid { connection: &self, cost: batch.cost };
            let (sent, parts) = sender.send(batch.parts).await;
            self.outbox.recycle(parts);
            drop(paid);
            match sent {
                Ok(sent) if sent == expected => bump(&self.stats.sent, sent),
                _ => {
                    self.finish("the client does not take its replies");
                    break;
                }
            }
        }
        *self.sender.borrow_mut() = Some(sender);
        self.sending.set(None);
    }

    /// A send costs as much as a request: it waits for the replies to those that can be served at once. But not for more than
    /// make it worth while: a client that sends many at a time would have nothing to do meanwhile.
    async fn gathered(&self) {
        let mut settled = pin!(self.door.core.settled());
        poll_fn(|cx| {
            if self.outbox.replies() >= PLENTY {
                return Poll::Ready(());
            }
            self.gathering.set(Some(cx.waker().clone()));
            settled.as_mut().poll(cx)
        })
        .await;
        self.gathering.set(None);
    }

    /// How long the present send has been under way.
    pub(super) fn sending_for(&self) -> Option<Duration> {
        self.sending.get().map(|(_, since)| self.door.core.now() - since)
    }

    /// A reply without a body.
    pub(super) fn refuse(self: &Rc<Self>, xid: u32, accept: Accept) {
        bump(&self.stats.refused, 1);
        self.outbox.record(&bare_reply(xid, accept));
        self.flush();
    }

    /// A call to the client, which it does not answer. Only bound clients listen.
    pub(super) fn call_back<'a>(self: &Rc<Self>, procedure: u32, arguments: &impl Wire<'a>) {
        if self.bound.get().is_none() || self.end.is_set() {
            return;
        }
        let xid = self.callbacks.get();
        self.callbacks.set(xid.wrapping_add(1));
        let what = (callback::PROGRAM, callback::VERSION, procedure);
        self.outbox.record(&call_record(xid, what, None, arguments));
        self.flush();
    }

    /// Ends the connection for this reason.
    pub(super) fn finish(&self, why: &'static str) {
        if !self.end.is_set() {
            self.why.set(why);
            self.end.set();
        }
    }

    /// Ends the connection at once, for the sake of its place.
    pub(super) fn evict(&self) {
        self.evicted.set(true);
        self.finish("others needed its place");
    }

    /// The client as logs name it.
    pub(super) fn name(&self) -> String {
        match self.bound.get() {
            Some(bound) => format!("{} ({})", self.peer, bound.process),
            None => self.peer.to_string(),
        }
    }

    /// Nothing more is received: gives up and closes what the client has.
    pub(super) async fn wind_up(self: Rc<Self>) {
        let core = self.door.core.clone();
        let waiting: Vec<TaskId> = self
            .running
            .borrow()
            .iter()
            .filter(|(_, running)| running.waits)
            .filter_map(|(_, running)| running.task)
            .collect();
        waiting.into_iter().for_each(|task| core.abort(task));
        while !self.running.borrow().is_empty() {
            let idle = Rc::new(Signal::default());
            *self.idle.borrow_mut() = Some(Rc::clone(&idle));
            idle.wait().await;
        }
        for fd in self.fds.drain() {
            self.door.graph.release(&fd);
        }
        if let Some(bound) = self.bound.get() {
            self.door.graph.notify(&Event::ClientGone(self.client));
            tracing::info!(client = %self.name(), brick = bound.brick.name, "disconnected: {}", self.why.get());
        } else {
            tracing::debug!(client = %self.name(), "disconnected: {}", self.why.get());
        }
        let deadline = core.now() + if self.evicted.get() { Duration::ZERO } else { LAST_WORDS };
        while let Some((task, _)) = self.sending.get() {
            if core.now() >= deadline {
                core.abort(task);
                self.sending.set(None);
            } else {
                core.sleep(Duration::from_millis(5)).await;
            }
        }
        let left = self.outbox.close();
        self.leave(left);
        let sender = self.sender.take();
        if let Some(mut sender) = sender.filter(|_| !self.evicted.get()) {
            // Whoever does not take it does without.
            let _ = core.timeout(GOODBYE, sender.finish()).await;
        }
    }

    /// For statedumps.
    pub(super) fn to_json(&self) -> Json {
        let in_use = self.gate.in_use();
        let mut shown = json!({
            "peer": self.peer.to_string(),
            "local": self.local.to_string(),
            "client": self.client,
            "connected_s": (self.door.core.now() - self.since).as_secs(),
            "open_fds": self.fds.len(),
            "requests": in_use.requests,
            "bytes": in_use.bytes,
            "waiting_locks": self.waiting(),
            "stats": self.stats.to_json(),
        });
        if let (Some(bound), Some(shown)) = (self.bound.get(), shown.as_object_mut()) {
            shown.insert("brick".into(), json!(bound.brick.name));
            shown.insert("process".into(), json!(bound.process));
            shown.insert("version".into(), json!(bound.version));
            shown.insert("directory".into(), json!(bound.directory));
        }
        if let (Some(identity), Some(shown)) = (&self.identity, shown.as_object_mut()) {
            shown.insert("certificate".into(), json!(identity.name));
            shown.insert("tls".into(), json!(identity.cipher));
        }
        shown
    }
}

/// Gives the room of sent requests back, also when the send is cut off.
struct Paid<'a> {
    connection: &'a Connection,
    cost: Cost,
}

impl Drop for Paid<'_> {
    fn drop(&mut self) {
        self.connection.leave(self.cost);
    }
}

/// A request's place in the list of those under way, given up when it ends, however it ends.
struct Place {
    connection: Rc<Connection>,
    slot: usize,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connection.running.borrow_mut().try_remove(self.slot);
        if self.connection.running.borrow().is_empty()
            && let Some(idle) = self.connection.idle.take()
        {
            idle.set();
        }
    }
}
