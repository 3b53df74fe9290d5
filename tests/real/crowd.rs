//! Many peers that do not behave, all at once, beside one that does.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use kiln_xlators::protocol::rpc::message::call_record;
use kiln_xlators::protocol::rpc::programs::fops;
use kiln_xlators::protocol::rpc::record::{MARK, Mark};
use kiln_xlators::types::{Gfid, Xdata};

use crate::support::{KilnServer, Peer, Scratch, StockClient, free_port, run, wait_for};

/// What the server may grow by, whatever the crowd does, in KiB: the limit of all clients' memory, a quarter of that for
/// what the allocator keeps between blocks, and 8 KiB for each connection.
const BOUND: u64 = (1 << 20) * 5 / 4 + 8 * 20_000;
/// Peers that ask for more than they read.
const GREEDY: usize = 8;
/// Peers that begin something large and do not go on: as strangers, and as clients.
const STALLED: usize = 300;

/// As many as the server has descriptors, and as the ports of one client's address allow.
fn idle() -> usize {
    run(Command::new("sh").args(["-c", "ulimit -Hn"])).trim().parse().unwrap_or(usize::MAX).min(25_000)
}

/// Opens connections from a process of its own, whose descriptors are its own too; it holds them until its input ends.
const IDLERS: &str = r#"
import socket, sys
held = []
for index in range(int(sys.argv[2])):
    try:
        held.append(socket.create_connection(("127.0.0.1", int(sys.argv[1]))))
        if index % 2: held[-1].send(bytes([0x80, 0, 1, 0, 0, 0, 0, 7]))
    except OSError:
        pass
print("ready", flush=True)
sys.stdin.read()
"#;

/// The crowd; it goes when dropped.
struct Crowd {
    idle: Vec<Child>,
    peers: Vec<Peer>,
    done: Arc<AtomicBool>,
    noise: Option<JoinHandle<()>>,
}

impl Crowd {
    /// `idle` connections that say nothing or half a record, those who do not read or do not go on, and one after the
    /// other who sends rubbish.
    fn gather(port: u16, brick: &str, idle: usize) -> Self {
        let mut peers = Vec::new();
        for index in 0..STALLED {
            let mut peer = if index % 2 == 0 { Peer::bound(port, brick) } else { Peer::new(port) };
            peer.stream.set_nonblocking(true).unwrap();
            peer.send(&begun(index % 4 < 2));
            peers.push(peer);
        }
        let gfid = file(port, brick);
        for _ in 0..GREEDY {
            let mut peer = Peer::bound(port, brick);
            peer.stream.set_nonblocking(true).unwrap();
            let read = fops::ReadReq { gfid, fd: -2, offset: 0, size: 4 << 20, flag: 0, xdata: Xdata::NONE };
            let record = peer.record((fops::PROGRAM, fops::VERSION, fops::procedure::READ), &read);
            // 2000 of them would be 8 GiB of replies.
            (0..2000).all(|_| peer.stream.write(&record).is_ok_and(|n| n == record.len()));
            peers.push(peer);
        }
        let idlers = |count: usize| {
            let mut idlers = Command::new("python3");
            idlers.args(["-c", IDLERS, &port.to_string(), &count.to_string()]);
            idlers.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
        };
        let mut idle = vec![idlers(idle / 2), idlers(idle - idle / 2)];
        for idlers in &mut idle {
            let mut said = String::new();
            BufReader::new(idlers.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
            assert_eq!(said, "ready\n");
        }
        let done = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&done);
        let noise = thread::spawn(move || {
            let mut state = 1_u64;
            while !until.load(Ordering::Relaxed) {
                let bytes: Vec<u8> = (0..200)
                    .map(|_| {
                        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        (state >> 33) as u8
                    })
                    .collect();
                if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
                    let _ = stream.write_all(&bytes);
                }
                thread::sleep(Duration::from_millis(10));
            }
        });
        Self { idle, peers, done, noise: Some(noise) }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        self.noise.take().map(JoinHandle::join);
        for idlers in &mut self.idle {
            drop(idlers.stdin.take());
            let _ = idlers.wait();
        }
        self.peers.clear();
    }
}

/// The first 256 KiB of something large: a write of 64 MiB, or another call of nearly 4 MiB.
fn begun(write: bool) -> Vec<u8> {
    let size = if write { 64 << 20 } else { 4_000_000 };
    let arguments = fops::WriteReq { gfid: Gfid::ROOT, fd: -2, offset: 0, size, flag: 0, xdata: Xdata::NONE };
    let procedure = if write { fops::procedure::WRITE } else { fops::procedure::LOOKUP };
    let mut record = call_record(1, (fops::PROGRAM, fops::VERSION, procedure), None, &arguments);
    let mark = Mark::whole(record.len() - MARK + size as usize);
    record[..MARK].copy_from_slice(&mark);
    record.resize(256 << 10, 7);
    record
}

