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
use super::wire::{Header, Operation, Reply};
use super::{forgets, interrupts};

/// Room for the header, the struct and the names of a request, besides the data of a write.
const BESIDES_DATA: usize = 8192;

/// Reads requests until the mount or the engine ends; each is served by a task of its own.
pub(super) async fn read_requests(core: Core, front: Arc<Front>, lane: usize, device: Device, alive: Alive) {
    let mut buf = Buf::heap(front.config.max_write as usize + BESIDES_DATA);
    let mut stop = pin!(core.shutdown_requested());
    loop {
        match device.receive(&mut buf) {
            Ok(len) => begin(&core, &front, lane, &device, &buf[..len], &alive),
            // A request was withdrawn before it was read.
            Err(Errno::NOENT | Errno::INTR | Errno::AGAIN) => {}
            Err(Errno::NODEV) => return,
            Err(errno) => {
                tracing::error!(%errno, "reading /dev/fuse failed: the mount is not served any more");
                return;
            }
        }
        // The look for the next request is part of the next submission, after whatever this one has made.
        let mut readable = pin!(core.fuse_readable(&device));
        let ready = poll_fn(|cx| {
            if let Poll::Ready(result) = readable.as_mut().poll(cx) {
                return Poll::Ready(Some(result));
            }
            stop.as_mut().poll(cx).map(|()| None)
        });
        match ready.await {
            None => return,
            Some(Ok(())) => {}
            Some(Err(errno)) => {
                tracing::error!(%errno, "/dev/fuse cannot be watched: the mount is not served any more");
                return;
            }
        }
    }
}

fn begin(core: &Core, front: &Arc<Front>, lane: usize, device: &Device, bytes: &[u8], alive: &Alive) {
    let Ok((header, args)) = Header::of_message(bytes) else {
        tracing::error!(len = bytes.len(), "the kernel sent something that is no FUSE request");
        return;
    };
    let answer = Answer { device: device.clone(), unique: header.unique, owed: true };
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
    let Some(door) = Door::open(front, lane, &header) else { return answer.send(Err(Errno::IO)) };
    let alive = alive.clone();
    core.spawn(async move {
        answer.send(serve(door, header.node, operation).await);
        drop(alive);
    });
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
