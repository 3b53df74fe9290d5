//! A server on the simulated network, over the leaf of tests: every seed is another order of events.

use std::rc::Rc;
use std::time::Duration;

use kiln_uring::net::{Address, ConnectOptions, Stream};
use kiln_uring::sim::{NetConditions, Sim};
use kiln_uring::{Buf, Core, Errno};

use super::door::{Door, install, installed, uninstall};
use super::gate::Cost;
use super::{listen, open_all};
use crate::fop::Fop;
use crate::protocol::rpc::credential::Credential;
use crate::protocol::rpc::message::{Call, Reply, call_record};
use crate::protocol::rpc::programs::fops::{self, procedure};
use crate::protocol::rpc::programs::{callback, dump, handshake};
use crate::protocol::rpc::record::{Assembler, MARK, Mark};
use crate::protocol::xdr::{LegacyDict, Reader, Wire};
use crate::testing::Rig;
use crate::types::{Flock, Gfid, IaType, LockOwner, Xdata};
use crate::upcall::{Upcall, UpcallEvent};

pub(super) const FILE: Gfid = Gfid::from_bytes([7; 16]);

pub(super) fn at() -> Address {
    Address::Ip("10.0.0.1:24007".parse().unwrap())
}

/// A server with a file behind it.
pub(super) async fn server(core: &Core, options: &[(&str, &str)]) -> (Rig, Rc<Door>) {
    let mut all = vec![("auth.addr.leaf.allow", "*")];
    all.extend(options);
    let rig = Rig::new(core, &[("protocol/server", &all)]);
    rig.brick.put(FILE, IaType::Regular, 0o644, 0, 0);
    install(&rig.graph);
    let door = installed().unwrap();
    for (listener, address) in open_all(&door, vec![at()]).await.unwrap() {
        core.spawn(listen::accept(Rc::clone(&door), listener, address));
    }
    (rig, door)
}

/// A client by hand.
struct Client {
    stream: Stream,
    assembler: Assembler,
    unread: Vec<u8>,
}

impl Client {
    async fn new(core: &Core) -> Self {
        let stream = core.connect(&at(), &ConnectOptions::default()).await.unwrap();
        Self { stream, assembler: Assembler::new(1 << 20), unread: Vec::new() }
    }

    async fn bound(core: &Core) -> Self {
        Self::bound_with(core, &[]).await
    }

    /// With these keys besides in its handshake.
    async fn bound_with(core: &Core, keys: &[(&str, &str)]) -> Self {
        let mut client = Self::new(core).await;
        let mut dict = LegacyDict::new();
        keys.iter().for_each(|(key, value)| dict.set_text(key, value));
        dict.set_text("process-uuid", "a-test");
        dict.set_text("remote-subvolume", "leaf");
        let bytes = dict.to_bytes();
        let what = (handshake::PROGRAM, handshake::VERSION, handshake::SETVOLUME);
        client.send(&call_record(1, what, None, &handshake::SetvolumeReq { dict: &bytes })).await;
        let answer = client.receive().await.unwrap();
        let reply = Reply::parse(&answer).unwrap();
        let body = handshake::SetvolumeRsp::get(&mut Reader::new(&answer[reply.body..])).unwrap();
        assert_eq!(body.op_ret, 0);
        client
    }

    async fn send(&mut self, bytes: &[u8]) {
        let (sent, _) = self.stream.send(vec![Buf::from_slice(bytes).into()]).await;
        assert_eq!(sent, Ok(bytes.len()));
    }

