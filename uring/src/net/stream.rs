//! Connections.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use super::{Address, ConnectOptions, Credentials, Part, Receiver, Sender, Shutdown, StreamOptions};
use crate::buf::Buf;
use crate::handle::Core;
use crate::op::Request;
use crate::sys::{File, SysResult};

/// What both halves of a connection share.
pub(super) struct Link {
    pub(super) core: Core,
    pub(super) file: Arc<File>,
}

impl Link {
    pub(super) fn shutdown(&self, how: Shutdown) -> SysResult<()> {
        self.core.sys().net().shutdown(self.file.fd(), how)
    }

    pub(super) fn local_address(&self) -> SysResult<Address> {
        self.core.sys().net().local_address(self.file.fd())
    }

    pub(super) fn peer_address(&self) -> SysResult<Address> {
        self.core.sys().net().peer_address(self.file.fd())
    }
}

/// A connected stream socket of this core. Its halves can be used by two tasks ([`Stream::split`]). Dropping it (or both
/// halves) closes the socket as soon as the kernel has let go of it.
pub struct Stream {
    receiver: Receiver,
    sender: Sender,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("fd", &self.sender.link.file.fd()).finish_non_exhaustive()
    }
}

impl Core {
    /// Connects to an address. Dropping the future gives the attempt up; see [`Core::timeout`] for a limit.
    ///
    /// # Errors
    /// Those of `socket`, `setsockopt`, `bind` and `connect`; EAFNOSUPPORT on a kernel without sockets.
    pub async fn connect(&self, to: &Address, options: &ConnectOptions) -> SysResult<Stream> {
        let raw = Box::new(to.to_raw()?);
        let fd = self.sys().net().socket(to.family(), options)?;
        let file = Arc::new(File::new(self.sys().clone(), fd));
        let request = Request::Connect { file: file.clone(), to: to.clone(), raw };
        self.submit(request).await.0?;
        Ok(self.stream_of(file))
    }

    /// Takes over a connected stream socket, for instance from [`Listener::accept_file`](super::Listener::accept_file) of
    /// another core.
    #[must_use]
    pub fn stream(&self, socket: File) -> Stream {
        self.stream_of(Arc::new(socket))
    }

    fn stream_of(&self, file: Arc<File>) -> Stream {
        let link = Rc::new(Link { core: self.clone(), file });
        Stream { receiver: Receiver::new(link.clone()), sender: Sender::new(link) }
    }
}

impl Stream {
    /// The two directions, for two tasks.
    #[must_use]
    pub fn split(self) -> (Receiver, Sender) {
        (self.receiver, self.sender)
    }

    /// See [`Receiver::recv`].
    ///
    /// # Errors
    /// As there.
    pub async fn recv(&mut self) -> SysResult<Buf> {
        self.receiver.recv().await
    }

    /// See [`Receiver::recv_exact_into`].
    pub async fn recv_exact_into(&mut self, buf: Buf) -> (SysResult<usize>, Buf) {
        self.receiver.recv_exact_into(buf).await
    }

    /// See [`Sender::send`].
    pub async fn send(&mut self, parts: Vec<Part>) -> (SysResult<usize>, Vec<Part>) {
        self.sender.send(parts).await
    }

    /// Changes options of the connection.
    ///
    /// # Errors
    /// Those of `setsockopt(2)`.
    pub fn configure(&self, options: &StreamOptions) -> SysResult<()> {
        let link = &self.sender.link;
        link.core.sys().net().configure(link.file.fd(), options)
    }

    /// Ends one direction or both; operations that wait for it come back.
    ///
    /// # Errors
    /// Those of `shutdown(2)`; ENOTCONN when the connection is gone.
    pub fn shutdown(&self, how: Shutdown) -> SysResult<()> {
        self.sender.link.shutdown(how)
    }

    /// This end.
    ///
    /// # Errors
    /// Those of `getsockname(2)`.
    pub fn local_address(&self) -> SysResult<Address> {
        self.sender.link.local_address()
    }

    /// The other end.
    ///
    /// # Errors
    /// Those of `getpeername(2)`; ENOTCONN when the connection is gone.
    pub fn peer_address(&self) -> SysResult<Address> {
        self.sender.link.peer_address()
    }

    /// Who connected, for unix sockets.
    ///
    /// # Errors
    /// EOPNOTSUPP for other families.
    pub fn peer_credentials(&self) -> SysResult<Credentials> {
        let link = &self.sender.link;
        link.core.sys().net().peer_credentials(link.file.fd())
    }

    /// Closes the socket and waits until that is done: what was sent goes out, what was not received is discarded.
    pub async fn close(self) {
        let Self { receiver, sender } = self;
        drop(sender);
        receiver.close().await;
    }
}
