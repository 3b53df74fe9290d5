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

/// Connections that are attempted in all when many strangers come.
const STRANGERS: usize = 100_000;
/// What each of them may cost while it has its place: the connection, and the most that is gathered of a record before the
/// handshake. In KiB.
const STRANGER: u64 = 8 + 16;

/// Descriptors that a process may have here.
fn descriptors() -> usize {
    run(Command::new("sh").args(["-c", "ulimit -Hn"])).trim().parse().unwrap_or(usize::MAX)
}

/// Places of connections that a server has here: three quarters of its descriptors.
fn places() -> usize {
    let all = descriptors();
    (all - all / 4).min(65_536)
}

/// Opens connections from a process of its own, whose descriptors and address are its own too, and holds them until its input
/// ends. They say nothing, or the beginning of a record, or 15 KB of one.
const IDLERS: &str = r#"
import socket, sys
held = []
for index in range(int(sys.argv[2])):
    try:
        # The port is chosen when it is known where to, so that those of connections that are over do.
        one = socket.socket()
        one.setsockopt(socket.IPPROTO_IP, 24, 1)
        one.bind((sys.argv[3] + str(index // 10000), 0))
        one.connect(("127.0.0.1", int(sys.argv[1])))
        held.append(one)
        if index % 2: held[-1].send(bytes([0x80, 0, 0x3f, 0, 0, 0, 0, 7]) + bytes(15000 if index % 8 == 1 else 0))
    except OSError:
        pass
print(len(held), flush=True)
sys.stdin.read()
"#;

/// Processes that open connections and hold them; they end when dropped.
struct Idlers(Vec<Child>);

impl Idlers {
    /// Begins to open `count` connections. They come from many addresses: each has ports for some 10,000.
    fn start(port: u16, count: usize) -> Self {
        let each = (descriptors() - 100).min(25_000);
        let counts = (0..count.div_ceil(each)).map(|at| each.min(count - at * each));
        let idlers = counts.enumerate().map(|(at, count)| {
            let address = format!("127.1.{at}.1");
            let mut idlers = Command::new("python3");
            idlers.args(["-c", IDLERS, &port.to_string(), &count.to_string(), &address]);
            idlers.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
        });
        Self(idlers.collect())
    }

    /// Waits until all are opened; how many there are.
    fn opened(&mut self) -> usize {
        let opened = self.0.iter_mut().map(|idlers| {
            let mut said = String::new();
            BufReader::new(idlers.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
            said.trim().parse::<usize>().unwrap_or_else(|_| panic!("{said:?}"))
        });
        opened.sum()
    }
}

impl Drop for Idlers {
    fn drop(&mut self) {
        for idlers in &mut self.0 {
            drop(idlers.stdin.take());
            let _ = idlers.wait();
        }
    }
}

/// The crowd; it goes when dropped.
struct Crowd {
    _idle: Idlers,
    peers: Vec<Peer>,
    done: Arc<AtomicBool>,
    noise: Option<JoinHandle<()>>,
}

impl Crowd {
    /// `idle` connections that say nothing or half a record, those who do not read or do not go on, and one after the
    /// other who sends rubbish, a record that is too long, a call that nobody knows, or one that is not for strangers.
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
        let mut idlers = Idlers::start(port, idle);
        assert_eq!(idlers.opened(), idle);
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
                let lookup = (fops::PROGRAM, fops::VERSION, fops::procedure::LOOKUP);
                let lines = [
                    bytes,
                    vec![0xff; 64 << 10],
                    call_record(1, (4711, 1, 1), None, &7_u32),
                    call_record(1, lookup, None, &7_u32),
                ];
                for line in lines {
                    if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
                        let _ = stream.write_all(&line);
                    }
                }
                thread::sleep(Duration::from_millis(20));
            }
        });
        Self { _idle: idlers, peers, done, noise: Some(noise) }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        self.noise.take().map(JoinHandle::join);
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
    let idle = places();
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
    assert!(longest < Duration::from_secs(5), "{longest:?}");
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

/// A mount as it comes and goes: what it writes, it reads.
fn visit(scratch: &Scratch, port: u16, round: u32) -> Duration {
    let began = Instant::now();
    let client = StockClient::of_volume(scratch, port, &format!("visit-{round}"));
    let path = client.mnt().join(format!("by-{round}"));
    fs::write(&path, vec![round as u8; 100_000]).unwrap();
    assert_eq!(fs::read(&path).unwrap(), vec![round as u8; 100_000]);
    drop(client);
    began.elapsed()
}

#[test]
fn a_hundred_thousand_strangers_are_bounded_and_clients_get_in() {
    let scratch = Scratch::new();
    let (server, client) = served(&scratch, free_port());
    let places = places();
    let before = server.resident();
    let began = Instant::now();
    let mut idlers = Idlers::start(server.port, STRANGERS);
    let (opened, most, longest) = thread::scope(|scope| {
        let opened = scope.spawn(|| (idlers.opened(), began.elapsed()));
        let (mut most, mut longest, mut round) = (0, Duration::ZERO, 0_u32);
        // While they come, and once more among those who stay.
        loop {
            let is_last = opened.is_finished();
            longest = longest.max(visit(&scratch, server.port, round));
            let path = client.mnt().join(format!("file-{round}"));
            fs::write(&path, vec![round as u8; 300_000]).unwrap();
            assert_eq!(fs::read(&path).unwrap(), vec![round as u8; 300_000]);
            most = most.max(server.resident());
            round += 1;
            if is_last {
                println!("{round} mounts meanwhile; the slowest took {longest:?} to come, work and go");
                break (opened.join().unwrap(), most, longest);
            }
        }
    });
    let (opened, took) = opened;
    let dump: serde_json::Value = serde_json::from_str(&server.stats(&["--json"])).unwrap();
    let stats = find(&dump, "turned_away_connections").unwrap().clone();
    let there = find(&dump, "connections").unwrap().as_u64().unwrap();
    println!(
        "{opened} of {STRANGERS} connections opened in {took:?}, {there} there now for {places} places, {stats} turned \
         away; {} MiB, and {} MiB before",
        most >> 10,
        before >> 10
    );
    assert_eq!(opened, STRANGERS);
    assert!(there as usize <= places + places / 16, "{there}");
    assert!(stats.as_u64().unwrap() as usize + there as usize >= STRANGERS, "{stats}");
    assert!(longest < Duration::from_secs(20), "{longest:?}");
    assert!(most - before < STRANGER * (places as u64 * 17 / 16), "{most} KiB, {before} before");
    let log = server.log();
    assert!(log.contains("it has not shaken hands, and others need its place"), "{log}");
    assert!(!log.contains("panicked") && !log.contains("too many connections"), "{log}");
    // One line every five seconds tells of them; the rest are of mounts.
    let warnings = log.lines().filter(|line| line.contains("WARN")).count();
    assert!(warnings < 100, "{warnings} lines");
    // The client that was there before has noticed nothing, neither for its data nor for its volfile.
    assert!(!client.log().contains("disconnected"), "{}", client.log());
    drop(idlers);
    wait_for("the strangers to go", Duration::from_secs(60), || {
        let dump: serde_json::Value = serde_json::from_str(&server.stats(&["--json"])).unwrap();
        find(&dump, "connections").unwrap().as_u64().unwrap() <= 2
    });
    drop(client);
    server.stop();
}

/// The first value of that name, wherever it is.
fn find<'a>(json: &'a serde_json::Value, name: &str) -> Option<&'a serde_json::Value> {
    match json {
        serde_json::Value::Object(map) => {
            map.get(name).or_else(|| map.values().find_map(|value| find(value, name)))
        }
        serde_json::Value::Array(list) => list.iter().find_map(|value| find(value, name)),
        _ => None,
    }
}

