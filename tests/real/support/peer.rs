//! A client by hand: says exactly what a test wants it to say.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use kiln_xlators::protocol::rpc::credential::{Credential, Groups};
use kiln_xlators::protocol::rpc::message::{Reply, call_record};
use kiln_xlators::protocol::rpc::programs::{fops, handshake};
use kiln_xlators::protocol::rpc::record::{MARK, Mark};
use kiln_xlators::protocol::xdr::{LegacyDict, Reader, Wire};

/// See the [module](self).
pub struct Peer {
    pub stream: TcpStream,
    xid: u32,
    /// User, group and further groups that it calls as.
    pub user: (u32, u32, Vec<u32>),
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Accepted with this status, and the body.
    Accepted(u32, Vec<u8>),
    /// Denied.
    Denied,
    /// The connection was closed.
    Closed,
}

impl Answer {
    /// `op_ret` and `op_errno` of a body that begins with them.
    #[track_caller]
    pub fn outcome(&self) -> (i32, i32) {
        match self {
            Self::Accepted(0, body) => {
                let word = |at: usize| i32::from_be_bytes(body[at..at + 4].try_into().unwrap());
                (word(0), word(4))
            }
            other => panic!("{other:?}"),
        }
    }

    /// The body as a type.
    #[track_caller]
    pub fn body<'a, T: Wire<'a>>(&'a self) -> T {
        match self {
            Self::Accepted(0, body) => T::get(&mut Reader::new(body)).unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

impl Peer {
    /// Connects, and says nothing yet.
    pub fn new(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, xid: 1, user: (0, 0, Vec::new()) }
    }

    /// Connects and binds to `brick`.
    pub fn bound(port: u16, brick: &str) -> Self {
        let mut peer = Self::new(port);
        assert_eq!(peer.set_volume(&[("remote-subvolume", brick)]).outcome().0, 0);
        peer
    }

    /// SETVOLUME with these keys besides the usual ones.
    pub fn set_volume(&mut self, keys: &[(&str, &str)]) -> Answer {
        let mut dict = LegacyDict::new();
        // Two connections of one name are one client to the stock brick.
        dict.set_text("process-uuid", &format!("a-test-{}", self.stream.local_addr().unwrap().port()));
        dict.set_text("fops-version", "1298437");
        keys.iter().for_each(|(key, value)| dict.set_text(key, value));
        let bytes = dict.to_bytes();
        let what = (handshake::PROGRAM, handshake::VERSION, handshake::SETVOLUME);
        self.call(what, &handshake::SetvolumeReq { dict: &bytes })
    }

    /// The record of a call, and its number.
    pub fn record<'a>(&mut self, what: (u32, u32, u32), arguments: &impl Wire<'a>) -> Vec<u8> {
        self.xid += 1;
        let (uid, gid, groups) = &self.user;
        let groups: Vec<u8> = groups.iter().flat_map(|group| group.to_be_bytes()).collect();
        let credential = Credential {
            owner: &[1, 2, 3, 4],
            pid: 7,
            uid: *uid,
            gid: *gid,
            groups: Groups::from_bytes(&groups),
            ..Credential::default()
        };
        call_record(self.xid, what, Some(&credential), arguments)
    }

    /// Calls and waits for the answer.
    pub fn call<'a>(&mut self, what: (u32, u32, u32), arguments: &impl Wire<'a>) -> Answer {
        let record = self.record(what, arguments);
        self.send(&record);
        self.receive()
    }

    /// Calls a fop and waits for the answer.
    pub fn fop<'a>(&mut self, procedure: u32, arguments: &impl Wire<'a>) -> Answer {
        self.call((fops::PROGRAM, fops::VERSION, procedure), arguments)
    }

    /// Calls WRITE with these bytes and waits for the answer.
    pub fn write(&mut self, arguments: &fops::WriteReq, data: &[u8]) -> Answer {
        let what = (fops::PROGRAM, fops::VERSION, fops::procedure::WRITE);
        let mut record = self.record(what, arguments);
        record.extend(data);
        let mark = Mark::whole(record.len() - MARK);
        record[..MARK].copy_from_slice(&mark);
        self.send(&record);
        self.receive()
    }

    /// Sends bytes; a peer that has closed is seen by the next receive.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// The next record.
    pub fn receive(&mut self) -> Answer {
        let Some(mark) = self.read(MARK) else { return Answer::Closed };
        let len = u32::from_be_bytes(mark.try_into().unwrap()) & !(1 << 31);
        let Some(record) = self.read(len as usize) else { return Answer::Closed };
        let reply = Reply::parse(&record).unwrap();
        match reply.accept {
            Some(status) => Answer::Accepted(status, record[reply.body..].to_vec()),
            None => Answer::Denied,
        }
    }

    fn read(&mut self, len: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; len];
        match self.stream.read_exact(&mut bytes) {
            Ok(()) => Some(bytes),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("no answer in time")
            }
            Err(_) => None,
        }
    }
}
