//! The least that a brick can be: a thread with a ring that receives calls, reads from one file, and sends.
//!
//! It has no graph, no names, no locks, no checks: every name is the same file. What it costs is the price of the wire and of
//! the kernel, below which no brick of one thread can get.

mod ring;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;

use kiln_xlators::protocol::rpc::message::{
    Accept, Call, REPLY_HEADER, bare_reply, put_reply_header, reply_record,
};
use kiln_xlators::protocol::rpc::programs::fops::{self, procedure};
use kiln_xlators::protocol::rpc::programs::{PlainRsp, dump, handshake};
use kiln_xlators::protocol::rpc::record::{MARK, Mark};
use kiln_xlators::protocol::xdr::{LegacyDict, Reader, Wire, Writer};
use kiln_xlators::types::{Gfid, IaType, Iatt};

use ring::{Memory, Ring, Tag};

/// Bytes that may come at once on a connection; also the longest record.
const INBOX: usize = 2 << 20;
/// Bytes of replies that leave together.
const OUTBOX: usize = 2 << 20;
/// Replies that leave together: few enough that the peer begins with the first ones while the next are read.
const TOGETHER: usize = 8;
/// Bytes of a reply to READ before the data.
const HEAD: usize = MARK + REPLY_HEADER + fops::READ_RSP;

/// A call that has come and is not answered.
enum Asked {
    /// A READ: xid, offset, length.
    Read(u32, u64, usize),
    /// Anything else, with its answer.
    Other(Vec<u8>),
}

/// A reply in the outbox.
struct Segment {
    at: usize,
    len: usize,
    /// Of a READ that is to be filled in: the call's number, and what came.
    read: Option<(u32, i32)>,
}

/// The memory of a connection: what comes, and twice what leaves.
type Buffers = (Memory, [Memory; 2]);

struct Connection {
    fd: OwnedFd,
    inbox: Memory,
    /// Bytes in the inbox.
    filled: usize,
    receiving: bool,
    asked: VecDeque<Asked>,
    /// What is being put together, and what is being sent.
    outboxes: [Memory; 2],
    /// Which of them is put together.
    current: usize,
    segments: Vec<Segment>,
    /// Reads under way for it.
    reading: usize,
    sending: bool,
    closing: bool,
}

/// Serves `file` to all who come, for ever.
///
/// # Errors
/// The ring fails.
pub fn serve(listener: &TcpListener, file: &File) -> io::Result<()> {
    let mut server =
        Server { ring: Ring::new()?, file, connections: Vec::new(), spare: Vec::new(), iatt: iatt(file)? };
    server.ring.accept(listener.as_fd())?;
    let mut ended = Vec::new();
    loop {
        server.ring.turn(&mut ended)?;
        for (tag, result) in ended.drain(..) {
            match tag {
                Tag::Accept => {
                    server.welcome(result)?;
                    server.ring.accept(listener.as_fd())?;
                }
                Tag::Receive(index) => server.received(index, result)?,
                Tag::Read(index, segment) => server.read(index, segment as usize, result)?,
                Tag::Send(index) => server.sent(index, result)?,
            }
        }
    }
}

fn iatt(file: &File) -> io::Result<Iatt> {
    let size = file.metadata()?.len();
    Ok(Iatt {
        gfid: Gfid::from_bytes([7; 16]),
        kind: IaType::Regular,
        prot: 0o644,
        nlink: 1,
        size,
        ..Iatt::default()
    })
}

struct Server<'f> {
    ring: Ring,
    file: &'f File,
    connections: Vec<Option<Connection>>,
    /// Of connections that have ended.
    spare: Vec<Buffers>,
    iatt: Iatt,
}

