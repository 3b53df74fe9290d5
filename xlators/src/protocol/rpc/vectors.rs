//! What a stock client and a stock brick said to each other, decoded and written again.

use std::collections::{BTreeMap, HashMap};

use super::credential::{AUTH_GLUSTERFS_V2, AUTH_GLUSTERFS_V3};
use super::message::{Call, Reply};
use super::programs::{PlainRsp, dump, fops, handshake};
use super::record;
use crate::protocol::xdr::{LegacyDict, Reader, Wire, to_vec};

const CALLS: &[u8] = include_bytes!("../vectors/fuse-10.3.calls");
const REPLIES: &[u8] = include_bytes!("../vectors/fuse-10.3.replies");

fn records(mut stream: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while let Some(record) = record::whole(stream) {
        found.push(record);
        stream = &stream[record::MARK + record.len()..];
    }
    assert!(stream.is_empty(), "{} bytes are no record", stream.len());
    found
}

fn again<'a, T: Wire<'a> + std::fmt::Debug>(body: &'a [u8]) -> T {
    let mut from = Reader::new(body);
    let value = T::get(&mut from).unwrap();
    assert_eq!(from.remaining(), 0, "{value:?}");
    assert_eq!(to_vec(&value), body, "{value:?}");
    value
}

#[test]
fn every_call_is_understood_and_written_as_it_came() {
    let mut seen = BTreeMap::new();
    for record in records(CALLS) {
        let call = Call::parse(record).unwrap();
        let body = &record[call.arguments..];
        let flavor = u32::from_be_bytes(record[24..28].try_into().unwrap());
        match (call.program, call.version, call.procedure) {
            (dump::PROGRAM, dump::VERSION, dump::DUMP) => {
                assert_eq!((again::<dump::DumpReq>(body).gfs_id, flavor), (0xcaed, AUTH_GLUSTERFS_V2));
            }
            (dump::PROGRAM, dump::VERSION, dump::PING) => assert!(body.is_empty()),
            (handshake::PROGRAM, handshake::VERSION, handshake::SETVOLUME) => {
                let dict = LegacyDict::parse(again::<handshake::SetvolumeReq>(body).dict).unwrap();
                assert_eq!(dict.text("remote-subvolume"), Some("brick"));
                assert!(dict.text("process-uuid").unwrap().starts_with("CTX_ID:"));
            }
            (fops::PROGRAM, fops::VERSION, number) => {
                assert_eq!(flavor, AUTH_GLUSTERFS_V3);
                let credential = &record[32..];
                let len = u32::from_be_bytes(record[28..32].try_into().unwrap()) as usize;
                assert_eq!(call.credential.to_v3(), credential[..len]);
                let (wire, read) = fops::rewrite_request(number, body).unwrap().unwrap();
                let name = fops::name_of(number).unwrap();
                if number == fops::procedure::SETATTR {
                    // Its attributes say which of them are meant in a field that is left out on reading.
                    assert_eq!(wire.len(), read);
                } else {
                    assert_eq!(wire, body[..read], "{name}");
                }
                let payload = if number == fops::procedure::WRITE {
                    fops::WriteReq::get(&mut Reader::new(body)).unwrap().size as usize
                } else {
                    0
                };
                assert_eq!(body.len() - read, payload, "{name}");
                *seen.entry(name).or_insert(0) += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(seen.len() >= 30, "{seen:?}");
}

#[test]
fn every_reply_is_understood_and_written_as_it_came() {
    let calls: HashMap<u32, Call<'_>> = records(CALLS)
        .into_iter()
        .map(|record| Call::parse(record).unwrap())
        .map(|call| (call.xid, call))
        .collect();
    let replies = records(REPLIES);
    assert_eq!(replies.len(), calls.len());
    for record in replies {
        let reply = Reply::parse(record).unwrap();
        assert_eq!(reply.accept, Some(0));
        let body = &record[reply.body..];
        let call = &calls[&reply.xid];
        match (call.program, call.procedure) {
            (dump::PROGRAM, dump::DUMP) => {
                let programs = again::<dump::DumpRsp>(body).programs;
                let last = programs.last().map(|program| (program.number, program.version));
                assert_eq!(last, Some((u64::from(handshake::PROGRAM), 2)));
            }
            (dump::PROGRAM, _) => assert_eq!(again::<PlainRsp>(body).op_ret, 0),
            (handshake::PROGRAM, _) => {
                let answer = again::<handshake::SetvolumeRsp>(body);
                let dict = LegacyDict::parse(answer.dict).unwrap();
                assert_eq!(
                    (answer.op_ret, dict.text("ERROR"), dict.text("child_up")),
                    (0, Some("Success"), Some("1"))
                );
            }
            (_, number) => {
                let name = fops::name_of(number).unwrap();
                let (wire, read) = fops::rewrite_reply(number, body).unwrap().unwrap();
                assert_eq!(wire, body[..read], "{name}");
                let payload = if number == fops::procedure::READ {
                    fops::ReadRsp::get(&mut Reader::new(body)).unwrap().op_ret.max(0) as usize
                } else {
                    0
                };
                assert_eq!(body.len() - read, payload, "{name}");
            }
        }
    }
}
