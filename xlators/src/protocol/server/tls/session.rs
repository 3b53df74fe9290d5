//! The bytes of an encrypted connection.
//!
//! Stock clients look for one RPC record each time that their socket becomes readable, and not into what OpenSSL has already
//! decrypted. So no TLS record may hold the end of one RPC record and the beginning of the next: every RPC record is
//! encrypted by itself. What leaves in one go is bounded, and so is what is decrypted ahead of those who take it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice, Read as _, Write};
use std::rc::Rc;

use kiln_uring::net::{Part, Receiver, Sender};
use kiln_uring::{Buf, Errno, SysResult};
use rustls::{Error, InvalidMessage, PeerMisbehaved, ServerConnection};

use super::{Config, Identity, chain, is_hello};
use crate::protocol::rpc::record::{MARK, Mark};

/// Bytes that are encrypted and sent in one go.
const STEP: usize = 256 << 10;
/// Stretches of memory that are encrypted in one go.
const SLICES: usize = 8;
/// Bytes after which a client has to have agreed on TLS: its certificate and those above it take some thousand.
const LONGEST_HANDSHAKE: usize = 32 << 10;
/// Memory for encrypted bytes.
const CHUNK: usize = 64 << 10;
/// More than what encryption adds to a stretch: headers and tags of the TLS records that it becomes.
const OVERHEAD: usize = 64;

/// What both directions share. Borrowed between two waits only.
type Session = Rc<RefCell<ServerConnection>>;

/// Makes an encrypted connection of a new one. The error says in words why it has to be closed.
pub(in super::super) async fn accept(
    config: &Config,
    mut raw: Receiver,
    sender: Sender,
) -> Result<(TlsReceiver, TlsSender, Identity), String> {
    let refused = |error: &dyn std::fmt::Display| format!("TLS: {error}");
    let mut tls = ServerConnection::new(config.clone()).map_err(|error| refused(&error))?;
    // Replies may be large, and what is encrypted at a time is limited by STEP.
    tls.set_buffer_limit(None);
    let session = Rc::new(RefCell::new(tls));
    let mut sender = TlsSender { session: Rc::clone(&session), raw: sender };
    let mut waiting = Buf::empty();
    let (mut begun, mut received) = (false, 0);
    loop {
        sender.drain().await.map_err(|errno| refused(&errno))?;
        if !session.borrow().is_handshaking() {
            break;
        }
        if waiting.is_empty() {
            if received > LONGEST_HANDSHAKE {
                return Err("TLS: it says too much before it agrees".into());
            }
            waiting = raw.recv().await.map_err(|errno| refused(&errno))?;
            received += waiting.len();
            if waiting.is_empty() {
                return Err("it was closed before TLS was agreed on".into());
            }
            // A byte alone is no reason to turn somebody away.
            if !begun && waiting.len() >= 2 && !is_hello(&waiting) {
                return Err(
                    "it does not speak TLS, which is needed here (transport.socket.ssl-enabled)".into()
                );
            }
            begun = true;
        }
        let fed = feed(&mut session.borrow_mut(), &mut waiting);
        if let Err(error) = fed {
            // The alert that tells the client why.
            let _ = sender.drain().await;
            return Err(describe(&error));
        }
    }
    let identity = identity(&session.borrow());
    let receiver = TlsReceiver { session, raw, waiting, front: VecDeque::new(), ended: false, broken: false };
    Ok((receiver, sender, identity))
}

/// Takes in some of the received bytes.
fn feed(tls: &mut ServerConnection, waiting: &mut Buf) -> Result<(), Error> {
    let mut from: &[u8] = waiting;
    let taken = tls.read_tls(&mut from).map_err(|error| Error::General(error.to_string()))?;
    if taken == 0 {
        return Err(Error::General("it closed TLS before it was agreed on".into()));
    }
    waiting.advance(taken);
    tls.process_new_packets().map(drop)
}

fn identity(tls: &ServerConnection) -> Identity {
    let name = tls.peer_certificates().and_then(<[_]>::first).map(chain::common_name);
    let version = tls.protocol_version().and_then(|version| version.as_str()).unwrap_or_default();
    let suite = tls.negotiated_cipher_suite().map(|suite| suite.suite());
    let suite = suite.and_then(|suite| suite.as_str()).unwrap_or_default();
    Identity { name: name.unwrap_or_default(), cipher: format!("{version} {suite}") }
}

/// Why a handshake failed, for an operator.
fn describe(error: &Error) -> String {
    match error {
        Error::NoCertificatesPresented => "TLS: it has no certificate".into(),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => "TLS: it speaks something else".into(),
        Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer) => {
            "TLS: its certificate leads to none of ssl-ca-list within ssl-cert-depth".into()
        }
        Error::AlertReceived(alert) => {
            format!("TLS: it refused, perhaps this brick's certificate ({alert:?})")
        }
        Error::PeerIncompatible(what) => {
            format!("TLS: it has no version or suite that is allowed here ({what:?})")
        }
        Error::PeerMisbehaved(PeerMisbehaved::IllegalMiddleboxChangeCipherSpec) => {
            "TLS: it speaks something else".into()
        }
        other => format!("TLS: {other}"),
    }
}