/// The gfid of the file `big`.
fn file(port: u16, brick: &str) -> Gfid {
    let lookup = fops::LookupReq {
        gfid: Gfid::NULL,
        pargfid: Gfid::ROOT,
        flags: 0,
        bname: b"big",
        xdata: Xdata::NONE,
    };
    let found: fops::ChangedRsp = Peer::bound(port, brick).fop(fops::procedure::LOOKUP, &lookup).body();
    found.prestat.gfid
}

/// A server and a client; the client has made the file `big`.
fn served(scratch: &Scratch, port: u16) -> (KilnServer, StockClient) {
    let server = KilnServer::at(scratch, port, |command| _ = command.arg("--brick").arg(scratch.brick()));
    let client = StockClient::of_volume(scratch, port, "mnt-a");
    fs::write(client.mnt().join("big"), vec![5; 4 << 20]).unwrap();
    (server, client)
}

#[test]
fn a_crowd_is_bounded_and_others_are_served() {
    let scratch = Scratch::new();
    let (server, client) = served(&scratch, free_port());
    let before = server.resident();
    let idle = idle();
    let began = Instant::now();
    let crowd = Crowd::gather(server.port, &scratch.brick().display().to_string(), idle);
    println!("{idle} idle connections after {:?}", began.elapsed());
    let mut most = 0;
    let mut longest = Duration::ZERO;
    for round in 0..20 {
        let began = Instant::now();
        let path = client.mnt().join(format!("file-{round}"));
        fs::write(&path, vec![round; 300_000]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), vec![round; 300_000]);
        longest = longest.max(began.elapsed());
        most = most.max(server.resident());
    }
    most = most.max(server.resident());
    println!(
        "{} MiB, and {} MiB before; a file of 300 kB took {longest:?} at most",
        most >> 10,
        before >> 10
    );
    assert!(longest < Duration::from_secs(12), "{longest:?}");
    assert!(most - before < BOUND, "{most} KiB, {before} before");
    drop(crowd);
    wait_for("the crowd to go", Duration::from_secs(30), || {
        server.dump().contains("\"connections\": 1\n") || server.dump().contains("\"connections\": 2\n")
    });
    let log = server.log();
    assert!(!log.contains("panicked"), "{log}");
    assert!(log.lines().count() < 3000, "{} lines", log.lines().count());
    drop(client);
    server.stop();
}

/// Operations per second of a random mix of reads and writes.
fn fio(scratch: &Scratch) -> f64 {
    let said = run(Command::new("fio").current_dir(scratch.path()).args([
        "--name=job",
        "--ioengine=gfapi_async",
        "--volume=vol",
        "--brick=127.0.0.1",
        "--size=64m",
        "--bs=4k",
        "--rw=randrw",
        "--iodepth=16",
        "--time_based",
        "--runtime=4",
        "--output-format=terse",
    ]));
    let line = said.lines().find(|line| line.starts_with("3;")).unwrap_or_else(|| panic!("{said}"));
    let field = |index: usize| line.split(';').nth(index).unwrap().parse::<f64>().unwrap();
    field(7) + field(48)
}

/// `cargo test --release --test real -- crowd::what --ignored --nocapture` on a machine that has nothing else to do.
#[test]
#[ignore = "a measurement"]
fn what_a_crowd_costs_others() {
    if std::env::var_os("KILN_TEST_ALONE").is_none() {
        // libgfapi's fio goes to GlusterFS's own port: in a network of its own that is free.
        let script =
            "ip link set lo up && exec \"$0\" --exact crowd::what_a_crowd_costs_others --ignored --nocapture";
        let own = std::env::current_exe().unwrap();
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", script]).arg(own).env("KILN_TEST_ALONE", "1");
        print!("{}", run(&mut command));
        return;
    }
    let scratch = Scratch::new();
    let (server, client) = served(&scratch, 24007);
    // Half of them: fio comes after the crowd, and the server has to have room for it.
    let (brick, idle) = (scratch.brick().display().to_string(), idle() / 2);
    let before = server.resident();
    fio(&scratch);
    for _ in 0..3 {
        let alone = fio(&scratch);
        let crowd = Crowd::gather(server.port, &brick, idle);
        let disturbed = fio(&scratch);
        let grown = (server.resident() - before) >> 10;
        drop(crowd);
        thread::sleep(Duration::from_secs(2));
        println!(
            "{alone:.0} operations/s alone, {disturbed:.0} beside {idle} idle ones and {} others: {:+.1} %; {grown} MiB more",
            STALLED + GREEDY,
            (disturbed / alone - 1.0) * 100.0
        );
    }
    drop(client);
    server.stop();
}
