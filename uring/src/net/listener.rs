//! Accepting connections.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;

use super::tap::Tap;
use super::{Address, ListenOptions, Shutdown, Stream};
use crate::handle::Core;
use crate::op::Request;
use crate::sys::{Errno, File, SysResult};

/// Accepted connections that wait for [`Listener::accept`] before the kernel keeps further ones in its backlog.
const UNTAKEN: usize = 64;

/// A listening socket of this core. One standing operation accepts (multishot, Linux 5.19; one at a time before). Dropping
/// it closes the socket and the connections that nobody has taken.
pub struct Listener {
    core: Core,
    file: Arc<File>,
    tap: Tap<File>,
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("fd", &self.file.fd()).finish_non_exhaustive()
    }
}

impl Core {
    /// Listens at an address. A unix socket's name stays in the file system after the end and has to be removed before the
    /// next listener takes it (EADDRINUSE).
    ///
    /// # Errors
    /// Those of `socket`, `setsockopt`, `bind` and `listen`; EAFNOSUPPORT on a kernel without sockets.
    pub fn listen(&self, at: &Address, options: &ListenOptions) -> SysResult<Listener> {
        let fd = self.sys().net().listen(at, options)?;
        Ok(self.listener(File::new(self.sys().clone(), fd)))
    }

    /// Takes over a listening socket, from a service manager for instance.
    #[must_use]
    pub fn listener(&self, socket: File) -> Listener {
        Listener { core: self.clone(), file: Arc::new(socket), tap: Tap::new(&self.0, UNTAKEN) }
    }
}

impl Listener {
    /// Waits for a connection. Nothing is lost when the future is dropped. Connections start with the stream options of the
    /// listener.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOBUFS and ENOMEM when there is no room for now: the connection stays in the backlog, so wait a
    /// moment before the next call. EINVAL after [`Listener::shutdown`].
    pub async fn accept(&mut self) -> SysResult<Stream> {
        let file = self.accept_file().await?;
        Ok(self.core.stream(file))
    }

    /// The same for a connection that goes to another core: send the socket there and make it a [`Core::stream`].
    ///
    /// # Errors
    /// As [`Listener::accept`].
    pub async fn accept_file(&mut self) -> SysResult<File> {
        loop {
            match self.tap.pop() {
                // That one connection was gone before it was accepted, or a signal came; the next one may be well.
                Some(Err(Errno::CONNABORTED | Errno::INTR | Errno::PROTO)) => continue,
                Some(answer) => return answer,
                None => {}
            }
            if !self.tap.is_open() {
                let many = self.core.0.driver.accepts_many();
                self.tap.open(Request::Accept { file: self.file.clone(), many });
            }
            poll_fn(|cx| self.tap.poll_change(cx)).await;
        }
    }

    /// Stops listening now: later connections are refused, [`Listener::accept`] gives those that were accepted before and
    /// fails then.
    ///
    /// # Errors
    /// Those of `shutdown(2)`.
    pub fn shutdown(&self) -> SysResult<()> {
        self.core.sys().net().shutdown(self.file.fd(), Shutdown::Both)
    }

    /// Where it listens; with the port that the kernel chose.
    ///
    /// # Errors
    /// Those of `getsockname(2)`.
    pub fn local_address(&self) -> SysResult<Address> {
        self.core.sys().net().local_address(self.file.fd())
    }
}
