//! Loads on a directory, from the beginning to the end.

use super::*;
use clap::ValueEnum as _;

fn plan(workload: Workload) -> Plan {
    Plan {
        workload,
        block: 512,
        depth: 3,
        connections: 2,
        threads: 2,
        files: workload.usual_files().min(60),
        file_size: 16 << 10,
        entries: 20,
        distribution: Distribution::Uniform,
        rate: None,
        warmup: Duration::ZERO,
        duration: Duration::from_secs(60),
        count: Some(50),
        seed: 7,
        verify: workload.has_blocks(),
        direct: false,
        keep: false,
        reuse: false,
        intervals: true,
    }
}

fn load(dir: &std::path::Path, plan: Plan) -> Result<Results, String> {
    let config =
        LoadConfig { target: Where::Mount(dir.into()), plan, pid: Some(std::process::id()), progress: false };
    run(&config, Arc::default())
}

#[test]
fn every_workload_does_what_was_asked_for_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for workload in Workload::value_variants() {
        let results = load(dir.path(), plan(*workload)).unwrap();
        let name = workload.name();
        assert_eq!((results.total.count, results.total.errors), (50, 0), "{name}");
        let whole: u64 = results.operations.iter().filter(|kind| kind.whole).map(|kind| kind.count).sum();
        assert_eq!(whole, 50, "{name}");
        assert_eq!(results.complaint(), None);
        if let Some(verify) = &results.verify {
            assert!(verify.blocks > 0 || *workload == Workload::CreateUnlink, "{name}");
        }
        if *workload == Workload::Readdirp {
            assert_eq!(results.total.entries, 50 * 20);
        }
        assert!(table(&results).contains("50 operations in"), "{name}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "{name}");
    }
}

/// All files below a directory, by their names, and what is in them.
fn contents(dir: &std::path::Path) -> std::collections::BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut all = std::collections::BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(at) = dirs.pop() {
        for entry in std::fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().to_owned();
                all.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    all
}

#[test]
fn a_seed_decides_what_is_written() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let keep = |workload| Plan { keep: true, count: Some(400), ..plan(workload) };
    for workload in [Workload::Mixed, Workload::ReadWrite, Workload::Create] {
        let [one, other] = dirs.each_ref().map(|dir| {
            let results = load(dir.path(), keep(workload)).unwrap();
            let counts: Vec<_> = results.operations.iter().map(|kind| (kind.name, kind.count)).collect();
            let found = contents(dir.path());
            std::fs::remove_dir_all(dir.path().join("kiln-load")).unwrap();
            (counts, results.verify.unwrap().blocks, found)
        });
        assert_eq!(one.0, other.0);
        assert_eq!(one.1, other.1);
        assert!(one.2.len() > 3 && one.2 == other.2, "{}", workload.name());
    }
}

#[test]
fn wrong_contents_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let plan = Plan { keep: true, ..plan(Workload::Read) };
    load(dir.path(), plan.clone()).unwrap();
    // What is left is taken; without a check nothing is written anew, and so nothing is hidden.
    let again = load(dir.path(), Plan { reuse: true, verify: false, ..plan.clone() }).unwrap();
    assert_eq!(again.total.errors, 0);
    let file = dir.path().join("kiln-load/data/file-2");
    std::fs::write(&file, vec![0; 16 << 10]).unwrap();
    let checked = |stamp: blocks::Stamp| {
        let bytes = std::fs::read(&file).unwrap();
        blocks::check(&bytes[stamp.offset as usize..][..512], &stamp)
    };
    let stamp = blocks::Stamp { file: 2, offset: 512, generation: 0 };
    assert_eq!(checked(stamp), blocks::Verdict::Wrong(blocks::Wrong::Unmarked));
    assert!(load(dir.path(), plan.clone()).unwrap_err().contains("--reuse"));
    let mended = load(dir.path(), Plan { reuse: true, ..plan }).unwrap();
    assert_eq!(mended.verify.unwrap().wrong, 0);
    assert_eq!(checked(stamp), blocks::Verdict::Right);
}

