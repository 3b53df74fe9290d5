//! The two directions of a connection, plain or encrypted.

use kiln_uring::net::{Part, Receiver, Sender};
use kiln_uring::{Buf, SysResult};

use super::tls::{TlsReceiver, TlsSender};

/// What is received.
pub(super) enum Inlet {
    Plain(Receiver),
    Tls(Box<TlsReceiver>),
}

impl Inlet {
    /// See [`Receiver::recv`].
    pub(super) async fn recv(&mut self) -> SysResult<Buf> {
        match self {
            Self::Plain(receiver) => receiver.recv().await,
            Self::Tls(receiver) => receiver.recv().await,
        }
    }

    /// See [`Receiver::unread`].
    pub(super) fn unread(&mut self, buf: Buf) {
        match self {
            Self::Plain(receiver) => receiver.unread(buf),
            Self::Tls(receiver) => receiver.unread(buf),
        }
    }

    /// See [`Receiver::recv_exact_into`].
    pub(super) async fn recv_exact_into(&mut self, buf: Buf) -> (SysResult<usize>, Buf) {
        match self {
            Self::Plain(receiver) => receiver.recv_exact_into(buf).await,
            Self::Tls(receiver) => receiver.recv_exact_into(buf).await,
        }
    }

    pub(super) const fn is_plain(&self) -> bool {
        matches!(self, Self::Plain(_))
    }
}

/// What is sent.
pub(super) enum Outlet {
    Plain(Sender),
    Tls(Box<TlsSender>),
}

impl Outlet {
    /// See [`Sender::send`].
    pub(super) async fn send(&mut self, parts: Vec<Part>) -> (SysResult<usize>, Vec<Part>) {
        match self {
            Self::Plain(sender) => sender.send(parts).await,
            Self::Tls(sender) => sender.send(parts).await,
        }
    }

    /// Says goodbye where that is a custom.
    pub(super) async fn finish(&mut self) {
        if let Self::Tls(sender) = self {
            sender.finish().await;
        }
    }
}
