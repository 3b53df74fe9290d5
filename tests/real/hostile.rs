//! Peers that do not behave, and that those who do feel nothing of them.

use std::fs;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use kiln_xlators::protocol::rpc::message::{Accept, call_record};
use kiln_xlators::protocol::rpc::programs::{dump, fops, handshake};
use kiln_xlators::protocol::rpc::record::{MARK, Mark};
use kiln_xlators::types::{Gfid, Xdata};

use crate::support::peer::Answer;
use crate::support::{KilnServer, Peer, Scratch, StockClient, wait_for};

const GARBAGE: u32 = Accept::GarbageArguments as u32;

fn statfs() -> fops::StatfsReq {
    fops::StatfsReq { gfid: Gfid::ROOT, xdata: Xdata::NONE }
}

/// A little generator; the same numbers each time.
fn noise(seed: u64) -> impl FnMut() -> u8 {
    let mut state = seed | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    }
}

#[test]
fn wrong_calls_get_the_error_that_fits() {
    let scratch = Scratch::new();
    let server = KilnServer::new(&scratch, &scratch.brick());
    let brick = scratch.brick().display().to_string();
    let fop = |procedure| (fops::PROGRAM, fops::VERSION, procedure);

    // Before the handshake nothing but the handshake works.
    let mut peer = Peer::new(server.port);
    assert_eq!(peer.fop(fops::procedure::STATFS, &statfs()), Answer::Accepted(GARBAGE, vec![]));
    let release = fops::ReleaseReq { gfid: Gfid::ROOT, fd: 0, xdata: Xdata::NONE };
    assert_eq!(peer.fop(fops::procedure::RELEASE, &release), Answer::Accepted(5, vec![]));
    assert_eq!(peer.call((dump::PROGRAM, 1, dump::PING), &()).outcome(), (0, 0));
    assert_eq!(peer.set_volume(&[("remote-subvolume", "/nowhere")]).outcome(), (-1, 2));
    assert_eq!(peer.set_volume(&[]).outcome(), (-1, 22));
    assert_eq!(peer.set_volume(&[("remote-subvolume", &brick), ("fops-version", "7")]).outcome(), (-1, 22));
    assert_eq!(peer.set_volume(&[("remote-subvolume", &brick), ("volume-id", "7")]).outcome(), (-1, 22));
    // A refusal leaves the connection open, and the next try may succeed. So may a second one.
    assert_eq!(peer.set_volume(&[("remote-subvolume", &brick)]).outcome().0, 0);
    assert_eq!(peer.set_volume(&[("remote-subvolume", &brick)]).outcome().0, 0);
    assert_eq!(peer.fop(fops::procedure::STATFS, &statfs()).outcome().0, 0);

    // Programs, versions and procedures that are not there.
    for (what, status) in [
        ((4711, 1, 1), 1),
        ((fops::PROGRAM, 330, 1), 2),
        ((handshake::PROGRAM, 1, 1), 2),
        (fop(57), 3),
        (fop(4_000_000_000), 3),
        ((dump::PROGRAM, 1, 0), 3),
        (fop(49), 4),
        (fop(fops::procedure::STATFS), 4),
    ] {
        match peer.call(what, &()) {
            Answer::Accepted(found, _) => assert_eq!(found, status, "{what:?}"),
            other => panic!("{what:?}: {other:?}"),
        }
    }
    let mut old = peer.record(fop(1), &());
    old[MARK + 11] = 3;
    peer.send(&old);
    assert_eq!(peer.receive(), Answer::Denied, "RPC of version 3");

    // Names that lead elsewhere, and descriptors that are not open or another client's.
    let create = |name: &'static [u8]| fops::CreateReq {
        pargfid: Gfid::ROOT,
        flags: 0o102,
        mode: 0o600,
        umask: 0,
        bname: name,
        xdata: Xdata::NONE,
    };
    for (name, errno) in [(&b"../escape"[..], 1), (b"a/b", 1), (b"..", 21), (b"", 22), (&[b'n'; 256], 36)] {
        assert_eq!(peer.fop(fops::procedure::CREATE, &create(name)).outcome(), (-1, errno), "{name:?}");
    }
    let gfid_req = kiln_xlators::types::Dict::from_iter([(
        kiln_xlators::keys::GFID_REQ,
        kiln_xlators::types::Value::Gfid(Gfid::from_bytes([9; 16])),
    )]);
    let file = fops::CreateReq { xdata: Xdata::new(gfid_req), ..create(b"file") };
    let answer = peer.fop(fops::procedure::CREATE, &file);
    let created: fops::CreateRsp = answer.body();
    assert_eq!((created.op_ret, created.fd), (0, 0));
    let read = |fd: i64| fops::ReadReq {
        gfid: created.stat.gfid,
        fd,
        offset: 0,
        size: 10,
        flag: 0,
        xdata: Xdata::NONE,
    };
    let mut other = Peer::bound(server.port, &brick);
    for fd in [0, 1, -1, -3, i64::MAX, i64::MIN] {
        let answer = other.fop(fops::procedure::READ, &read(fd));
        assert_eq!(answer.outcome(), (-1, 9), "{fd}");
        assert!(matches!(answer, Answer::Accepted(0, body) if body.len() == fops::READ_RSP));
    }
    assert_eq!(other.fop(fops::procedure::READ, &read(fops::ANONYMOUS_FD)).outcome(), (0, 2));
    assert_eq!(peer.fop(fops::procedure::READ, &read(0)).outcome(), (0, 2));
    // A write whose size and bytes disagree.
    let write =
        fops::WriteReq { gfid: created.stat.gfid, fd: 0, offset: 0, size: 100, flag: 0, xdata: Xdata::NONE };
    assert_eq!(peer.fop(fops::procedure::WRITE, &write), Answer::Accepted(GARBAGE, vec![]));
    assert_eq!(fs::read(scratch.brick().join("file")).unwrap(), b"");
    assert!(!scratch.path().join("escape").exists());
    drop((peer, other));
    server.stop();
}