impl Server<'_> {
    fn welcome(&mut self, fd: i32) -> io::Result<()> {
        if fd < 0 {
            return Err(io::Error::from_raw_os_error(-fd));
        }
        // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        rustix::net::sockopt::set_tcp_nodelay(&fd, true)?;
        let place = self.connections.iter().position(Option::is_none).unwrap_or(self.connections.len());
        if place == self.connections.len() {
            self.connections.push(None);
        }
        let new = || (Memory::new(INBOX), [Memory::new(OUTBOX), Memory::new(OUTBOX)]);
        let (inbox, outboxes) = self.spare.pop().unwrap_or_else(new);
        self.connections[place] = Some(Connection {
            fd,
            inbox,
            filled: 0,
            receiving: false,
            asked: VecDeque::new(),
            outboxes,
            current: 0,
            segments: Vec::new(),
            reading: 0,
            sending: false,
            closing: false,
        });
        self.go_on(place as u32)
    }

    fn received(&mut self, index: u32, result: i32) -> io::Result<()> {
        let Some(connection) = self.connections[index as usize].as_mut() else { return Ok(()) };
        connection.receiving = false;
        match usize::try_from(result) {
            Ok(came) if came > 0 => connection.filled += came,
            _ => connection.closing = true,
        }
        let mut at = 0;
        let filled = connection.filled;
        let bytes = &mut connection.inbox.bytes()[..filled];
        while let Some(mark) = bytes[at..].first_chunk::<MARK>() {
            let len = Mark::parse(*mark).len;
            let Some(record) = bytes.get(at + MARK..at + MARK + len) else { break };
            connection.asked.push_back(answer(record, self.file, &self.iatt));
            at += MARK + len;
        }
        bytes.copy_within(at.., 0);
        connection.filled -= at;
        self.go_on(index)
    }

    fn read(&mut self, index: u32, segment: usize, result: i32) -> io::Result<()> {
        let Some(connection) = self.connections[index as usize].as_mut() else { return Ok(()) };
        connection.reading -= 1;
        if let Some((_, came)) = connection.segments[segment].read.as_mut() {
            *came = result;
        }
        self.go_on(index)
    }

    fn sent(&mut self, index: u32, result: i32) -> io::Result<()> {
        let Some(connection) = self.connections[index as usize].as_mut() else { return Ok(()) };
        connection.sending = false;
        connection.closing |= result <= 0;
        self.go_on(index)
    }

    /// Begins whatever a connection can do now.
    fn go_on(&mut self, index: u32) -> io::Result<()> {
        let Some(connection) = self.connections[index as usize].as_mut() else { return Ok(()) };
        let idle = connection.reading == 0 && !connection.sending && !connection.receiving;
        if connection.closing {
            if idle && let Some(ended) = self.connections[index as usize].take() {
                self.spare.push((ended.inbox, ended.outboxes));
            }
            return Ok(());
        }
        if !connection.receiving && connection.filled < INBOX {
            let (from, len) = (connection.filled, INBOX - connection.filled);
            self.ring.receive(Tag::Receive(index), connection.fd.as_fd(), &connection.inbox, from, len)?;
            connection.receiving = true;
        }
        if connection.reading == 0 && !connection.sending && !connection.segments.is_empty() {
            let len = connection.finish(&self.iatt);
            let outbox = &connection.outboxes[connection.current];
            self.ring.send(Tag::Send(index), connection.fd.as_fd(), outbox, len)?;
            connection.sending = true;
            connection.current ^= 1;
        }
        if connection.segments.is_empty() {
            connection.begin(index, &mut self.ring, self.file)?;
            if connection.reading == 0 && !connection.segments.is_empty() && !connection.sending {
                return self.go_on(index);
            }
        }
        Ok(())
    }
}

impl Connection {
    /// Begins with the next replies, in the outbox that is not being sent.
    fn begin(&mut self, index: u32, ring: &mut Ring, file: &File) -> io::Result<()> {
        let mut at = 0;
        while self.segments.len() < TOGETHER {
            let len = match self.asked.front() {
                Some(Asked::Read(_, _, len)) => HEAD + len,
                Some(Asked::Other(bytes)) => bytes.len(),
                None => break,
            };
            if at + len > OUTBOX {
                break;
            }
            let outbox = &mut self.outboxes[self.current];
            let read = match self.asked.pop_front() {
                Some(Asked::Read(xid, offset, wanted)) => {
                    let tag = Tag::Read(index, self.segments.len() as u32);
                    ring.read(tag, file.as_fd(), offset, outbox, (at + HEAD, wanted))?;
                    self.reading += 1;
                    Some((xid, 0))
                }
                Some(Asked::Other(bytes)) => {
                    outbox.bytes()[at..at + len].copy_from_slice(&bytes);
                    None
                }
                None => break,
            };
            self.segments.push(Segment { at, len, read });
            at += len;
        }
        Ok(())
    }

