//! Requests from `/dev/fuse`, read and answered by the cores themselves.

use std::future::{Future, poll_fn};
use std::io::IoSlice;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use kiln_uring::fuse::Device;
use kiln_uring::{Buf, Core, Errno};

use super::door::Door;
use super::front::Front;
use super::serve::serve;
use super::session::Alive;
use super::watch::Watcher;
use super::wire::{Arguments, Header, Operation, Reply};
use super::{forgets, interrupts};

/// Room for the header, the struct and the names of a request, besides the data of a write.
const BESIDES_DATA: usize = 8192;

/// Reads requests until the mount or the engine ends; each is served by a task of its own.
pub(super) async fn read_requests(core: Core, front: Arc<Front>, lane: usize, device: Device, alive: Alive) {
    let reader = Reader { core: &core, front: &front, lane, device: &device, alive: &alive };
    let mut buf = Buf::heap(front.config.max_write as usize + BESIDES_DATA);
    let mut watcher = Watcher::new(lane);
    let mut stop = pin!(core.shutdown_requested());
    loop {
        // The look for the next request is part of the next submission, after whatever the last one has made.
        let mut next = pin!(async {
            front.watch.turn(lane).await;
            core.fuse_readable(&device).await
        });
        let ready = poll_fn(|cx| {
            if let Poll::Ready(result) = next.as_mut().poll(cx) {
                return Poll::Ready(Some(result));
            }
            stop.as_mut().poll(cx).map(|()| None)
        });
        let ended = match ready.await {
            None => return,
            Some(Ok(())) => reader.read(&mut buf, &mut watcher),
            Some(Err(errno)) => Err(errno),
        };
        match ended {
            Ok(()) => {}
            Err(Errno::NODEV) => break,
            Err(errno) => {
                tracing::error!(%errno, "/dev/fuse cannot be read: the mount is not served any more");
                break;
            }
        }
    }
    front.watch.end();
}

/// What a core reads with.
struct Reader<'a> {
    core: &'a Core,
    front: &'a Arc<Front>,
    lane: usize,
    device: &'a Device,
    alive: &'a Alive,
}

impl Reader<'_> {
    /// Begins the requests that are there, two at most, so that those that have been begun come to run.
    fn read(&self, buf: &mut Buf, watcher: &mut Watcher) -> Result<(), Errno> {
        let Some(tid) = self.read_one(buf)? else { return Ok(()) };
        let more = self.read_one(buf)?.is_some();
        watcher.has_read(&self.front.watch, &self.front.lanes, tid, more);
        Ok(())
    }

    /// Begins one request; the thread that it is of. `None` when there was none.
    fn read_one(&self, buf: &mut Buf) -> Result<Option<u32>, Errno> {
        match self.device.receive(buf) {
            Ok(len) => match Header::of_message(&buf[..len]) {
                Ok((header, args)) => {
                    self.begin(&header, args);
                    Ok(Some(header.pid))
                }
                Err(_) => {
                    tracing::error!(len, "the kernel sent something that is no FUSE request");
                    Ok(None)
                }
            },
            // One was withdrawn before it was read, or another core was faster.
            Err(Errno::NOENT | Errno::INTR | Errno::AGAIN) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    fn begin(&self, header: &Header, args: Arguments<'_>) {
        let front = self.front;
        let answer = Answer { device: self.device.clone(), unique: header.unique, owed: true };
        let operation = match header.operation(args) {
            Ok(operation) => operation,
            Err(errno) => return answer.send(Err(errno)),
        };
        match operation {
            Operation::Forget { count } => {
                answer.forgo();
                return forgets::forget(front, header.node, count);
            }
            Operation::BatchForget(all) => {
                answer.forgo();
                return all.into_iter().for_each(|(node, count)| forgets::forget(front, node, count));
            }
            Operation::Interrupt { unique } => {
                answer.forgo();
                return interrupts::interrupt(front, unique);
            }
            _ => {}
        }
        let Some(door) = Door::open(front, self.lane, header) else { return answer.send(Err(Errno::IO)) };
        let (alive, node) = (self.alive.clone(), header.node);
        self.core.spawn(async move {
            answer.send(serve(door, node, operation).await);
            drop(alive);
        });
    }
}

/// An answer that is owed. Dropped without one (the engine stops, or a layer panicked), it says EIO.
struct Answer {
    device: Device,
    unique: u64,
    owed: bool,
}

impl Answer {
    /// There is to be none.
    fn forgo(mut self) {
        self.owed = false;
    }

    fn send(mut self, result: Result<Reply, Errno>) {
        self.owed = false;
        match result.map(Reply::into_body) {
            Ok(body) => self.write(0, body.as_ref()),
            Err(errno) => self.write(errno.raw_os_error(), &[]),
        }
    }

    fn write(&self, errno: i32, body: &[u8]) {
        let header = Reply::header(self.unique, -errno, body.len());
        match self.device.send(&[IoSlice::new(&header), IoSlice::new(body)]) {
            // Nobody waits any more, or the mount is gone.
            Ok(()) | Err(Errno::NOENT | Errno::NODEV | Errno::PERM) => {}
            Err(errno) => tracing::error!(%errno, unique = self.unique, "the kernel does not take an answer"),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if self.owed {
            self.write(Errno::IO.raw_os_error(), &[]);
        }
    }
}
