//! Calls and replies.

use super::credential::{AUTH_GLUSTERFS_V3, AUTH_NULL, Credential};
use super::record::{MARK, Mark};
use crate::protocol::xdr::{Reader, Wire, Writer, XdrError};

const CALL: u32 = 0;
const REPLY: u32 = 1;
const RPC_VERSION: u32 = 2;
const DENIED: u32 = 1;

/// Bytes of an accepted reply before its body.
pub const REPLY_HEADER: usize = 24;

/// A call without its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call<'a> {
    /// The caller's number of it.
    pub xid: u32,
    /// Program.
    pub program: u32,
    /// Version of the program.
    pub version: u32,
    /// Procedure.
    pub procedure: u32,
    /// Who calls.
    pub credential: Credential<'a>,
    /// Where the arguments begin in the record.
    pub arguments: usize,
}

/// Why a record is no call that can be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The record is too short or a length in it lies.
    #[error("the header of the call does not decode: {0}")]
    Garbled(#[from] XdrError),
    /// It is a reply, or nothing that has a name.
    #[error("the record is no call")]
    NotACall,
    /// Another version of RPC: to be answered with [`Denial::RpcMismatch`].
    #[error("RPC of another version than 2")]
    RpcVersion {
        /// Of the call.
        xid: u32,
    },
    /// The credential does not decode: to be answered with [`Denial::BadCredential`].
    #[error("the credential of the call does not decode")]
    Credential {
        /// Of the call.
        xid: u32,
    },
}

impl<'a> Call<'a> {
    /// Reads the head of a record.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn parse(record: &'a [u8]) -> Result<Self, CallError> {
        let from = &mut Reader::new(record);
        let xid = u32::get(from)?;
        if u32::get(from)? != CALL {
            return Err(CallError::NotACall);
        }
        if u32::get(from)? != RPC_VERSION {
            return Err(CallError::RpcVersion { xid });
        }
        let (program, version, procedure) = (u32::get(from)?, u32::get(from)?, u32::get(from)?);
        let flavor = u32::get(from)?;
        let body = from.opaque()?;
        let _verifier_flavor = u32::get(from)?;
        let _verifier = from.opaque()?;
        let credential = Credential::parse(flavor, body).map_err(|_| CallError::Credential { xid })?;
        Ok(Self { xid, program, version, procedure, credential, arguments: from.position() })
    }
}

/// A call as a record of one fragment: header, then arguments. `anonymous` calls (a server's callbacks) carry no credential.
#[must_use]
pub fn call_record<'a>(
    xid: u32,
    (program, version, procedure): (u32, u32, u32),
    credential: Option<&Credential<'_>>,
    arguments: &impl Wire<'a>,
) -> Vec<u8> {
    let mut out = Vec::new();
    Calls::new(program, version, credential).append(&mut out, xid, procedure, arguments, 0);
    out
}

/// What all calls of one caller to one program begin with: most of a call's header is the same for all of them.
#[derive(Clone, Debug)]
pub struct Calls {
    /// Mark and header, with zeros for what differs.
    head: Vec<u8>,
}

impl Calls {
    /// Where the xid is in the head.
    const XID: usize = MARK;
    /// Where the procedure is.
    const PROCEDURE: usize = MARK + 5 * 4;

    /// Calls of `version` of `program`. Without a credential they are anonymous, as a server's callbacks are.
    #[must_use]
    pub fn new(program: u32, version: u32, credential: Option<&Credential<'_>>) -> Self {
        let (flavor, body) =
            credential.map_or((AUTH_NULL, Vec::new()), |known| (AUTH_GLUSTERFS_V3, known.to_v3()));
        let mut head = vec![0; MARK + 7 * 4 + body.as_slice().size() + 8];
        let to = &mut Writer::new(&mut head);
        to.raw(&[0; MARK]);
        [0, CALL, RPC_VERSION, program, version, 0, flavor].iter().for_each(|word| word.put(to));
        body.as_slice().put(to);
        [AUTH_NULL, 0].iter().for_each(|word| word.put(to));
        Self { head }
    }

    /// Appends a call to `out`, as a record of one fragment, and room for `payload` bytes that belong to it, which are zero.
    /// The payload is the end of `out` then.
    pub fn append<'a>(
        &self,
        out: &mut Vec<u8>,
        xid: u32,
        procedure: u32,
        arguments: &impl Wire<'a>,
        payload: usize,
    ) {
        let at = out.len();
        let len = self.head.len() - MARK + arguments.size() + payload;
        out.reserve(MARK + len);
        out.extend_from_slice(&self.head);
        for (place, bytes) in [
            (0, Mark::whole(len)),
            (Self::XID, xid.to_be_bytes()),
            (Self::PROCEDURE, procedure.to_be_bytes()),
        ] {
            out[at + place..][..4].copy_from_slice(&bytes);
        }
        out.resize(at + MARK + len, 0);
        arguments.put(&mut Writer::new(&mut out[at + self.head.len()..]));
    }
}

/// How a call went that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Accept {
    /// The body follows.
    Success = 0,
    /// There is no such program.
    ProgramUnavailable = 1,
    /// There is no such version of it. Two words follow, which stock leaves zero.
    ProgramMismatch = 2,
    /// There is no such procedure.
    ProcedureUnavailable = 3,
    /// The arguments do not decode, or the call comes before the handshake.
    GarbageArguments = 4,
    /// The server failed.
    SystemError = 5,
}

/// Why a call was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// Only version 2 of RPC is spoken.
    RpcMismatch,
    /// The credential does not decode.
    BadCredential,
    /// The caller's port is not privileged, and has to be.
    RejectedCredential,
}