/// The receiving half; like [`Receiver`].
pub(in super::super) struct TlsReceiver {
    session: Session,
    raw: Receiver,
    /// Received, not yet decrypted.
    waiting: Buf,
    /// Decrypted and given back.
    front: VecDeque<Buf>,
    /// Nothing more comes.
    ended: bool,
    /// A receive into a payload was dropped midway: bytes are lost.
    broken: bool,
}

impl TlsReceiver {
    /// As [`Receiver::recv`]; EPROTO when the peer breaks the rules of TLS.
    pub(in super::super) async fn recv(&mut self) -> SysResult<Buf> {
        if self.broken {
            return Err(Errno::CONNABORTED);
        }
        loop {
            if let Some(buf) = self.front.pop_front() {
                return Ok(buf);
            }
            let ready = self.decrypt()?;
            if ready > 0 {
                let mut buf = Buf::new(ready);
                let read = self.take(&mut buf)?;
                buf.truncate(read);
                return Ok(buf);
            }
            if !self.more().await? {
                return Ok(Buf::empty());
            }
        }
    }

    /// As [`Receiver::unread`].
    pub(in super::super) fn unread(&mut self, buf: Buf) {
        if !buf.is_empty() {
            self.front.push_front(buf);
        }
    }

    /// As [`Receiver::recv_exact_into`].
    pub(in super::super) async fn recv_exact_into(&mut self, mut buf: Buf) -> (SysResult<usize>, Buf) {
        if std::mem::replace(&mut self.broken, true) {
            return (Err(Errno::CONNABORTED), buf);
        }
        let mut done = 0;
        let result = loop {
            match self.fill(&mut buf, done).await {
                Ok(0) => break Ok(done),
                Ok(n) => done += n,
                Err(errno) if done == 0 => break Err(errno),
                Err(_) => break Ok(done),
            }
        };
        self.broken = false;
        (result, buf)
    }

    /// Some bytes more into `buf[from..]`; none when it is full, or at the end.
    async fn fill(&mut self, buf: &mut Buf, from: usize) -> SysResult<usize> {
        let Some(room) = buf.get_mut(from..).filter(|room| !room.is_empty()) else { return Ok(0) };
        if let Some(mut chunk) = self.front.pop_front() {
            let n = chunk.len().min(room.len());
            room[..n].copy_from_slice(&chunk[..n]);
            chunk.advance(n);
            self.unread(chunk);
            return Ok(n);
        }
        loop {
            if self.decrypt()? > 0 {
                return self.take(room);
            }
            if !self.more().await? {
                return Ok(0);
            }
        }
    }

    /// Decrypts until there are bytes to take: how many. None when more has to be received first.
    fn decrypt(&mut self) -> SysResult<usize> {
        let mut tls = self.session.borrow_mut();
        loop {
            let state = tls.process_new_packets().map_err(|error| {
                tracing::warn!("a client breaks the rules of TLS: {error}");
                Errno::PROTO
            })?;
            if state.plaintext_bytes_to_read() > 0 {
                return Ok(state.plaintext_bytes_to_read());
            }
            if state.peer_has_closed() {
                self.ended = true;
            }
            if self.ended || self.waiting.is_empty() {
                return Ok(0);
            }
            let mut from: &[u8] = &self.waiting;
            let taken = tls.read_tls(&mut from).map_err(|_| Errno::PROTO)?;
            if taken == 0 {
                // It takes nothing although nothing is ready: that would go on for ever.
                return Err(Errno::PROTO);
            }
            self.waiting.advance(taken);
        }
    }

    /// Takes decrypted bytes, of which there are some.
    fn take(&self, to: &mut [u8]) -> SysResult<usize> {
        self.session.borrow_mut().reader().read(to).map_err(|_| Errno::PROTO)
    }

    /// Receives more; false at the end.
    async fn more(&mut self) -> SysResult<bool> {
        if self.ended {
            return Ok(false);
        }
        self.waiting = self.raw.recv().await?;
        self.ended = self.waiting.is_empty();
        Ok(!self.ended)
    }
}

/// The sending half; like [`Sender`] for whole RPC records.
pub(in super::super) struct TlsSender {
    session: Session,
    raw: Sender,
}

impl TlsSender {
    /// As [`Sender::send`]. The parts together are RPC records, one after the other.
    pub(in super::super) async fn send(&mut self, parts: Vec<Part>) -> (SysResult<usize>, Vec<Part>) {
        let mut cursor = Cursor::default();
        loop {
            let sealed = seal(&mut self.session.borrow_mut(), &parts, &mut cursor);
            let sent = match sealed {
                Ok(_) => self.drain().await,
                Err(errno) => Err(errno),
            };
            match sent {
                Err(errno) => return (Err(errno), parts),
                Ok(()) if cursor.is_at_end(&parts) => return (Ok(cursor.done), parts),
                Ok(()) => {}
            }
        }
    }