    /// Puts the heads before what was read, and everything together. Returns how many bytes there are to send.
    fn finish(&mut self, iatt: &Iatt) -> usize {
        let bytes = self.outboxes[self.current].bytes();
        let mut end = 0;
        for Segment { at, len, read } in self.segments.drain(..) {
            let Some((xid, came)) = read else {
                bytes.copy_within(at..at + len, end);
                end += len;
                continue;
            };
            let data = usize::try_from(came).unwrap_or(0);
            if end != at {
                bytes.copy_within(at + HEAD..at + HEAD + data, end + HEAD);
            }
            let to = &mut Writer::new(&mut bytes[end..end + HEAD]);
            to.raw(&Mark::whole(HEAD - MARK + data));
            put_reply_header(to, xid, Accept::Success);
            let rsp = if came < 0 {
                fops::ReadRsp { op_ret: -1, op_errno: -came, ..Default::default() }
            } else {
                fops::ReadRsp { op_ret: came, size: data as u32, stat: *iatt, ..Default::default() }
            };
            rsp.put(to);
            end += HEAD + data;
        }
        end
    }
}

/// What a call is answered with, at once where it is no READ.
fn answer(record: &[u8], file: &File, iatt: &Iatt) -> Asked {
    let Ok(call) = Call::parse(record) else { return Asked::Other(bare_reply(0, Accept::GarbageArguments)) };
    let (xid, arguments) = (call.xid, &record[call.arguments..]);
    if (call.program, call.procedure) == (fops::PROGRAM, procedure::READ) {
        return match fops::ReadReq::get(&mut Reader::new(arguments)) {
            Ok(request) => Asked::Read(xid, request.offset, (request.size as usize).min(OUTBOX - HEAD)),
            Err(_) => Asked::Other(bare_reply(xid, Accept::GarbageArguments)),
        };
    }
    Asked::Other(match call.program {
        dump::PROGRAM if call.procedure == dump::DUMP => {
            let program = |number: u32, version: u32| dump::Program {
                name: b"bare",
                number: number.into(),
                version: version.into(),
            };
            let programs =
                vec![program(fops::PROGRAM, fops::VERSION), program(handshake::PROGRAM, handshake::VERSION)];
            reply_record(xid, &dump::DumpRsp { programs, ..Default::default() })
        }
        dump::PROGRAM => reply_record(xid, &PlainRsp::default()),
        handshake::PROGRAM => {
            let dict = LegacyDict::new().to_bytes();
            reply_record(xid, &handshake::SetvolumeRsp { dict: &dict, ..Default::default() })
        }
        fops::PROGRAM => fop(xid, call.procedure, arguments, file, iatt),
        _ => bare_reply(xid, Accept::ProgramUnavailable),
    })
}

/// A fop that is no READ: everything succeeds, and only WRITE does something.
fn fop(xid: u32, number: u32, arguments: &[u8], file: &File, iatt: &Iatt) -> Vec<u8> {
    let (stat, poststat) = (*iatt, *iatt);
    match number {
        procedure::WRITE => {
            let from = &mut Reader::new(arguments);
            let Ok(request) = fops::WriteReq::get(from) else {
                return bare_reply(xid, Accept::GarbageArguments);
            };
            let (op_ret, op_errno) = match file.write_all_at(from.rest(), request.offset) {
                Ok(()) => (from.rest().len() as i32, 0),
                Err(error) => (-1, error.raw_os_error().unwrap_or(5)),
            };
            reply_record(xid, &fops::ChangedRsp { op_ret, op_errno, poststat, ..Default::default() })
        }
        procedure::LOOKUP => {
            reply_record(xid, &fops::ChangedRsp { prestat: stat, poststat, ..Default::default() })
        }
        procedure::STAT | procedure::FSTAT => {
            reply_record(xid, &fops::AttrRsp { stat, ..Default::default() })
        }
        procedure::OPEN | procedure::OPENDIR => reply_record(xid, &fops::OpenRsp::default()),
        procedure::CREATE => reply_record(xid, &fops::CreateRsp { stat, ..Default::default() }),
        procedure::MKDIR => reply_record(xid, &fops::MadeRsp { stat, ..Default::default() }),
        procedure::UNLINK | procedure::RMDIR | procedure::FSYNC => {
            reply_record(xid, &fops::ChangedRsp::default())
        }
        procedure::FLUSH | procedure::RELEASE | procedure::RELEASEDIR => {
            reply_record(xid, &fops::CommonRsp::default())
        }
        _ => bare_reply(xid, Accept::ProcedureUnavailable),
    }
}
