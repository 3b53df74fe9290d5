//! Stream sockets: the seam to the kernel, and what runs on it.
//!
//! [`Net`] is the part of the seam that makes and describes sockets; a [`Sys`](crate::Sys) that has one gives it by
//! [`Sys::net`](crate::Sys::net). Its calls do not wait. What waits (accept, connect, receive, send) goes through the ring: [`Listener`],
//! [`Stream`] and its halves [`Receiver`] and [`Sender`] own what the kernel touches, may be dropped at any time, and run
//! unchanged on the simulated network of a [`crate::sim::Sim`].
//!
//! | module | subject |
//! | --- | --- |
//! | `address`, `options` | plain data |
//! | `linux` | sockets of the real kernel |
//! | `tap` | one standing operation that answers again and again |
//! | `listener` | accepting |
//! | `stream`, `receiver`, `sender` | connections |
//! | `part` | what is sent |
//!
//! Received bytes come in buffers that the kernel picked from a ring of buffers of the core, and go back there when
//! dropped; see [`Receiver`].

mod address;
mod linux;
mod listener;
mod options;
mod part;
mod receiver;
mod sender;
mod stream;
mod tap;

pub use address::{Address, Family};
pub use listener::Listener;
pub use options::{ConnectOptions, Credentials, Keepalive, ListenOptions, Shutdown, StreamOptions};
pub use part::Part;
pub use receiver::Receiver;
pub use sender::Sender;
pub use stream::Stream;

pub(crate) use part::rest;
pub(crate) use tap::{Event, Sink};

use std::fmt;
use std::io::IoSlice;

use crate::sys::{Errno, RawFd, SysResult};

/// The socket calls, as the kernel serves them. Descriptors are closed by [`Sys::close`](crate::Sys::close).
///
/// The real kernel waits in [`Net::accept`], [`Net::connect`], [`Net::recv`] and [`Net::send`] (which is why the ring serves
/// them); a simulated one answers EAGAIN instead of waiting.
pub trait Net: Send + Sync + fmt::Debug {
    /// `socket(2)`, `bind(2)`, `listen(2)`: a listening stream socket. Connections that it accepts inherit the stream options.
    fn listen(&self, at: &Address, options: &ListenOptions) -> SysResult<RawFd>;
    /// `socket(2)` and, where asked for, `bind(2)`: a stream socket to connect.
    fn socket(&self, family: Family, options: &ConnectOptions) -> SysResult<RawFd>;
    /// `setsockopt(2)` on a connection; options of TCP are left out for other families.
    fn configure(&self, fd: RawFd, options: &StreamOptions) -> SysResult<()>;
    /// `shutdown(2)`.
    fn shutdown(&self, fd: RawFd, how: Shutdown) -> SysResult<()>;
    /// `getsockname(2)`.
    fn local_address(&self, fd: RawFd) -> SysResult<Address>;
    /// `getpeername(2)`: ENOTCONN when the connection was reset meanwhile.
    fn peer_address(&self, fd: RawFd) -> SysResult<Address>;
    /// `SO_PEERCRED`: who connected to a unix socket; EOPNOTSUPP for other families.
    fn peer_credentials(&self, fd: RawFd) -> SysResult<Credentials>;
    /// `connect(2)`.
    fn connect(&self, fd: RawFd, to: &Address) -> SysResult<()>;
    /// `accept4(2)`.
    fn accept(&self, fd: RawFd) -> SysResult<RawFd>;
    /// `recv(2)`: the number of bytes, 0 at the end of the stream.
    fn recv(&self, fd: RawFd, buf: &mut [u8]) -> SysResult<usize>;
    /// `sendmsg(2)`: may send less than asked.
    fn send(&self, fd: RawFd, parts: &[IoSlice<'_>]) -> SysResult<usize>;
}

/// A kernel without sockets: EAFNOSUPPORT when one is made, EBADF when one is used.
#[derive(Clone, Copy, Debug)]
pub struct NoNet;

#[rustfmt::skip]
impl Net for NoNet {
    fn listen(&self, _: &Address, _: &ListenOptions) -> SysResult<RawFd> { Err(Errno::AFNOSUPPORT) }
    fn socket(&self, _: Family, _: &ConnectOptions) -> SysResult<RawFd> { Err(Errno::AFNOSUPPORT) }
    fn configure(&self, _: RawFd, _: &StreamOptions) -> SysResult<()> { Err(Errno::BADF) }
    fn shutdown(&self, _: RawFd, _: Shutdown) -> SysResult<()> { Err(Errno::BADF) }
    fn local_address(&self, _: RawFd) -> SysResult<Address> { Err(Errno::BADF) }
    fn peer_address(&self, _: RawFd) -> SysResult<Address> { Err(Errno::BADF) }
    fn peer_credentials(&self, _: RawFd) -> SysResult<Credentials> { Err(Errno::BADF) }
    fn connect(&self, _: RawFd, _: &Address) -> SysResult<()> { Err(Errno::BADF) }
    fn accept(&self, _: RawFd) -> SysResult<RawFd> { Err(Errno::BADF) }
    fn recv(&self, _: RawFd, _: &mut [u8]) -> SysResult<usize> { Err(Errno::BADF) }
    fn send(&self, _: RawFd, _: &[IoSlice<'_>]) -> SysResult<usize> { Err(Errno::BADF) }
}
