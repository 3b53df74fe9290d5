//! The sending half of a connection.

use std::fmt;
use std::rc::Rc;

use super::part::{Part, total};
use super::stream::Link;
use super::{Address, Shutdown};
use crate::driver::Message;
use crate::op::Request;
use crate::sys::{Errno, SysResult};

/// Sends on a connection, one message at a time and in order. What belongs together should go out in one call: each is
/// (at least) one system call's worth of work.
pub struct Sender {
    pub(super) link: Rc<Link>,
    /// Scratch memory of the driver, kept for the next message.
    message: Option<Box<Message>>,
    /// A send was dropped midway: nobody knows where the stream stands.
    broken: bool,
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("fd", &self.link.file.fd()).finish_non_exhaustive()
    }
}

impl Sender {
    pub(super) fn new(link: Rc<Link>) -> Self {
        Self { link, message: None, broken: false }
    }

    /// Sends all parts, in order, and gives them back with the number of bytes sent; fewer than all only when an error
    /// stopped it midway, which comes again with the next send. It waits while the peer does not read: that is the
    /// backpressure.
    ///
    /// Parts live until the kernel is done with them. Dropping the future cancels, and leaves the stream at an unknown
    /// place: every later send fails with ECONNABORTED.
    pub async fn send(&mut self, parts: Vec<Part>) -> (SysResult<usize>, Vec<Part>) {
        if std::mem::replace(&mut self.broken, true) {
            return (Err(Errno::CONNABORTED), parts);
        }
        let (result, parts) = self.send_all(parts).await;
        self.broken = false;
        (result, parts)
    }

    async fn send_all(&mut self, mut parts: Vec<Part>) -> (SysResult<usize>, Vec<Part>) {
        let whole = total(&parts);
        let mut done = 0;
        while done < whole {
            let raw = self.message.take().unwrap_or_default();
            let request = Request::Send { file: self.link.file.clone(), parts, done, raw };
            let (result, request) = self.link.core.submit(request).await;
            let Request::Send { parts: back, raw, .. } = request else {
                unreachable!("a request comes back as it went")
            };
            parts = back;
            self.message = Some(raw);
            match result {
                // A kernel that sends nothing and says nothing would keep us here for ever.
                Ok(0) => break,
                Ok(n) => done += n as usize,
                Err(Errno::INTR) => {}
                Err(_) if done > 0 => break,
                Err(errno) => return (Err(errno), parts),
            }
        }
        (Ok(done), parts)
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
}
