//! What the wire costs: calls decoded and replies encoded, and the dictionaries in them.
//!
//! Calls are whole records as clients send them, header and credential included; replies are whole as well, without the data
//! of a read, which is never copied.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use kiln_uring::sys::Timespec;
use kiln_xlators::keys;
use kiln_xlators::protocol::rpc::credential::Credential;
use kiln_xlators::protocol::rpc::message::{Call, call_record, reply_record};
use kiln_xlators::protocol::rpc::programs::fops::{self, ChangedRsp, LookupReq, ReadReq, ReadRsp, WriteReq};
use kiln_xlators::protocol::rpc::record;
use kiln_xlators::protocol::xdr::{Reader, Wire, to_vec};
use kiln_xlators::types::{Dict, Gfid, IaType, Iatt, Value, Xdata};

const GFID: Gfid = Gfid::from_bytes([0x5b; 16]);

fn iatt() -> Iatt {
    let time = Timespec { sec: 1_700_000_000, nsec: 123_456_789 };
    Iatt {
        gfid: GFID,
        kind: IaType::Regular,
        prot: 0o644,
        nlink: 1,
        size: 1 << 20,
        blocks: 2048,
        blksize: 4096,
        atime: time,
        mtime: time,
        ctime: time,
        ..Iatt::default()
    }
}

/// What a client with replication asks of a lookup: counts and xattrs, most of them as numbers or zeros to be filled.
fn asked() -> Dict {
    let mut dict: Dict = [c"trusted.afr.vol-client-0", c"trusted.afr.vol-client-1", c"trusted.afr.dirty"]
        .into_iter()
        .map(|key| (key, Value::Bin(vec![0; 12])))
        .collect();
    for key in [c"glusterfs.open-fd-count", c"glusterfs.inodelk-count", c"glusterfs.entrylk-count"] {
        dict.set(key, Value::Uint(0));
    }
    dict.set(c"system.posix_acl_access", Value::Bin(vec![0; 4]));
    dict.set(keys::GFID_REQ, Value::Gfid(GFID));
    dict
}

/// A call's bytes without the mark of the record.
fn call<'a>(procedure: u32, arguments: &impl Wire<'a>) -> Vec<u8> {
    let credential = Credential { pid: 4711, uid: 1000, gid: 1000, owner: &[7; 8], ..Credential::default() };
    let bytes = call_record(9, (fops::PROGRAM, fops::VERSION, procedure), Some(&credential), arguments);
    record::whole(&bytes).expect("one fragment").to_vec()
}

fn arguments<'a, T: Wire<'a>>(record: &'a [u8]) -> T {
    let call = Call::parse(black_box(record)).expect("it is a call");
    T::get(&mut Reader::new(&record[call.arguments..])).expect("its arguments decode")
}

fn codec(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec");
    let read =
        call(12, &ReadReq { gfid: GFID, fd: 3, offset: 8192, size: 4096, flag: 0, xdata: Xdata::NONE });
    group.bench_function("decode a read call", |b| b.iter(|| arguments::<ReadReq>(&read)));
    let write =
        call(13, &WriteReq { gfid: GFID, fd: 3, offset: 8192, size: 4096, flag: 0, xdata: Xdata::NONE });
    group.bench_function("decode a write call", |b| b.iter(|| arguments::<WriteReq>(&write)));
    let named =
        |xdata| LookupReq { gfid: Gfid::NULL, pargfid: Gfid::ROOT, flags: 0, bname: b"a-name.txt", xdata };
    let plain = call(27, &named(Xdata::NONE));
    group.bench_function("decode a lookup call", |b| b.iter(|| arguments::<LookupReq<'_>>(&plain)));
    let asking = call(27, &named(Xdata::new(asked())));
    group.bench_function("decode a lookup call that asks for 8 things", |b| {
        b.iter(|| arguments::<LookupReq<'_>>(&asking));
    });
    let found = ReadRsp { op_ret: 4096, op_errno: 0, stat: iatt(), size: 4096, xdata: Xdata::NONE };
    group.bench_function("encode a read reply", |b| b.iter(|| reply_record(9, black_box(&found))));
    let changed = |xdata| ChangedRsp { op_ret: 0, op_errno: 0, xdata, prestat: iatt(), poststat: iatt() };
    let plain = changed(Xdata::NONE);
    group.bench_function("encode a lookup reply", |b| b.iter(|| reply_record(9, black_box(&plain))));
    let telling = changed(Xdata::new(asked()));
    group.bench_function("encode a lookup reply that tells 8 things", |b| {
        b.iter(|| reply_record(9, black_box(&telling)));
    });
    group.finish();

    let mut group = c.benchmark_group("dictionary");
    let dict = Xdata::new(asked());
    let bytes = to_vec(&dict);
    group.bench_function("encode 8 pairs", |b| b.iter(|| to_vec(black_box(&dict))));
    group.bench_function("decode 8 pairs", |b| {
        b.iter(|| <Xdata as Wire>::get(&mut Reader::new(black_box(&bytes))).expect("it decodes"));
    });
    group.bench_function("find one of 8", |b| {
        b.iter(|| black_box(&dict).get(black_box(keys::GFID_REQ)).is_some());
    });
    group.bench_function("make 8 pairs", |b| b.iter(asked));
    group.finish();
}

criterion_group!(benches, codec);
criterion_main!(benches);