/// Operations per second of a random mix of reads and writes on the volume whose volfile is at `port`.
fn fio(scratch: &Scratch, port: u16) -> f64 {
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
        "--runtime=2",
        "--output-format=terse",
    ]));
    assert_eq!(port, 24007, "libgfapi's fio goes to GlusterFS's own port");
    let line = said.lines().find(|line| line.starts_with("3;")).unwrap_or_else(|| panic!("{said}"));
    let field = |index: usize| line.split(';').nth(index).unwrap().parse::<f64>().unwrap();
    field(7) + field(48)
}

/// What fio reaches in a round, and what its server spends meanwhile.
#[derive(Clone, Copy)]
struct Speed {
    /// Operations per second.
    rate: f64,
    /// CPU of the server in seconds, from fio's start to its end, which comes some ten seconds after its last operation.
    cpu: f64,
}

impl Speed {
    fn measure(scratch: &Scratch, server: &KilnServer) -> Self {
        let cpu = server.cpu();
        let rate = fio(scratch, server.port);
        Self { rate, cpu: (server.cpu() - cpu).as_secs_f64() }
    }
}

/// The median and the extremes.
fn spread(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    let [least, median, most] = [0, values.len() / 2, values.len() - 1].map(|at| values[at]);
    format!("{median:.3} ({least:.3} to {most:.3})")
}