#[test]
fn records_may_be_cut_anywhere() {
    let scratch = Scratch::new();
    let server = KilnServer::new(&scratch, &scratch.brick());
    let brick = scratch.brick().display().to_string();
    fs::write(scratch.brick().join("file"), "").unwrap();
    let mut peer = Peer::bound(server.port, &brick);
    let gfid_req = kiln_xlators::types::Dict::from_iter([(
        kiln_xlators::keys::GFID_REQ,
        kiln_xlators::types::Value::Gfid(Gfid::from_bytes([9; 16])),
    )]);
    let lookup = fops::LookupReq {
        gfid: Gfid::NULL,
        pargfid: Gfid::ROOT,
        flags: 0,
        bname: b"file",
        xdata: Xdata::new(gfid_req),
    };
    let found: fops::ChangedRsp = peer.fop(fops::procedure::LOOKUP, &lookup).body();
    let gfid = found.prestat.gfid;
    for (round, payload) in
        [1_usize, 100, 4096, 8191, 8192, 20_000, 300_000, 3_000_001].into_iter().enumerate()
    {
        let arguments =
            fops::WriteReq { gfid, fd: -2, offset: 0, size: payload as u32, flag: 2, xdata: Xdata::NONE };
        let mut noise = noise(payload as u64);
        let data: Vec<u8> = (0..payload).map(|_| noise()).collect();
        let mut record = peer.record((fops::PROGRAM, fops::VERSION, fops::procedure::WRITE), &arguments);
        record.extend(&data);
        let mark = Mark::whole(record.len() - MARK);
        record[..MARK].copy_from_slice(&mark);
        // In pieces of the stream …
        let pieces = [1, 3, 60, 200, 5000, 100_000];
        let mut rest = &record[..];
        let mut at = round;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(pieces[at % pieces.len()].min(rest.len()));
            peer.send(piece);
            if rest.len() > record.len() / 2 && piece.len() < 300 {
                std::thread::sleep(Duration::from_millis(2));
            }
            rest = after;
            at += 1;
        }
        assert_eq!(peer.receive().outcome().0, payload as i32, "{payload} in pieces");
        assert!(fs::read(scratch.brick().join("file")).unwrap()[..payload] == data, "{payload} in pieces");
        // … and in fragments of the record.
        let mut fragments = Vec::new();
        let body = &record[MARK..];
        let size = body.len().div_ceil(7);
        for (index, fragment) in body.chunks(size).enumerate() {
            let last = if (index + 1) * size >= body.len() { 1 << 31 } else { 0 };
            fragments.extend((fragment.len() as u32 | last).to_be_bytes());
            fragments.extend(fragment);
        }
        peer.send(&fragments);
        assert_eq!(peer.receive().outcome().0, payload as i32, "{payload} in fragments");
        let read =
            fops::ReadReq { gfid, fd: -2, offset: 0, size: payload as u32, flag: 0, xdata: Xdata::NONE };
        let Answer::Accepted(0, body) = peer.fop(fops::procedure::READ, &read) else { panic!("{payload}") };
        assert!(body[fops::READ_RSP..] == data, "{payload} read back");
    }
    drop(peer);
    server.stop();
}