    async fn fop<'a>(&mut self, xid: u32, procedure: u32, arguments: &impl Wire<'a>) {
        self.send(&fop_record(xid, procedure, arguments, b"")).await;
    }

    /// The next record; `None` at the end.
    async fn receive(&mut self) -> Option<Vec<u8>> {
        loop {
            let mut rest = &self.unread[..];
            let complete = self.assembler.feed(&mut rest).unwrap();
            self.unread = rest.to_vec();
            if complete {
                return Some(self.assembler.finish());
            }
            let buf = self.stream.recv().await.ok().filter(|buf| !buf.is_empty())?;
            self.unread.extend_from_slice(&buf);
        }
    }

    /// The procedure of the callback that comes next.
    async fn told(&mut self) -> u32 {
        let record = self.receive().await.unwrap();
        let call = Call::parse(&record).unwrap();
        assert_eq!(call.program, callback::PROGRAM);
        call.procedure
    }

    async fn outcome(&mut self) -> (u32, i32, i32) {
        let record = self.receive().await.unwrap();
        let reply = Reply::parse(&record).unwrap();
        assert_eq!(reply.accept, Some(0));
        let mut from = Reader::new(&record[reply.body..]);
        (reply.xid, i32::get(&mut from).unwrap(), i32::get(&mut from).unwrap())
    }
}

pub(super) fn fop_record<'a>(xid: u32, procedure: u32, arguments: &impl Wire<'a>, payload: &[u8]) -> Vec<u8> {
    let credential = Credential { pid: 9, uid: 5, gid: 6, owner: &[1; 8], ..Credential::default() };
    let mut record =
        call_record(xid, (fops::PROGRAM, fops::VERSION, procedure), Some(&credential), arguments);
    record.extend(payload);
    let mark = Mark::whole(record.len() - MARK);
    record[..MARK].copy_from_slice(&mark);
    record
}

pub(super) fn stat() -> fops::StatReq {
    fops::StatReq { gfid: FILE, xdata: Xdata::NONE }
}

pub(super) async fn until(core: &Core, mut ready: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if ready() {
            return;
        }
        core.sleep(Duration::from_millis(10)).await;
    }
    panic!("waited in vain");
}

#[test]
fn every_request_is_answered_once_in_any_order_of_events() {
    for seed in 0..40 {
        let sim = Sim::new(seed);
        if seed % 2 == 1 {
            // Everything arrives in small pieces.
            sim.kernel()
                .set_network(NetConditions { parcel: 100 + seed as usize * 37, ..NetConditions::default() });
        }
        sim.run(async |core| {
            let (rig, door) = server(&core, &[]).await;
            let mut client = Client::bound(&core).await;
            let mut burst = Vec::new();
            for xid in 100..160_u32 {
                let size = 200 * xid;
                let write =
                    fops::WriteReq { gfid: FILE, fd: -2, offset: 0, size, flag: 2, xdata: Xdata::NONE };
                let read = fops::ReadReq { gfid: FILE, fd: -2, offset: 0, size, flag: 0, xdata: Xdata::NONE };
                burst.extend(match xid % 3 {
                    0 => fop_record(xid, procedure::WRITE, &write, &vec![1; size as usize]),
                    1 => fop_record(xid, procedure::READ, &read, b""),
                    _ => fop_record(xid, procedure::STAT, &stat(), b""),
                });
            }
            client.send(&burst).await;
            let mut seen = Vec::new();
            for _ in 100..160 {
                let (xid, op_ret, _) = client.outcome().await;
                assert_eq!(op_ret, if xid % 3 == 2 { 0 } else { 200 * xid.cast_signed() }, "{xid}");
                seen.push(xid);
            }
            seen.sort_unstable();
            assert_eq!(seen, (100..160).collect::<Vec<_>>());
            let caller = &rig.brick.seen()[0].caller;
            assert_eq!(
                (caller.pid, caller.uid, caller.gid, caller.lock_owner.as_bytes()),
                (9, 5, 6, &[1; 8][..])
            );
            until(&core, || door.gate.in_use() == Cost::default()).await;
            uninstall();
            assert!(client.receive().await.is_none(), "the connection is closed when the server stops");
        });
    }
}