/// What stands before the body of a reply.
pub fn put_reply_header(to: &mut Writer<'_>, xid: u32, accept: Accept) {
    [xid, REPLY, 0, AUTH_NULL, 0, accept as u32].iter().for_each(|word| word.put(to));
}

/// A reply without a body, as a record.
#[must_use]
pub fn bare_reply(xid: u32, accept: Accept) -> Vec<u8> {
    let len = REPLY_HEADER + if accept == Accept::ProgramMismatch { 8 } else { 0 };
    let mut out = vec![0; MARK + len];
    let to = &mut Writer::new(&mut out);
    to.raw(&Mark::whole(len));
    put_reply_header(to, xid, accept);
    out
}

/// A refusal, as a record.
#[must_use]
pub fn denial(xid: u32, why: Denial) -> Vec<u8> {
    let words: &[u32] = match why {
        Denial::RpcMismatch => &[0, RPC_VERSION, RPC_VERSION],
        Denial::BadCredential => &[1, 1],
        Denial::RejectedCredential => &[1, 2],
    };
    let len = 12 + 4 * words.len();
    let mut out = vec![0; MARK + len];
    let to = &mut Writer::new(&mut out);
    to.raw(&Mark::whole(len));
    [xid, REPLY, DENIED].iter().chain(words).for_each(|word| word.put(to));
    out
}

/// A reply with a body of XDR alone, as a record.
#[must_use]
pub fn reply_record<'a>(xid: u32, body: &impl Wire<'a>) -> Vec<u8> {
    let len = REPLY_HEADER + body.size();
    let mut out = vec![0; MARK + len];
    let to = &mut Writer::new(&mut out);
    to.raw(&Mark::whole(len));
    put_reply_header(to, xid, Accept::Success);
    body.put(to);
    out
}

/// The head of a reply, as a client reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Of the call.
    pub xid: u32,
    /// The accept status; `None` when the call was denied.
    pub accept: Option<u32>,
    /// Where the body begins in the record.
    pub body: usize,
}

impl Reply {
    /// Reads the head of a record.
    ///
    /// # Errors
    /// When it is no reply.
    pub fn parse(record: &[u8]) -> Result<Self, XdrError> {
        let from = &mut Reader::new(record);
        let xid = u32::get(from)?;
        if u32::get(from)? != REPLY {
            return Err(XdrError::Value);
        }
        match u32::get(from)? {
            0 => {
                let _verifier_flavor = u32::get(from)?;
                let _verifier = from.opaque()?;
                let accept = Some(u32::get(from)?);
                Ok(Self { xid, accept, body: from.position() })
            }
            DENIED => Ok(Self { xid, accept: None, body: from.position() }),
            _ => Err(XdrError::Value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::rpc::record::whole;
    use proptest::prelude::*;

    #[test]
    fn calls_and_replies_are_read_as_they_were_written() {
        let credential = Credential { pid: -6, uid: 7, owner: &[1, 2, 3, 4, 5], ..Credential::default() };
        let record = call_record(9, (1_298_437, 400, 27), Some(&credential), &77_u64);
        let record = whole(&record).unwrap();
        let call = Call::parse(record).unwrap();
        assert_eq!((call.xid, call.program, call.version, call.procedure), (9, 1_298_437, 400, 27));
        assert_eq!(call.credential, credential);
        assert_eq!(record[call.arguments..], 77_u64.to_be_bytes());

        let reply = reply_record(9, &77_u64);
        let reply = whole(&reply).unwrap();
        assert_eq!(Reply::parse(reply), Ok(Reply { xid: 9, accept: Some(0), body: REPLY_HEADER }));
        let mismatch = bare_reply(3, Accept::ProgramMismatch);
        assert_eq!(whole(&mismatch).unwrap().len(), REPLY_HEADER + 8);
        let denied = denial(4, Denial::BadCredential);
        assert_eq!(Reply::parse(whole(&denied).unwrap()).unwrap().accept, None);
    }

    #[test]
    fn calls_follow_each_other_with_room_for_their_payload() {
        let credential = Credential { pid: 3, owner: &[1; 8], ..Credential::default() };
        let calls = Calls::new(5, 6, Some(&credential));
        let mut out = Vec::new();
        calls.append(&mut out, 1, 13, &7_u64, 5);
        let first = out.len();
        out[first - 5..].copy_from_slice(b"hello");
        calls.append(&mut out, 2, 12, &8_u32, 0);
        let record = whole(&out).unwrap();
        assert_eq!(record.len() + MARK, first);
        assert!(record.ends_with(&[&7_u64.to_be_bytes()[..], b"hello"].concat()));
        let call = Call::parse(record).unwrap();
        assert_eq!((call.xid, call.procedure, call.credential), (1, 13, credential));
        assert_eq!(out[first..], call_record(2, (5, 6, 12), Some(&credential), &8_u32));
    }

    #[test]
    fn wrong_versions_and_credentials_keep_their_xid() {
        let mut record = call_record(9, (1, 1, 1), Some(&Credential::default()), &());
        record[MARK + 11] = 3;
        assert_eq!(Call::parse(&record[MARK..]), Err(CallError::RpcVersion { xid: 9 }));
        record[MARK + 11] = 2;
        // The number of groups.
        record[MARK + 32 + 28] = 0xff;
        assert_eq!(Call::parse(&record[MARK..]), Err(CallError::Credential { xid: 9 }));
        record[MARK + 7] = 1;
        assert_eq!(Call::parse(&record[MARK..]), Err(CallError::NotACall));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_refused(bytes: Vec<u8>) {
            let _ = (Call::parse(&bytes), Reply::parse(&bytes));
        }
    }
}
