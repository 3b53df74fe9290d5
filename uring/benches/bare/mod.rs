//! The least that a brick can be: a thread that receives calls and sends replies over a ring, and reads from one file.
//!
//! It reads with a plain system call: on file systems in memory a ring would hand the read to a thread of its own.
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
/// Fewest replies that leave together while there are as many.
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

/// The memory of a connection: what comes, and what leaves.
type Buffers = (Memory, Memory);

struct Connection {
    fd: OwnedFd,
    inbox: Memory,
    /// Bytes in the inbox.
    filled: usize,
    receiving: bool,
    asked: VecDeque<Asked>,
    outbox: Memory,
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
        let new = || (Memory::new(INBOX), Memory::new(OUTBOX));
        let (inbox, outbox) = self.spare.pop().unwrap_or_else(new);
        self.connections[place] = Some(Connection {
            fd,
            inbox,
            filled: 0,
            receiving: false,
            asked: VecDeque::new(),
            outbox,
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

    fn sent(&mut self, index: u32, result: i32) -> io::Result<()> {
        let Some(connection) = self.connections[index as usize].as_mut() else { return Ok(()) };
        connection.sending = false;
        connection.closing |= result <= 0;
        self.go_on(index)
    }

    /// Begins whatever a connection can do now.
    fn go_on(&mut self, index: u32) -> io::Result<()> {
        let Some(connection) = self.connections[index as usize].as_mut() else { return Ok(()) };
        if connection.closing {
            if !connection.sending
                && !connection.receiving
                && let Some(ended) = self.connections[index as usize].take()
            {
                self.spare.push((ended.inbox, ended.outbox));
            }
            return Ok(());
        }
        if !connection.receiving && connection.filled < INBOX {
            let (from, len) = (connection.filled, INBOX - connection.filled);
            self.ring.receive(Tag::Receive(index), connection.fd.as_fd(), &connection.inbox, from, len)?;
            connection.receiving = true;
        }
        if !connection.sending && !connection.asked.is_empty() {
            let len = connection.reply(self.file, &self.iatt);
            self.ring.send(Tag::Send(index), connection.fd.as_fd(), &connection.outbox, len)?;
            connection.sending = true;
        }
        Ok(())
    }
}

impl Connection {
    /// Puts the next replies into the outbox. Returns how many bytes there are to send.
    fn reply(&mut self, file: &File, iatt: &Iatt) -> usize {
        let (bytes, mut end) = (self.outbox.bytes(), 0);
        // Half of all, so that the peer begins with them while the others are read.
        for _ in 0..TOGETHER.max(self.asked.len() / 2) {
            let len = match self.asked.front() {
                Some(Asked::Read(_, _, len)) => HEAD + len,
                Some(Asked::Other(bytes)) => bytes.len(),
                None => break,
            };
            if end + len > OUTBOX {
                break;
            }
            match self.asked.pop_front() {
                Some(Asked::Read(xid, offset, wanted)) => {
                    end += read(&mut bytes[end..], (xid, offset, wanted), file, iatt);
                }
                Some(Asked::Other(reply)) => {
                    bytes[end..end + len].copy_from_slice(&reply);
                    end += len;
                }
                None => break,
            }
        }
        end
    }
}

/// Answers a READ: reads behind the place of the head, and writes the head.
fn read(to: &mut [u8], (xid, offset, wanted): (u32, u64, usize), file: &File, iatt: &Iatt) -> usize {
    let (head, data) = to.split_at_mut(HEAD);
    let (rsp, len) = match file.read_at(&mut data[..wanted], offset) {
        Ok(len) => {
            (fops::ReadRsp { op_ret: len as i32, size: len as u32, stat: *iatt, ..Default::default() }, len)
        }
        Err(error) => {
            let op_errno = error.raw_os_error().unwrap_or(5);
            (fops::ReadRsp { op_ret: -1, op_errno, ..Default::default() }, 0)
        }
    };
    let writer = &mut Writer::new(head);
    writer.raw(&Mark::whole(HEAD - MARK + len));
    put_reply_header(writer, xid, Accept::Success);
    rsp.put(writer);
    HEAD + len
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