#[test]
fn descriptors_are_numbered_and_go_with_their_client() {
    for seed in 0..10 {
        Sim::new(seed).run(async |core| {
            let (_rig, door) = server(&core, &[("client-fd-limit", "2")]).await;
            let mut client = Client::bound(&core).await;
            let open = fops::OpenReq { gfid: FILE, flags: 2, xdata: Xdata::NONE };
            for (xid, expected) in [(1, (0, 0)), (2, (0, 0)), (3, (-1, Errno::MFILE.raw_os_error()))] {
                client.fop(xid, procedure::OPEN, &open).await;
                let (_, op_ret, op_errno) = client.outcome().await;
                assert_eq!((op_ret, op_errno), expected);
            }
            let release = |fd| fops::ReleaseReq { gfid: FILE, fd, xdata: Xdata::NONE };
            for fd in [0, 77, -1] {
                client.fop(4, procedure::RELEASE, &release(fd)).await;
                assert_eq!(client.outcome().await, (4, 0, 0), "an unknown descriptor is as good as closed");
            }
            let fstat = fops::FstatReq { gfid: FILE, fd: 0, xdata: Xdata::NONE };
            client.fop(5, procedure::FSTAT, &fstat).await;
            assert_eq!(client.outcome().await, (5, -1, Errno::BADF.raw_os_error()));
            drop(client);
            until(&core, || door.shared.connections() == 0).await;
            uninstall();
        });
    }
}

#[test]
fn a_client_that_goes_takes_its_waiting_locks_along_and_nothing_else() {
    for seed in 0..10 {
        Sim::new(seed).run(async |core| {
            let (rig, door) = server(&core, &[]).await;
            // A lock that waits for an hour, and a sync that takes a second.
            rig.brick.delay(Fop::Inodelk, Duration::from_secs(3600));
            rig.brick.delay(Fop::Fsync, Duration::from_secs(1));
            let mut client = Client::bound(&core).await;
            let lock = fops::InodelkReq {
                gfid: FILE,
                cmd: 2,
                kind: 1,
                flock: Flock { owner: LockOwner::new(&[1; 8]), ..Flock::default() },
                volume: b"domain",
                xdata: Xdata::NONE,
            };
            for xid in 0..200 {
                client.fop(xid, procedure::INODELK, &lock).await;
            }
            let sync = fops::FsyncReq { gfid: FILE, fd: -2, data: 0, xdata: Xdata::NONE };
            client.fop(500, procedure::FSYNC, &sync).await;
            // Waiting locks keep nobody out, although there are more of them than requests are served at a time.
            client.fop(501, procedure::STAT, &stat()).await;
            assert_eq!(client.outcome().await, (501, 0, 0));
            let left = core.now();
            drop(client);
            until(&core, || door.shared.connections() == 0).await;
            assert!(core.now() - left < Duration::from_secs(10));
            assert!(rig.graph.calls().is_empty());
            assert_eq!(door.gate.in_use(), Cost::default());
            uninstall();
        });
    }
}

#[test]
fn who_does_not_read_is_not_read_from() {
    Sim::new(5).run(async |core| {
        let (rig, door) = server(&core, &[("rpc.outstanding-rpc-limit", "8")]).await;
        rig.brick.delay(Fop::Stat, Duration::from_secs(1));
        let mut client = Client::bound(&core).await;
        let burst: Vec<u8> = (0..50).flat_map(|xid| fop_record(xid, procedure::STAT, &stat(), b"")).collect();
        client.send(&burst).await;
        core.sleep(Duration::from_millis(500)).await;
        assert_eq!(door.gate.in_use().requests, 8);
        for _ in 0..50 {
            assert_eq!(client.outcome().await.1, 0);
        }
        uninstall();
    });
}

