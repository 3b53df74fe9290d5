//! Receiving: from bytes to calls.
//!
//! Small records are decoded where the kernel put them. A record that is spread over several receives, or cut into fragments,
//! is gathered first. The bytes of a large write are received straight into the aligned buffer that the storage layer
//! will write from.

use std::rc::Rc;
use std::time::Duration;

use kiln_uring::{Buf, Errno};

use super::connection::Connection;
use super::dispatch::{self, Arrival};
use super::door::PATIENCE;
use super::gate::Cost;
use super::link::Inlet;
use super::stats::bump;
use super::tls;
use crate::protocol::rpc::message::{Call, CallError, Denial, denial};
use crate::protocol::rpc::programs::fops;
use crate::protocol::rpc::record::{Assembler, MARK, Mark, whole};
use crate::protocol::xdr::{Reader, Wire};

/// Longest record without payload: no arguments come near it.
const LONGEST: usize = 4 << 20;
/// Longest payload of a write.
const LONGEST_PAYLOAD: usize = 256 << 20;
/// Longest record of a stranger: SETVOLUME and the dictionary of a client come nowhere near.
const STRANGERS: usize = 16 << 10;
/// Bytes of a record that are gathered for free; beyond them its room is taken as that of a request.
const FREE: usize = 64 << 10;
/// Payload from which on it is received into its own buffer.
const DIRECT: usize = 8 << 10;
/// Bytes in which the head of a write ends, unless its dictionary is unusually large.
const HEAD: usize = 512;
/// How long a record may take to arrive once it has begun, if nothing of it comes meanwhile.
const STALL: Duration = Duration::from_secs(60);

/// The end of a connection, in words.
type End = &'static str;

/// See the [module](self).
pub(super) struct Intake {
    connection: Rc<Connection>,
    receiver: Inlet,
    partial: Assembler,
    /// Room that was taken for a long record which is still coming.
    room: Option<Room>,
}

impl Intake {
    pub(super) fn new(connection: Rc<Connection>, receiver: Inlet) -> Self {
        Self { connection, receiver, partial: Assembler::new(LONGEST_PAYLOAD + LONGEST), room: None }
    }

    /// Serves until the connection ends; why it did.
    pub(super) async fn run(mut self) -> End {
        loop {
            match self.turn().await {
                Ok(()) => {}
                Err(end) => return end,
            }
        }
    }

    /// One receive, and all that it brings.
    async fn turn(&mut self) -> Result<(), End> {
        let mut chunk = self.receive().await?;
        if !self.connection.greeted.get() && self.receiver.is_plain() && tls::is_hello(&chunk) {
            let why = "it speaks TLS, which is off here (transport.socket.ssl-enabled)";
            self.connection.door.turn_away(&self.connection.peer, why);
            return Err("it speaks TLS");
        }
        while !chunk.is_empty() {
            if !self.partial.is_empty() {
                self.gather(&mut chunk).await?;
                continue;
            }
            if let Some(record) = whole(&chunk) {
                let len = MARK + record.len();
                // Keeps the chunk: the call is served (or waits for room) before the next one is looked at.
                self.serve(record).await?;
                chunk.advance(len);
                continue;
            }
            match large_write(&chunk) {
                Some(write) => {
                    let head = Buf::from_slice(&chunk[MARK..MARK + write.head]);
                    chunk.advance(MARK + write.head);
                    self.receiver.unread(std::mem::take(&mut chunk));
                    self.receive_write(&head, write.payload).await?;
                }
                None => self.gather(&mut chunk).await?,
            }
        }
        Ok(())
    }

    async fn receive(&mut self) -> Result<Buf, End> {
        let core = self.connection.door.core.clone();
        let received = if self.partial.is_empty() {
            self.receiver.recv().await
        } else {
            core.timeout(STALL, self.receiver.recv()).await.map_err(|_| "a record does not go on")?
        };
        match received {
            Ok(buf) if buf.is_empty() && self.partial.is_empty() => Err("closed by the client"),
            Ok(buf) if buf.is_empty() => Err("closed by the client within a record"),
            Ok(buf) => {
                bump(&self.connection.stats.received, buf.len());
                Ok(buf)
            }
            Err(errno) => Err(broken(errno)),
        }
    }