    /// Tells the peer that nothing more comes, or why.
    pub(in super::super) async fn finish(&mut self) {
        self.session.borrow_mut().send_close_notify();
        // It may be gone already.
        let _ = self.drain().await;
    }

    /// Sends what is encrypted.
    async fn drain(&mut self) -> SysResult<()> {
        let parts = {
            let mut tls = self.session.borrow_mut();
            let mut sink = Sink::default();
            while tls.wants_write() {
                // The sink takes everything.
                tls.write_tls(&mut sink).map_err(|_| Errno::IO)?;
            }
            sink.finish()
        };
        if parts.is_empty() {
            return Ok(());
        }
        let expected: usize = parts.iter().map(|part| part.len()).sum();
        match self.raw.send(parts).await.0 {
            Ok(sent) if sent == expected => Ok(()),
            Ok(_) => Err(Errno::CONNRESET),
            Err(errno) => Err(errno),
        }
    }
}

/// A place in a list of parts.
#[derive(Debug, Default)]
struct Cursor {
    part: usize,
    at: usize,
    /// Bytes before it.
    done: usize,
    /// Bytes from here to the end of the RPC record.
    left: usize,
}

impl Cursor {
    fn is_at_end(&self, parts: &[Part]) -> bool {
        parts.get(self.part..).unwrap_or_default().iter().all(|part| part.len() <= self.at)
    }

    /// The stretches from here on.
    fn rest<'a>(&self, parts: &'a [Part]) -> impl Iterator<Item = &'a [u8]> {
        let mut skip = self.at;
        parts.get(self.part..).unwrap_or_default().iter().filter_map(move |part| {
            let from = std::mem::take(&mut skip).min(part.len());
            Some(&part[from..]).filter(|rest| !rest.is_empty())
        })
    }

    fn advance(&mut self, parts: &[Part], mut n: usize) {
        self.done += n;
        self.left -= n.min(self.left);
        while let Some(part) = parts.get(self.part) {
            let here = part.len() - self.at;
            if n < here {
                self.at += n;
                return;
            }
            n -= here;
            (self.part, self.at) = (self.part + 1, 0);
        }
    }

    /// At the beginning of an RPC record: how long it is.
    fn begin(&mut self, parts: &[Part]) {
        let mut mark = [0; MARK];
        let bytes = self.rest(parts).flatten();
        let there = mark.iter_mut().zip(bytes).map(|(to, from)| *to = *from).count();
        // Less than a mark cannot be; it would leave as it is.
        self.left = if there == MARK { MARK + Mark::parse(mark).len } else { there };
    }
}

/// Encrypts records from the cursor on, about [`STEP`] bytes; how many.
fn seal(tls: &mut ServerConnection, parts: &[Part], cursor: &mut Cursor) -> SysResult<usize> {
    let mut sealed = 0;
    while sealed < STEP && !cursor.is_at_end(parts) {
        if cursor.left == 0 {
            cursor.begin(parts);
        }
        let most = cursor.left.min(STEP - sealed);
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut gathered = 0;
        for (slice, stretch) in slices.iter_mut().zip(cursor.rest(parts)) {
            let n = stretch.len().min(most - gathered);
            *slice = IoSlice::new(&stretch[..n]);
            gathered += n;
            if gathered == most {
                break;
            }
        }
        let count = slices.iter().take_while(|slice| !slice.is_empty()).count();
        // Encrypted at once: the next call begins another TLS record.
        let n = tls.writer().write_vectored(&slices[..count]).map_err(|_| Errno::IO)?;
        if n == 0 {
            return Err(Errno::IO);
        }
        cursor.advance(parts, n);
        sealed += n;
    }
    Ok(sealed)
}

/// Takes encrypted bytes into memory that can be sent.
#[derive(Debug, Default)]
struct Sink {
    parts: Vec<Part>,
    tail: Buf,
}

impl Sink {
    fn finish(mut self) -> Vec<Part> {
        self.seal();
        self.parts
    }

    fn seal(&mut self) {
        let tail = std::mem::take(&mut self.tail);
        if !tail.is_empty() {
            self.parts.push(tail.into());
        }
    }

    fn put(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let len = self.tail.len();
            let n = (self.tail.capacity() - len).min(bytes.len());
            if n == 0 {
                self.seal();
                self.tail = Buf::new((bytes.len() + OVERHEAD).min(CHUNK));
                self.tail.truncate(0);
                continue;
            }
            self.tail.set_len(len + n);
            self.tail[len..].copy_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(bytes);
        Ok(bytes.len())
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let all: usize = slices.iter().map(|slice| slice.len()).sum();
        if self.tail.capacity() == 0 {
            self.tail = Buf::new(all.min(CHUNK));
            self.tail.truncate(0);
        }
        slices.iter().for_each(|slice| self.put(slice));
        Ok(all)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