#[test]
fn an_open_loop_keeps_its_rate() {
    let dir = tempfile::tempdir().unwrap();
    let plan = Plan { rate: Some(1000.0), count: Some(100), ..plan(Workload::Stat) };
    let results = load(dir.path(), plan).unwrap();
    assert_eq!(results.total.count, 100);
    // The last one is due after 99 periods.
    assert!(results.seconds >= 0.098, "{}", results.seconds);
}

#[test]
fn results_are_those_that_scripts_read() {
    let dir = tempfile::tempdir().unwrap();
    let results = load(dir.path(), plan(Workload::CreateUnlink)).unwrap();
    let json = serde_json::to_value(&results).unwrap();
    let keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = [
        "kiln_load",
        "version",
        "date",
        "machine",
        "target",
        "workload",
        "warmup_seconds",
        "seconds",
        "operations",
        "total",
        "verify",
        "brick",
        "self",
    ];
    expected.sort_unstable();
    let mut sorted = keys;
    sorted.sort_unstable();
    assert_eq!(sorted, expected);
    assert_eq!(json["kiln_load"], 1);
    assert_eq!(json["target"]["kind"], "mount");
    assert_eq!(
        (&json["workload"]["loop"], &json["workload"]["rate"]),
        (&"closed".into(), &serde_json::Value::Null)
    );
    assert_eq!(json["operations"][0]["name"], "create-unlink");
    assert_eq!(json["operations"][1]["name"], "CREATE");
    for key in ["min", "mean", "p50", "p90", "p99", "p99_9", "p99_99", "max"] {
        assert!(json["operations"][0]["latency_ns"][key].as_f64().unwrap() > 0.0, "{key}");
    }
    for key in ["pid", "cpu_seconds", "cpu_ns_per_op", "rss_bytes", "rss_start_bytes", "rss_peak_bytes"] {
        assert!(json["brick"][key].is_number(), "{key}");
    }
    assert!(json["self"]["cpu_ns_per_op"].is_number() && json["total"]["bytes_per_second"].is_number());

    let mut hlog = Vec::new();
    log(&results, &mut hlog).unwrap();
    let text = String::from_utf8(hlog.clone()).unwrap();
    assert!(text.contains("Tag=create-unlink,") && text.contains("HISTF"));
    let lines = hdrhistogram::serialization::interval_log::IntervalLogIterator::new(&hlog);
    assert!(lines.filter(|line| line.is_ok()).count() > 5);
}

#[test]
fn errors_say_what_is_wrong() {
    let missing = load("/nonexistent/dir".as_ref(), plan(Workload::Read)).unwrap_err();
    assert!(missing.contains("/nonexistent/dir"), "{missing}");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    assert!(load(&file, plan(Workload::Read)).unwrap_err().contains("no directory"));
}

/// Something that listens and does what a test says with each connection.
fn listener(serve: impl Fn(std::net::TcpStream) + Send + 'static) -> Peer {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = socket.local_addr().unwrap();
    thread::spawn(move || socket.incoming().flatten().for_each(serve));
    Peer::Tcp(at)
}

fn on_brick(peer: Peer) -> String {
    let timeout = Duration::from_millis(300);
    let setup = Setup { peer, bricks: Vec::new(), login: None, timeout, inbox: 1 << 16 };
    let config = LoadConfig {
        target: Where::Brick { setup, name: None },
        plan: plan(Workload::Read),
        pid: None,
        progress: false,
    };
    run(&config, Arc::default()).unwrap_err()
}

#[test]
fn what_is_no_brick_is_told_apart() {
    let closed = listener(drop);
    assert!(on_brick(closed).contains("is it a brick?"));
    let silent = listener(std::mem::forget);
    assert!(on_brick(silent).contains("did not answer"));
    let web = listener(|mut stream| {
        let _ = std::io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n");
        std::mem::forget(stream);
    });
    assert!(on_brick(web).contains("is it a brick?"));
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(on_brick(Peer::Tcp(free)).contains("nobody listens"));
}