    /// Takes a piece of a record that is not there in full.
    async fn gather(&mut self, chunk: &mut Buf) -> Result<(), End> {
        // The head first, so that a payload that follows is not copied twice.
        let begun = self.partial.gathered().len();
        let most = if begun < HEAD { (HEAD - begun).min(chunk.len()) } else { chunk.len() };
        let mut bytes = &chunk[..most];
        let complete = self.partial.feed(&mut bytes).map_err(|_| "a record is too long")?;
        chunk.advance(most - bytes.len());
        if complete {
            let record = self.partial.finish();
            self.room = None;
            return self.serve(&record).await;
        }
        let Some(missing) = self.partial.tail().filter(|missing| *missing >= DIRECT) else {
            return self.check_length().await;
        };
        let Some((head, _)) = write_head(self.partial.gathered()) else {
            return self.check_length().await;
        };
        let record = self.partial.finish();
        let (head, begun) = record.split_at(head);
        self.receiver.unread(std::mem::take(chunk));
        self.receiver.unread(Buf::from_slice(begun));
        self.receive_write(head, begun.len() + missing).await
    }

    async fn check_length(&mut self) -> Result<(), End> {
        let gathered = self.partial.gathered().len();
        if gathered > LONGEST {
            return Err("a record is too long");
        }
        if gathered > STRANGERS {
            self.check_stranger()?;
        }
        if gathered > FREE && self.room.is_none() {
            self.room = Some(Room::take(&self.connection, Cost { requests: 0, bytes: LONGEST }).await);
        }
        Ok(())
    }

    /// Whoever is not bound to a brick has no use for long records, and gets no memory for them.
    fn check_stranger(&self) -> Result<(), End> {
        if self.connection.bound.get().is_some() {
            return Ok(());
        }
        self.connection.door.turn_away(&self.connection.peer, "it sends a long record before the handshake");
        Err("a long record before the handshake")
    }

    /// Receives the payload of a write whose head is there.
    async fn receive_write(&mut self, head: &[u8], payload: usize) -> Result<(), End> {
        if payload > LONGEST_PAYLOAD {
            return Err("a write is too long");
        }
        self.check_stranger()?;
        self.room = None;
        let call = match Call::parse(head) {
            Ok(call) => call,
            Err(error) => return self.answer_error(error),
        };
        let cost = dispatch::cost_of_write(payload);
        let room = Room::take(&self.connection, cost).await;
        let core = self.connection.door.core.clone();
        let buf = core.buffer(payload);
        let patience = STALL + Duration::from_secs(payload as u64 >> 20);
        let received = core.timeout(patience, self.receiver.recv_exact_into(buf)).await;
        let (result, data) = received.map_err(|_| "a write does not go on")?;
        match result {
            Ok(n) if n == payload => bump(&self.connection.stats.received, payload),
            Ok(_) => return Err("closed by the client within a write"),
            Err(errno) => return Err(broken(errno)),
        }
        room.hand_over();
        dispatch::serve(
            &self.connection,
            Arrival { call, record: head, payload: Some(data), admitted: Some(cost) },
        )
        .await;
        Ok(())
    }

    /// Serves a record that is there in full.
    async fn serve(&self, record: &[u8]) -> Result<(), End> {
        match Call::parse(record) {
            Ok(call) => {
                dispatch::serve(&self.connection, Arrival { call, record, payload: None, admitted: None })
                    .await;
                Ok(())
            }
            Err(error) => self.answer_error(error),
        }
    }

    fn answer_error(&self, error: CallError) -> Result<(), End> {
        let (xid, why) = match error {
            CallError::Garbled(_) | CallError::NotACall => {
                if self.connection.greeted.get() {
                    tracing::warn!(client = %self.connection.name(), "{error}: closing");
                } else {
                    self.connection
                        .door
                        .turn_away(&self.connection.peer, "it does not speak GlusterFS's protocol");
                }
                return Err("it does not speak the protocol");
            }
            CallError::RpcVersion { xid } => (xid, Denial::RpcMismatch),
            CallError::Credential { xid } => (xid, Denial::BadCredential),
        };
        bump(&self.connection.stats.refused, 1);
        self.connection.outbox.record(&denial(xid, why));
        self.connection.flush();
        Ok(())
    }
}

