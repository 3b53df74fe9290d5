//! What can be asked of a socket. The defaults are those of GlusterFS's own transport.

use std::time::Duration;

use super::Address;

/// Probes on an idle TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Idle time before the first probe; whole seconds, 1 to 32767.
    pub idle: Duration,
    /// Time between probes; whole seconds, 1 to 32767.
    pub interval: Duration,
    /// Unanswered probes before the connection is given up, 1 to 127.
    pub count: u32,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self { idle: Duration::from_secs(20), interval: Duration::from_secs(2), count: 9 }
    }
}

/// Options of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamOptions {
    /// `TCP_NODELAY`: short segments leave at once.
    pub nodelay: bool,
    /// `SO_KEEPALIVE` and its times; `None` switches probes off.
    pub keepalive: Option<Keepalive>,
    /// `TCP_USER_TIMEOUT`: how long sent data may stay unacknowledged, in milliseconds' precision; `None` leaves it to the
    /// kernel.
    pub user_timeout: Option<Duration>,
    /// `SO_RCVBUF` in bytes; `None` leaves it to the kernel, which adapts it.
    pub receive_buffer: Option<usize>,
    /// `SO_SNDBUF` in bytes; `None` leaves it to the kernel, which adapts it.
    pub send_buffer: Option<usize>,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self {
            nodelay: true,
            keepalive: Some(Keepalive::default()),
            user_timeout: Some(Duration::from_secs(42)),
            receive_buffer: None,
            send_buffer: None,
        }
    }
}

/// Options of a listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenOptions {
    /// Connections that may wait to be accepted; the kernel cuts it to `net.core.somaxconn`.
    pub backlog: u32,
    /// `SO_REUSEADDR`: binds although connections of an earlier listener linger.
    pub reuse_address: bool,
    /// `SO_REUSEPORT`: several sockets listen at one address, and the kernel spreads connections over them.
    pub reuse_port: bool,
    /// `IPV6_V6ONLY`: an IPv6 wildcard does not take IPv4 connections too.
    pub v6_only: bool,
    /// What accepted connections start with.
    pub stream: StreamOptions,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            backlog: 1024,
            reuse_address: true,
            reuse_port: false,
            v6_only: true,
            stream: StreamOptions::default(),
        }
    }
}

/// Options of a socket that connects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectOptions {
    /// The local address; its port may be 0.
    pub bind: Option<Address>,
    /// Options of the connection.
    pub stream: StreamOptions,
}

/// Which direction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Nothing more is received.
    Read,
    /// Nothing more is sent: the peer reads the end of the stream.
    Write,
    /// Both.
    Both,
}

/// Who is at the other end of a unix socket, as of its `connect`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Process.
    pub pid: i32,
    /// Effective user.
    pub uid: u32,
    /// Effective group.
    pub gid: u32,
}
