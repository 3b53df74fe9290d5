//! A connection: what leaves, what comes, and its end.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::PathBuf;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use kiln_xlators::protocol::rpc::credential::Credential;
use kiln_xlators::protocol::rpc::message::{self, Reply};
use kiln_xlators::protocol::rpc::programs::fops;
use kiln_xlators::protocol::xdr::Wire;
use tokio_uring::buf::BoundedBuf as _;
use tokio_uring::net::UnixStream;

use super::answer::{Answer, Expect};
use super::calls::{Calls, Fault, Pending};
use super::handshake;
use super::inbox::Inbox;

/// Where a brick listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// TCP.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// How to connect.
#[derive(Clone, Debug)]
pub struct Setup {
    /// To where.
    pub peer: Peer,
    /// Names of the brick, which are tried in this order.
    pub bricks: Vec<String>,
    /// User and password for bricks that want them.
    pub login: Option<(String, String)>,
    /// How long the brick may take to answer anything.
    pub timeout: Duration,
    /// Bytes that may be on their way to us; the receive buffer.
    pub inbox: usize,
}

/// See the [module](self).
pub struct Connection {
    stream: UnixStream,
    head: message::Calls,
    calls: Calls,
    /// What leaves with the next write.
    outgoing: RefCell<Vec<u8>>,
    sender: RefCell<Option<Waker>>,
    peer: Peer,
    /// The name under which the brick accepted the connection.
    brick: String,
    timeout: Duration,
    /// Whether the end of the connection is wanted.
    closing: Cell<bool>,
}

/// Connects a socket; `tokio-uring` takes sockets of any family for streams.
fn dial(peer: &Peer, timeout: Duration) -> io::Result<StdUnixStream> {
    match peer {
        Peer::Tcp(address) => {
            let stream = TcpStream::connect_timeout(address, timeout)?;
            stream.set_nodelay(true)?;
            Ok(OwnedFd::from(stream).into())
        }
        Peer::Unix(path) => StdUnixStream::connect(path),
    }
}