#[test]
fn layers_reach_their_clients() {
    Sim::new(9).run(async |core| {
        let (rig, door) = server(&core, &[]).await;
        let mut client = Client::bound(&core).await;
        client.fop(1, procedure::STAT, &stat()).await;
        assert_eq!(client.outcome().await, (1, 0, 0));
        let number = rig.brick.seen().last().unwrap().caller.client;
        let flock = Flock { start: 5, len: 6, pid: 7, ..Flock::default() };
        let contention = UpcallEvent::InodelkContention { domain: "domain".into(), flock: flock.clone() };
        assert!(door.connection(number).is_some());
        super::upcalls::deliver(&door, &Upcall { client: number, gfid: FILE, event: contention.clone() });
        // To somebody who is not there.
        super::upcalls::deliver(&door, &Upcall { client: number + 1024, gfid: FILE, event: contention });
        let record = client.receive().await.unwrap();
        let call = Call::parse(&record).unwrap();
        assert_eq!(
            (call.xid, call.program, call.procedure),
            (1, callback::PROGRAM, callback::INODELK_CONTENTION)
        );
        let told = callback::InodelkContention::get(&mut Reader::new(&record[call.arguments..])).unwrap();
        assert_eq!((told.gfid, told.flock, told.pid, told.domain), (FILE, flock, 7, &b"domain"[..]));
        uninstall();
    });
}

/// The server, and a client, with so many places in all.
async fn crowded(core: &Core, places: &str) -> (Rig, Rc<Door>, Client) {
    let (rig, door) = server(core, &[("transport.connection-limit", places)]).await;
    let client = Client::bound(core).await;
    (rig, door, client)
}

#[test]
fn strangers_make_room_for_newcomers_and_clients_do_not() {
    for seed in 0..10 {
        Sim::new(seed).run(async |core| {
            let (rig, door, mut old) = crowded(&core, "8").await;
            let mut crowd = Vec::new();
            for index in 0..100 {
                let mut stranger = Client::new(&core).await;
                if index % 3 == 0 {
                    // Half a record; others say nothing.
                    stranger.send(&[0x80, 0, 1, 0, 0, 0]).await;
                }
                crowd.push(stranger);
            }
            until(&core, || door.shared.connections() == 8).await;
            // In a crowd of others, who come all the time, newcomers get in.
            let mut clients = Vec::new();
            for _ in 0..7 {
                clients.push(Client::bound(&core).await);
                crowd.push(Client::new(&core).await);
            }
            until(&core, || door.shared.connections() == 8).await;
            assert!(door.shared.strangers().is_empty());
            // Now all places are clients', who keep them; strangers find the door closed.
            let mut late = Client::new(&core).await;
            assert!(late.receive().await.is_none());
            for client in clients.iter_mut().chain([&mut old]) {
                client.fop(7, procedure::STAT, &stat()).await;
                assert_eq!(client.outcome().await, (7, 0, 0));
            }
            for mut stranger in crowd {
                assert!(stranger.receive().await.is_none());
            }
            drop((clients, old));
            until(&core, || door.shared.connections() == 0).await;
            assert_eq!((door.gate.in_use(), rig.graph.calls().len()), (Cost::default(), 0));
            uninstall();
        });
    }
}

#[test]
fn a_stranger_that_takes_no_replies_gives_its_place_up_at_once() {
    Sim::new(3).run(async |core| {
        let (_rig, door, _old) = crowded(&core, "2").await;
        let mut deaf = Client::new(&core).await;
        let what = (dump::PROGRAM, dump::VERSION, dump::DUMP);
        let burst: Vec<u8> = (0..20_000).flat_map(|xid| call_record(xid, what, None, &0xcaed_u64)).collect();
        // It is not read from any more at some point; what is sent then stays underway.
        let _ = core
            .timeout(Duration::from_secs(1), deaf.stream.send(vec![Buf::from_slice(&burst).into()]))
            .await;
        let asked = core.now();
        let mut new = Client::bound(&core).await;
        assert!(core.now() - asked < Duration::from_secs(1));
        new.fop(7, procedure::STAT, &stat()).await;
        assert_eq!(new.outcome().await, (7, 0, 0));
        until(&core, || door.shared.connections() == 2).await;
        uninstall();
    });
}