/// `cargo test --release --test real -- crowd::what --ignored --nocapture` on a machine that has nothing else to do. The crowd
/// needs CPUs of its own, which on a small machine fio misses whoever the crowd turns to: so every round also has the same
/// crowd at another server, which nobody uses. A round takes 40 seconds; there are `KILN_TEST_ROUNDS`, or 5.
#[test]
#[ignore = "a measurement"]
fn what_a_crowd_costs_others() {
    let number = std::env::var("KILN_TEST_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
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
    let [scratch, aside] = [Scratch::new(), Scratch::new()];
    let (server, client) = served(&scratch, 24007);
    let (other, other_client) = served(&aside, 24009);
    let [brick, other_brick] = [&scratch, &aside].map(|scratch| scratch.brick().display().to_string());
    let (before, idle) = (server.resident(), places());
    fio(&scratch, server.port);
    let mut rounds = Vec::new();
    for round in 0..number {
        let mut speeds = [None; 3];
        for at in 0..3 {
            // Each of them is first, second and last in turn.
            let what = (round + at) % 3;
            let crowd = match what {
                0 => None,
                1 => Some(Crowd::gather(other.port, &other_brick, idle)),
                _ => Some(Crowd::gather(server.port, &brick, idle)),
            };
            speeds[what] = Some(Speed::measure(&scratch, &server));
            drop(crowd);
            thread::sleep(Duration::from_secs(1));
        }
        let [alone, elsewhere, here] = speeds.map(Option::unwrap);
        println!(
            "{:.0} operations/s alone, {:.0} beside a crowd at another server, {:.0} beside the crowd; the server \
             uses {:.2}, {:.2}, {:.2} s of CPU",
            alone.rate, elsewhere.rate, here.rate, alone.cpu, elsewhere.cpu, here.cpu
        );
        rounds.push([alone, elsewhere, here]);
    }
    let ratios = |a: usize, b: usize| rounds.iter().map(|round| round[a].rate / round[b].rate).collect();
    println!("{idle} idle connections and {} others, {number} rounds:", STALLED + GREEDY);
    println!("beside the crowd over alone: {}", spread(ratios(2, 0)));
    println!("beside a crowd at another server over alone: {}", spread(ratios(1, 0)));
    println!("beside the crowd over beside a crowd at another server: {}", spread(ratios(2, 1)));
    println!("{} MiB more than before", server.resident().saturating_sub(before) >> 10);
    drop((client, other_client));
    other.stop();
    server.stop();
}