impl Connection {
    /// Connects, shakes hands, and starts the tasks that send and receive on the runtime of this thread.
    ///
    /// # Errors
    /// A sentence that says what the brick does not want.
    pub fn open(setup: &Setup) -> Result<Rc<Self>, String> {
        let stream = dial(&setup.peer, setup.timeout).map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused => format!("nobody listens at {}", setup.peer),
            _ => format!("cannot connect to {}: {error}", setup.peer),
        })?;
        let brick = handshake::bind(&stream, setup)?;
        let credential = Credential {
            pid: std::process::id().cast_signed(),
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            owner: &u64::from(std::process::id()).to_le_bytes(),
            ..Credential::default()
        };
        let this = Rc::new(Self {
            stream: UnixStream::from_std(stream),
            head: message::Calls::new(fops::PROGRAM, fops::VERSION, Some(&credential)),
            calls: Calls::default(),
            outgoing: RefCell::default(),
            sender: RefCell::default(),
            peer: setup.peer.clone(),
            brick,
            timeout: setup.timeout,
            closing: Cell::new(false),
        });
        tokio_uring::spawn(Rc::clone(&this).send());
        tokio_uring::spawn(Rc::clone(&this).receive(setup.inbox));
        tokio_uring::spawn(Rc::clone(&this).watch());
        Ok(this)
    }

    /// The brick's name.
    pub fn brick(&self) -> &str {
        &self.brick
    }

    /// Makes a call and waits for its answer.
    ///
    /// # Errors
    /// Why nothing can be asked any more.
    pub async fn call<'a>(
        &self,
        procedure: u32,
        arguments: &impl Wire<'a>,
        expect: Expect,
    ) -> Result<Answer, Fault> {
        self.call_with(procedure, arguments, expect, 0, |_| ()).await
    }

    /// The same with a payload of `len` bytes, which `fill` writes.
    ///
    /// # Errors
    /// As [`Connection::call`].
    pub async fn call_with<'a>(
        &self,
        procedure: u32,
        arguments: &impl Wire<'a>,
        expect: Expect,
        len: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<Answer, Fault> {
        if let Some(fault) = self.calls.fault() {
            return Err(fault);
        }
        let xid = self
            .calls
            .enter(procedure, expect, Instant::now())
            .ok_or_else(|| Fault::new("more calls at once than a connection can have"))?;
        {
            let mut outgoing = self.outgoing.borrow_mut();
            self.head.append(&mut outgoing, xid, procedure, arguments, len);
            let at = outgoing.len() - len;
            fill(&mut outgoing[at..]);
        }
        if let Some(sender) = self.sender.borrow_mut().take() {
            sender.wake();
        }
        Pending::new(&self.calls, xid).await
    }

    /// Ends the connection and both tasks.
    pub fn close(&self) {
        self.closing.set(true);
        self.fail("the connection is closed");
    }

    fn fail(&self, why: impl AsRef<str>) {
        self.calls.fail(&Fault::new(why));
        // Lets the tasks see the end; a socket that is closed already is closed.
        let _ = self.stream.shutdown(Shutdown::Both);
        if let Some(sender) = self.sender.borrow_mut().take() {
            sender.wake();
        }
    }

    /// Writes what has gathered since the last write, until the connection ends.
    async fn send(self: Rc<Self>) {
        let mut spare = Vec::new();
        loop {
            poll_fn(|cx| {
                if !self.outgoing.borrow().is_empty() || self.calls.fault().is_some() {
                    return Poll::Ready(());
                }
                *self.sender.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            })
            .await;
            if self.calls.fault().is_some() {
                return;
            }
            let full = std::mem::replace(&mut *self.outgoing.borrow_mut(), spare);
            let (sent, mut back) = self.stream.write_all(full).await;
            if let Err(error) = sent {
                self.lost(&error);
                return;
            }
            back.clear();
            spare = back;
        }
    }

    /// Takes what comes, until the connection ends.
    async fn receive(self: Rc<Self>, capacity: usize) {
        let mut inbox = Inbox::new(capacity);
        loop {
            let (buffer, at) = inbox.lend();
            let (came, buffer) = self.stream.read(buffer.slice(at..)).await;
            let came = match came {
                Ok(0) => return self.fail(format!("the brick at {} closed the connection", self.peer)),
                Ok(came) => came,
                Err(error) => return self.lost(&error),
            };
            inbox.put_back(buffer.into_inner(), came);
            loop {
                match inbox.next() {
                    Ok(Some(record)) => {
                        if let Err(why) = self.take(record) {
                            return self.fail(why);
                        }
                    }
                    Ok(None) => break,
                    Err(error) => return self.fail(format!("the brick at {} sent {error}", self.peer)),
                }
            }
        }
    }

    fn take(&self, record: &[u8]) -> Result<(), String> {
        // A call of the server: a callback, which nobody answers.
        const CALL: [u8; 4] = 0_u32.to_be_bytes();
        if record.get(4..8) == Some(&CALL) {
            return Ok(());
        }
        let reply =
            Reply::parse(record).map_err(|error| format!("what {} sends is no reply: {error}", self.peer))?;
        self.calls.complete(reply.xid, reply.accept, record.get(reply.body..).unwrap_or_default())
    }

    fn lost(&self, error: &io::Error) {
        self.fail(format!("the connection to the brick at {} broke: {error}", self.peer));
    }

    /// Gives up when the brick does not answer in time.
    async fn watch(self: Rc<Self>) {
        let tick = (self.timeout / 4).clamp(Duration::from_millis(10), Duration::from_secs(1));
        while self.calls.fault().is_none() && !self.closing.get() {
            tokio::time::sleep(tick).await;
            if let Some(name) = self.calls.overdue(self.timeout) {
                let limit = self.timeout.as_secs_f64();
                self.fail(format!("the brick at {} did not answer {name} within {limit} s", self.peer));
            }
        }
    }
}