#[test]
fn those_who_hold_much_leave_room_for_those_who_hold_little() {
    Sim::new(4).run(async |core| {
        let (_rig, door) = server(&core, &[("transport.memory-limit", "64MB")]).await;
        // Writes of 20 MB whose bytes do not come: three of them would be nearly all there is.
        let write =
            fops::WriteReq { gfid: FILE, fd: -2, offset: 0, size: 20 << 20, flag: 0, xdata: Xdata::NONE };
        let mut hogs = Vec::new();
        for _ in 0..6 {
            let mut hog = Client::bound(&core).await;
            let mut record = fop_record(1, procedure::WRITE, &write, b"");
            let mark = Mark::whole(record.len() - MARK + (20 << 20));
            record[..MARK].copy_from_slice(&mark);
            hog.send(&record).await;
            hogs.push(hog);
        }
        core.sleep(Duration::from_secs(1)).await;
        let held = door.gate.in_use().bytes;
        assert!(held > 40 << 20 && held <= 48 << 20, "{held}");
        let asked = core.now();
        let mut client = Client::bound(&core).await;
        for xid in 0..100 {
            client.fop(xid, procedure::STAT, &stat()).await;
            assert_eq!(client.outcome().await, (xid, 0, 0));
        }
        assert!(core.now() - asked < Duration::from_secs(1));
        uninstall();
    });
}

#[test]
fn clients_hear_that_the_server_goes_and_are_served_until_they_are_silent() {
    for seed in 0..10 {
        Sim::new(seed).run(async |core| {
            let (rig, door) = server(&core, &[]).await;
            rig.brick.delay(Fop::Stat, Duration::from_millis(300));
            let (mut client, mut silent) = (Client::bound(&core).await, Client::bound(&core).await);
            let began = core.now();
            door.stop(Duration::from_secs(15));
            for client in [&mut client, &mut silent] {
                assert_eq!(client.told().await, callback::CHILD_DOWN);
            }
            for xid in 0..3 {
                client.fop(xid, procedure::STAT, &stat()).await;
                assert_eq!(client.outcome().await, (xid, 0, 0), "it was on its way");
            }
            assert!(silent.receive().await.is_none());
            assert!(client.receive().await.is_none());
            assert!(core.now() - began < Duration::from_secs(2));
            uninstall();
        });
    }
}

#[test]
fn a_client_that_goes_on_asking_does_not_keep_the_server() {
    Sim::new(3).run(async |core| {
        let (_rig, door) = server(&core, &[]).await;
        let mut client = Client::bound(&core).await;
        door.stop(Duration::from_secs(15));
        assert_eq!(client.told().await, callback::CHILD_DOWN);
        let began = core.now();
        while door.shared.connections() > 0 && core.now() - began < Duration::from_secs(60) {
            let record = fop_record(1, procedure::STAT, &stat(), b"");
            let _ = client.stream.send(vec![Buf::from_slice(&record).into()]).await;
            core.sleep(Duration::from_millis(20)).await;
        }
        assert!((2..5).contains(&(core.now() - began).as_secs()));
        uninstall();
    });
}

#[test]
fn a_client_that_can_wait_hears_again_that_its_brick_is_there() {
    Sim::new(4).run(async |core| {
        let (rig, _door) = server(&core, &[]).await;
        rig.brick.delay(Fop::Open, Duration::from_secs(10));
        let mut plain = Client::bound(&core).await;
        let mut waits = Client::bound_with(&core, &[(super::volfile::PAUSE, "on")]).await;
        let began = core.now();
        // Not while it opens its files again.
        waits.fop(1, procedure::OPEN, &fops::OpenReq { gfid: FILE, flags: 2, xdata: Xdata::NONE }).await;
        assert_eq!(waits.outcome().await, (1, 0, 0));
        assert_eq!(waits.told().await, callback::CHILD_UP);
        assert!((10..11).contains(&(core.now() - began).as_secs()));
        plain.fop(2, procedure::STAT, &stat()).await;
        assert_eq!(plain.outcome().await, (2, 0, 0), "others hear nothing");
        uninstall();
    });
}
