//! The receiving half of a connection.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;

use super::stream::Link;
use super::tap::Tap;
use super::{Address, Shutdown};
use crate::buf::{Buf, RECEIVE_SIZE};
use crate::op::Request;
use crate::sys::{Errno, SysResult};

/// Memory of received and unread bytes of one connection from which on the kernel keeps the rest: 32 buffers, as many as it
/// fills for one connection before it turns to the next.
const WINDOW: usize = 32 * RECEIVE_SIZE;
/// Bytes still missing of a payload from which on they are received straight into their place.
const DIRECT: usize = 8 << 10;
/// After a large payload, so many receives are single ones: bytes that a standing receive takes have to be copied when they
/// turn out to be a payload.
const WARY: u32 = 16;

/// Receives on a connection.
///
/// Small records: [`Receiver::recv`] keeps one standing receive (multishot, Linux 6.0) that fills buffers from the core's
/// ring of buffers, and hands those out as they are. Dropping a buffer, on any thread, gives it back. When the ring has
/// none left, or the kernel no such ring, memory comes from the core's pool instead, so buffers that are kept stall
/// nobody else. Unread bytes are bounded: whoever does not receive pushes back on the peer.
///
/// Large payloads: [`Receiver::recv_exact_into`] takes what has already come and receives the rest straight into the given
/// memory.
pub struct Receiver {
    link: Rc<Link>,
    tap: Tap<Buf>,
    /// Read from the tap, but not used up.
    front: VecDeque<Buf>,
    /// How the stream ended.
    end: Option<SysResult<()>>,
    /// The next receive brings its own memory.
    starved: bool,
    /// Single receives to come.
    wary: u32,
    /// A receive into a payload was dropped midway: bytes are lost.
    broken: bool,
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("fd", &self.link.file.fd()).finish_non_exhaustive()
    }
}

impl Receiver {
    pub(super) fn new(link: Rc<Link>) -> Self {
        let tap = Tap::new(&link.core.0, WINDOW);
        Self { link, tap, front: VecDeque::new(), end: None, starved: false, wary: 0, broken: false }
    }

    /// Waits for bytes, as many as come; an empty buffer is the end of the stream, now and ever after. Nothing is lost
    /// when the future is dropped.
    ///
    /// # Errors
    /// ECONNRESET and what else `recv(2)` may say; the same again from then on.
    pub async fn recv(&mut self) -> SysResult<Buf> {
        if self.broken {
            return Err(Errno::CONNABORTED);
        }
        loop {
            if let Some(buf) = self.take() {
                return Ok(buf);
            }
            if let Some(end) = self.end {
                return end.map(|()| Buf::empty());
            }
            if !self.tap.is_open() {
                self.open();
            }
            poll_fn(|cx| self.tap.poll_change(cx)).await;
        }
    }

    /// Puts bytes back that [`Receiver::recv`] gave, so that they are the next to be received: the beginning of a record or
    /// payload that was not used.
    pub fn unread(&mut self, buf: Buf) {
        if !buf.is_empty() {
            self.front.push_front(buf);
        }
    }

    /// Fills the whole of `buf`; gives it back with its length unchanged and the number of bytes received. That is less
    /// than its length only when the stream ended or broke midway; after a break the next receive may say that it ended,
    /// because the kernel tells one error once, and here the count took its place.
    ///
    /// Dropping the future may lose bytes: every later receive fails with ECONNABORTED.
    pub async fn recv_exact_into(&mut self, mut buf: Buf) -> (SysResult<usize>, Buf) {
        if std::mem::replace(&mut self.broken, true) {
            return (Err(Errno::CONNABORTED), buf);
        }
        let mut done = 0;
        let result = loop {
            while done < buf.len()
                && let Some(mut chunk) = self.take()
            {
                let n = chunk.len().min(buf.len() - done);
                buf[done..done + n].copy_from_slice(&chunk[..n]);
                done += n;
                chunk.advance(n);
                self.unread(chunk);
            }
            if done == buf.len() {
                break Ok(done);
            }
            match self.end {
                Some(Err(errno)) if done == 0 => break Err(errno),
                Some(_) => break Ok(done),
                None => {}
            }
            if buf.len() - done >= DIRECT {
                self.wary = WARY;
                if self.tap.is_open() {
                    self.tap.stop();
                } else {
                    (done, buf) = self.recv_direct(buf, done).await;
                    continue;
                }
            } else if !self.tap.is_open() {
                self.open();
            }
            poll_fn(|cx| self.tap.poll_change(cx)).await;
        };
        self.broken = false;
        (result, buf)
    }

    /// One receive into `buf[from..]`; how far it is filled now.
    async fn recv_direct(&mut self, buf: Buf, from: usize) -> (usize, Buf) {
        let request = Request::Recv { file: self.link.file.clone(), buf, from, all: true };
        let (result, request) = self.link.core.submit(request).await;
        let Request::Recv { buf, .. } = request else { unreachable!("a request comes back as it went") };
        match result {
            Ok(0) => self.end = Some(Ok(())),
            Ok(n) => return (from + n as usize, buf),
            Err(Errno::INTR) => {}
            Err(errno) => self.end = Some(Err(errno)),
        }
        (from, buf)
    }

    /// The next received bytes, without waiting.
    fn take(&mut self) -> Option<Buf> {
        if let Some(buf) = self.front.pop_front() {
            return Some(buf);
        }
        loop {
            match self.tap.pop()? {
                Ok(buf) if buf.is_empty() => self.end = Some(Ok(())),
                Ok(buf) => {
                    self.starved = false;
                    return Some(buf);
                }
                Err(Errno::NOBUFS) if !self.starved => self.starved = true,
                Err(Errno::INTR) => {}
                Err(errno) => self.end = Some(Err(errno)),
            }
        }
    }

    fn open(&mut self) {
        let file = self.link.file.clone();
        let core = &self.link.core;
        let provided = !self.starved;
        let request = match core.0.driver.receives() {
            Some(memory) if provided => {
                let many = self.wary == 0 && core.0.driver.receives_many();
                self.wary = self.wary.saturating_sub(1);
                Request::Receive { file, many, memory }
            }
            _ => Request::Recv { file, buf: core.buffer(RECEIVE_SIZE), from: 0, all: false },
        };
        self.tap.open(request);
    }

    /// Ends a direction; see [`Stream::shutdown`](super::Stream::shutdown).
    ///
    /// # Errors
    /// Those of `shutdown(2)`.
    pub fn shutdown(&self, how: Shutdown) -> SysResult<()> {
        self.link.shutdown(how)
    }

    /// The other end.
    ///
    /// # Errors
    /// Those of `getpeername(2)`.
    pub fn peer_address(&self) -> SysResult<Address> {
        self.link.peer_address()
    }

    /// Waits until the kernel has let go of the socket, which closes it if the other half is gone.
    pub(super) async fn close(self) {
        while self.tap.is_open() {
            self.tap.stop();
            while self.tap.pop().is_some() {}
            poll_fn(|cx| self.tap.poll_change(cx)).await;
        }
    }
}
