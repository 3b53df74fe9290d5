//! Requests over io_uring: each CPU has a queue in the kernel, whose slots wait on the core that is bound to that CPU. A
//! request is thus served where its caller runs, and one system call answers it and waits for the next.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use kiln_uring::fuse::{Device, Slot};
use kiln_uring::{Core, Errno};

use super::door::Door;
use super::front::Front;
use super::serve::serve;
use super::session::Alive;
use super::wire::{Header, Reply};

/// Slots that each queue starts with: callers of one CPU that are served at the same time without further ado.
const SLOTS: usize = 16;
/// Most slots of a queue. One more is made whenever all are taken, because those who hold them may wait for one who has
/// none: a lock is released by another request.
const MOST: usize = 4096;
/// How long a core waits for the kernel to see the end of the handshake.
const HANDSHAKE: Duration = Duration::from_millis(1);

/// One queue of the kernel.
struct Queue {
    core: Core,
    front: Arc<Front>,
    lane: usize,
    device: Device,
    cpu: u16,
    slots: Cell<usize>,
    free: Cell<usize>,
    alive: Alive,
}

/// Serves the queue of a CPU until the mount or the engine ends.
pub(super) fn start(core: &Core, front: &Arc<Front>, lane: usize, device: &Device, cpu: u16, alive: &Alive) {
    let queue = Rc::new(Queue {
        core: core.clone(),
        front: Arc::clone(front),
        lane,
        device: device.clone(),
        cpu,
        slots: Cell::new(0),
        free: Cell::new(0),
        alive: alive.clone(),
    });
    for _ in 0..SLOTS {
        queue.add();
    }
}

impl Queue {
    fn add(self: &Rc<Self>) {
        match Slot::new(&self.device, self.cpu, self.front.config.max_write as usize) {
            Ok(slot) => {
                self.slots.set(self.slots.get() + 1);
                self.free.set(self.free.get() + 1);
                self.core.spawn(Rc::clone(self).run(Box::new(slot)));
            }
            Err(errno) => tracing::error!(cpu = self.cpu, %errno, "no memory for one more FUSE slot"),
        }
    }

    /// The life of a slot.
    async fn run(self: Rc<Self>, mut slot: Box<Slot>) {
        let alive = self.alive.clone();
        let mut stop = pin!(self.core.shutdown_requested());
        loop {
            let mut exchange = pin!(self.core.fuse_exchange(slot));
            let next = poll_fn(|cx| {
                if let Poll::Ready(next) = exchange.as_mut().poll(cx) {
                    return Poll::Ready(Some(next));
                }
                stop.as_mut().poll(cx).map(|()| None)
            });
            let Some((result, back)) = next.await else { break };
            slot = back;
            match result {
                Ok(()) => slot = self.serve(slot).await,
                Err(Errno::AGAIN) => self.core.sleep(HANDSHAKE).await,
                // The mount is gone.
                Err(Errno::NOTCONN | Errno::CONNABORTED | Errno::NODEV) => break,
                Err(errno) => {
                    tracing::error!(cpu = self.cpu, %errno, "the kernel does not take a FUSE slot");
                    break;
                }
            }
        }
        drop(alive);
    }

    /// Answers the request in a slot; the last free slot brings another first.
    async fn serve(self: &Rc<Self>, slot: Box<Slot>) -> Box<Slot> {
        self.free.set(self.free.get() - 1);
        if self.free.get() == 0 && self.slots.get() < MOST {
            self.add();
        }
        let (header, fixed, rest) = slot.request();
        let Ok((header, args)) = Header::of_slot(header, fixed, rest) else {
            unreachable!("a slot has room for a whole header")
        };
        let operation = header.operation(args);
        let taken = Taken { queue: Rc::clone(self), unique: header.unique, slot: Some(slot) };
        let result = match (operation, Door::open(&self.front, self.lane, &header)) {
            (Ok(operation), Some(door)) => serve(door, header.node, operation).await,
            (Err(errno), _) => Err(errno),
            (_, None) => Err(Errno::IO),
        };
        taken.answer(result)
    }
}

/// A slot with a request that is owed an answer. Dropped without one (a layer panicked), it says EIO, and serves on.
struct Taken {
    queue: Rc<Queue>,
    unique: u64,
    slot: Option<Box<Slot>>,
}

impl Taken {
    fn answer(mut self, result: Result<Reply, Errno>) -> Box<Slot> {
        let mut slot = self.slot.take().expect("it is there until it is answered");
        self.queue.free.set(self.queue.free.get() + 1);
        answer(&mut slot, self.unique, result);
        slot
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(mut slot) = self.slot.take() {
            self.queue.free.set(self.queue.free.get() + 1);
            answer(&mut slot, self.unique, Err(Errno::IO));
            self.queue.core.spawn(Rc::clone(&self.queue).run(slot));
        }
    }
}

fn answer(slot: &mut Slot, unique: u64, result: Result<Reply, Errno>) {
    match result.map(Reply::into_body) {
        Ok(body) => {
            let body = body.as_ref();
            // Longer than asked for: the kernel would refuse it anyway.
            let Some(room) = slot.body().get_mut(..body.len()) else {
                return slot.answer(unique, -Errno::IO.raw_os_error(), 0);
            };
            room.copy_from_slice(body);
            slot.answer(unique, 0, body.len());
        }
        Err(errno) => slot.answer(unique, -errno.raw_os_error(), 0),
    }
}