fn broken(errno: Errno) -> End {
    match errno {
        Errno::CONNRESET => "reset by the client",
        Errno::PROTO => "it breaks the rules of TLS",
        Errno::TIMEDOUT => "the client does not answer any more",
        _ => "the connection broke",
    }
}

/// Room that was taken for bytes which are still coming. While others wait for room, they are to come soon.
struct Room {
    connection: Rc<Connection>,
    cost: Cost,
}

impl Room {
    async fn take(connection: &Rc<Connection>, cost: Cost) -> Self {
        connection.admit(cost).await;
        connection.expected.set(Some(connection.door.core.now() + pace(cost.bytes)));
        Self { connection: Rc::clone(connection), cost }
    }

    /// The request is answerable for it now.
    fn hand_over(mut self) {
        self.cost = Cost::default();
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.connection.expected.set(None);
        self.connection.leave(self.cost);
    }
}

/// How long so many bytes may take when others wait: 16 MB/s, and a while.
const fn pace(bytes: usize) -> Duration {
    Duration::from_millis(PATIENCE.as_millis() as u64 + (bytes as u64 >> 14))
}

/// A large write at the start of received bytes.
struct LargeWrite {
    /// Bytes of its header and arguments.
    head: usize,
    /// Bytes of its payload, of which some may be there.
    payload: usize,
}

/// Whether the record that begins here is a write whose head is there in full and whose payload is large.
fn large_write(chunk: &[u8]) -> Option<LargeWrite> {
    let (mark, rest) = chunk.split_first_chunk::<MARK>()?;
    let mark = Mark::parse(*mark);
    if !mark.last || mark.len < DIRECT {
        return None;
    }
    let (head, _) = write_head(rest)?;
    let payload = mark.len.checked_sub(head)?;
    (payload >= DIRECT).then_some(LargeWrite { head, payload })
}

/// Where the head of a write ends, and the number of its procedure.
fn write_head(record: &[u8]) -> Option<(usize, u32)> {
    let call = Call::parse(record).ok()?;
    if (call.program, call.version) != (fops::PROGRAM, fops::VERSION) {
        return None;
    }
    let mut from = Reader::new(record.get(call.arguments..)?);
    match call.procedure {
        fops::procedure::WRITE => drop(fops::WriteReq::get(&mut from).ok()?),
        fops::procedure::PUT => drop(fops::PutReq::get(&mut from).ok()?),
        _ => return None,
    }
    Some((call.arguments + from.position(), call.procedure))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::rpc::credential::Credential;
    use crate::protocol::rpc::message::call_record;
    use crate::types::{Gfid, Xdata};

    fn write_record(payload: usize) -> Vec<u8> {
        let arguments = fops::WriteReq {
            gfid: Gfid::ROOT,
            fd: 3,
            offset: 0,
            size: payload as u32,
            flag: 0,
            xdata: Xdata::NONE,
        };
        let what = (fops::PROGRAM, fops::VERSION, fops::procedure::WRITE);
        let mut record = call_record(1, what, Some(&Credential::default()), &arguments);
        record.resize(record.len() + payload, 7);
        let mark = Mark::whole(record.len() - MARK);
        record[..MARK].copy_from_slice(&mark);
        record
    }

    #[test]
    fn large_writes_are_known_by_their_head_alone() {
        let record = write_record(DIRECT);
        let head = record.len() - MARK - DIRECT;
        let found = large_write(&record[..MARK + head + 1]).unwrap();
        assert_eq!((found.head, found.payload), (head, DIRECT));
        assert!(large_write(&record[..MARK + head - 1]).is_none(), "half a head");
        assert!(large_write(&write_record(100)).is_none(), "a small one");
    }
}