#[test]
fn noise_closes_its_connection_and_no_other() {
    let scratch = Scratch::new();
    let server = KilnServer::new(&scratch, &scratch.brick());
    let brick = scratch.brick().display().to_string();
    let mut good = Peer::bound(server.port, &brick);
    for seed in 0..300 {
        let mut peer = if seed % 3 == 0 { Peer::bound(server.port, &brick) } else { Peer::new(server.port) };
        let mut noise = noise(seed * 77 + 1);
        let mut bytes: Vec<u8> = (0..usize::from(noise()) * 5).map(|_| noise()).collect();
        match seed % 5 {
            // A record of the right length whose call is fine and whose arguments are noise.
            0 => {
                let procedure = u32::from(noise()) % fops::PROCEDURES;
                let mut record = peer.record((fops::PROGRAM, fops::VERSION, procedure), &());
                record.extend(&bytes);
                let mark = Mark::whole(record.len() - MARK);
                record[..MARK].copy_from_slice(&mark);
                bytes = record;
            }
            1 => {
                let mark = Mark::whole(bytes.len());
                bytes.splice(..0, mark);
            }
            // A length that lies.
            2 => bytes.splice(..0, [0xff, 0xff, 0xff, 0xf0]).for_each(drop),
            3 => {
                let what = (fops::PROGRAM, fops::VERSION, fops::procedure::WRITE);
                let arguments = fops::WriteReq {
                    gfid: Gfid::ROOT,
                    fd: -2,
                    offset: u64::MAX,
                    size: u32::MAX,
                    flag: u32::MAX,
                    xdata: Xdata::NONE,
                };
                let mut record = call_record(1, what, None, &arguments);
                record[..MARK].copy_from_slice(&[0x8f, 0xff, 0xff, 0xff]);
                bytes = record;
            }
            _ => {}
        }
        peer.send(&bytes);
        drop(peer);
        if seed % 20 == 0 {
            assert_eq!(good.fop(fops::procedure::STATFS, &statfs()).outcome().0, 0, "after {seed}");
        }
    }
    assert_eq!(good.fop(fops::procedure::STATFS, &statfs()).outcome().0, 0);
    let log = server.log();
    assert!(!log.contains("panicked"), "{log}");
    assert!(log.lines().count() < 2000, "one line each at most");
    wait_for("the connections to go", Duration::from_secs(10), || {
        server.dump().contains("\"connections\": 1\n")
    });
    assert!(fs::read_dir(scratch.brick()).unwrap().count() <= 1, "noise has made something");
    drop(good);
    server.stop();
}

#[test]
fn who_does_not_read_does_not_grow_memory() {
    let scratch = Scratch::new();
    let server = KilnServer::new(&scratch, &scratch.brick());
    let brick = scratch.brick().display().to_string();
    let client = StockClient::of_volume(&scratch, server.port, "mnt-a");
    fs::write(client.mnt().join("big"), vec![5; 4 << 20]).unwrap();
    let mut finder = Peer::bound(server.port, &brick);
    let lookup = fops::LookupReq {
        gfid: Gfid::NULL,
        pargfid: Gfid::ROOT,
        flags: 0,
        bname: b"big",
        xdata: Xdata::NONE,
    };
    let found: fops::ChangedRsp = finder.fop(fops::procedure::LOOKUP, &lookup).body();
    let before = server.resident();
    let mut greedy: Vec<Peer> = (0..8).map(|_| Peer::bound(server.port, &brick)).collect();
    let read = fops::ReadReq {
        gfid: found.prestat.gfid,
        fd: -2,
        offset: 0,
        size: 4 << 20,
        flag: 0,
        xdata: Xdata::NONE,
    };
    for peer in &mut greedy {
        peer.stream.set_nonblocking(true).unwrap();
        let record = peer.record((fops::PROGRAM, fops::VERSION, fops::procedure::READ), &read);
        // Two thousand of them would be 8 GiB of replies.
        for _ in 0..2000 {
            if std::io::Write::write(&mut peer.stream, &record).is_err() {
                break;
            }
        }
    }
    std::thread::sleep(Duration::from_secs(1));
    // Others are served meanwhile.
    let began = Instant::now();
    for index in 0..50 {
        fs::write(client.mnt().join(format!("file-{index}")), "x").unwrap();
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let grown = server.resident().saturating_sub(before);
    // 64 MB each is what they may have; 8 of them, and some for everybody else.
    assert!(grown < 700 << 10, "{grown} KiB");
    drop((greedy, client, finder));
    server.stop();
}

#[test]
fn idle_connections_cost_little() {
    let scratch = Scratch::new();
    let server = KilnServer::new(&scratch, &scratch.brick());
    let brick = scratch.brick().display().to_string();
    let before = server.resident();
    let count = 1000;
    let idle: Vec<TcpStream> =
        (0..count).map(|_| TcpStream::connect(("127.0.0.1", server.port)).unwrap()).collect();
    wait_for("all to be accepted", Duration::from_secs(20), || {
        server.dump().contains(&format!("\"connections\": {count}\n"))
    });
    let each = server.resident().saturating_sub(before) * 1024 / count;
    assert!(each < 64 << 10, "{each} bytes each");
    let mut good = Peer::bound(server.port, &brick);
    assert_eq!(good.fop(fops::procedure::STATFS, &statfs()).outcome().0, 0);
    // Those who say nothing are closed after half a minute.
    std::thread::sleep(Duration::from_secs(31));
    wait_for("the silent ones to be closed", Duration::from_secs(15), || {
        server.dump().contains("\"connections\": 1\n")
    });
    assert_eq!(good.fop(fops::procedure::STATFS, &statfs()).outcome().0, 0);
    drop((idle, good));
    server.stop();
}
