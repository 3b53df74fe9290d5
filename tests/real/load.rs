//! `kiln load` on a stock brick and on Kiln.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;

use crate::support::{KilnMount, KilnServer, Scratch, StockServer, free_port, kiln, signal, text, wait_for};

/// Runs a load and reads its result.
fn load(target: &str, args: &[&str]) -> (Output, Value) {
    let output = kiln().arg("load").args(args).args(["--json", "-", target]).output().unwrap();
    let json = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output, json)
}

/// The same, which has to go well.
#[track_caller]
fn loaded(target: &str, args: &[&str]) -> Value {
    let (output, json) = load(target, args);
    assert!(output.status.success(), "{args:?}: {}", text(&output));
    json
}

/// A brick by each of the two, and how a load names them.
struct Both {
    scratch: Scratch,
    _stock: StockServer,
    _kiln: KilnServer,
    /// Directories of the bricks, and targets.
    sides: [(PathBuf, String); 2],
}

impl Both {
    fn new() -> Self {
        let scratch = Scratch::new();
        let dirs = [scratch.join("stock"), scratch.brick()];
        std::fs::create_dir(&dirs[0]).unwrap();
        let port = free_port();
        let stock = StockServer::new(&scratch, &dirs[0], port);
        let kiln = KilnServer::new(&scratch, &dirs[1]);
        let [one, other] = dirs;
        let target = |port: u16, dir: &Path| format!("127.0.0.1:{port}{}", dir.display());
        let targets = [target(port, &one), target(kiln.port, &other)];
        let [first, second] = targets;
        Self { scratch, _stock: stock, _kiln: kiln, sides: [(one, first), (other, second)] }
    }
}

/// Counts of all kinds of operations, which are the same whoever serves.
fn counts(json: &Value) -> BTreeMap<String, (u64, u64, u64)> {
    let number = |kind: &Value, key: &str| kind[key].as_u64().unwrap();
    let kinds = json["operations"].as_array().unwrap();
    kinds
        .iter()
        .map(|kind| {
            let name = kind["name"].as_str().unwrap().to_owned();
            (name, (number(kind, "count"), number(kind, "errors"), number(kind, "bytes")))
        })
        .collect()
}

/// All files below a directory, and what is in them.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(at) = dirs.pop() {
        for entry in std::fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                all.insert(path.strip_prefix(dir).unwrap().to_owned(), std::fs::read(&path).unwrap());
            }
        }
    }
    all
}

const SMALL: [&str; 12] = [
    "--count",
    "600",
    "--seed",
    "11",
    "--file-size",
    "256k",
    "--entries",
    "300",
    "--depth",
    "8",
    "--connections",
    "2",
];

#[test]
fn the_same_is_done_to_both_and_found_in_both() {
    for workload in
        ["read", "write", "read-write", "fsync-write", "mixed", "create", "create-unlink", "small-files"]
    {
        let both = Both::new();
        let what = ["--workload", workload, "--verify", "--keep"];
        let args = [&SMALL[..], &what, &["--threads", "2"]].concat();
        let [stock, kiln] = both.sides.each_ref().map(|(dir, target)| {
            let json = loaded(target, &args);
            assert_eq!(json["verify"]["wrong"], 0, "{workload}");
            let checked = json["verify"]["blocks"].as_u64().unwrap();
            assert!(checked > 0 || workload == "create-unlink", "{workload}");
            assert_eq!((&json["total"]["count"], &json["total"]["errors"]), (&600.into(), &0.into()));
            assert!(json["brick"]["cpu_ns_per_op"].as_f64().unwrap() > 0.0, "the brick's process is found");
            (counts(&json), checked, contents(&dir.join("kiln-load")))
        });
        assert_eq!(stock.0, kiln.0, "{workload}");
        assert_eq!(stock.1, kiln.1, "{workload}");
        assert!(stock.2 == kiln.2, "{workload}: {:?}, {:?}", stock.2.keys(), kiln.2.keys());
        assert!(!stock.2.is_empty() || matches!(workload, "create-unlink" | "small-files"));
        drop(both.scratch);
    }
}

#[test]
fn what_moves_no_data_is_counted_alike_and_nothing_is_left() {
    let both = Both::new();
    for workload in ["lookup", "lookup-miss", "stat", "unlink", "rename", "readdirp", "xattr"] {
        let args = [&SMALL[..], &["--workload", workload, "--files", "600"]].concat();
        let [stock, kiln] = both.sides.each_ref().map(|(dir, target)| {
            let json = loaded(target, &args);
            assert_eq!(
                (&json["total"]["count"], &json["total"]["errors"]),
                (&600.into(), &0.into()),
                "{workload}"
            );
            let left = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
            assert_eq!(left.filter(|name| name != ".glusterfs").count(), 0, "{workload}");
            (counts(&json), json["total"]["entries"].as_u64().unwrap())
        });
        assert_eq!(stock, kiln, "{workload}");
        assert_eq!(stock.1, if workload == "readdirp" { 600 * 300 } else { 0 });
    }
}

#[test]
fn a_mount_bears_all_workloads() {
    let scratch = Scratch::new();
    let mount = KilnMount::new(&scratch.brick(), &scratch.mnt());
    let target = scratch.mnt().display().to_string();
    let pid = mount.pid().to_string();
    let all =
        ["mixed", "read", "write", "read-write", "fsync-write", "create", "create-unlink", "small-files"];
    for workload in all {
        let args =
            ["--workload", workload, "--count", "200", "--verify", "--file-size", "256k", "--pid", &pid];
        for depth in ["1", "4"] {
            let json = loaded(&target, &[&args[..], &["--depth", depth, "--threads", "2"]].concat());
            assert_eq!(
                (&json["total"]["count"], &json["verify"]["wrong"]),
                (&200.into(), &0.into()),
                "{workload}"
            );
            assert_eq!(json["brick"]["pid"], mount.pid());
        }
    }
    for workload in ["lookup", "lookup-miss", "stat", "unlink", "rename", "readdirp", "xattr"] {
        let args = ["--workload", workload, "--count", "200", "--files", "200", "--entries", "50"];
        let json = loaded(&target, &args);
        assert_eq!(
            (&json["total"]["count"], &json["total"]["errors"]),
            (&200.into(), &0.into()),
            "{workload}"
        );
    }
    loaded(&target, &["--workload", "read", "--count", "200", "--direct", "--verify", "--file-size", "256k"]);
    assert_eq!(std::fs::read_dir(scratch.mnt()).unwrap().count(), 0);
    mount.stop();
}

/// A brick whose reads stall now and then for a tenth of a second.
fn stalling(scratch: &Scratch) -> (KilnServer, String) {
    let (volfile, dir) = (scratch.join("stalls.vol"), scratch.brick());
    let graph = format!(
        "volume posix\n type storage/posix\n option directory {}\nend-volume\n\
         volume stalls\n type debug/delay-gen\n option delay-percentage 1\n option delay-duration 100000\n \
         option enable read\n subvolumes posix\nend-volume\n\
         volume brick\n type debug/io-stats\n subvolumes stalls\nend-volume\n\
         volume server\n type protocol/server\n option auth.addr.brick.allow *\n subvolumes brick\nend-volume\n",
        dir.display()
    );
    std::fs::write(&volfile, graph).unwrap();
    let server = KilnServer::at(scratch, free_port(), |command| _ = command.arg("--volfile").arg(&volfile));
    let target = format!("127.0.0.1:{}/brick", server.port);
    (server, target)
}

/// Milliseconds of a percentile of the reads.
fn percentile(json: &Value, which: &str) -> f64 {
    let reads = json["operations"].as_array().unwrap().iter().find(|kind| kind["name"] == "read").unwrap();
    reads["latency_ns"][which].as_f64().unwrap() / 1e6
}

/// Only lower bounds: a machine that does something else makes everything slower.
#[test]
fn an_open_loop_shows_a_stall_as_users_feel_it() {
    const STALL: f64 = 100.0;
    let scratch = Scratch::new();
    let (_server, target) = stalling(&scratch);
    let reads = ["--workload", "read", "--file-size", "1M", "--count", "2000"];

    // With somebody free for every request, the stalls are those of single requests: one in a hundred.
    let wide = loaded(&target, &[&reads[..], &["--rate", "1000", "--depth", "256"]].concat());
    assert!(percentile(&wide, "max") >= STALL && percentile(&wide, "p99_9") >= STALL, "{wide}");
    assert_eq!(wide["workload"]["loop"], "open");
    assert!(wide["seconds"].as_f64().unwrap() >= 1.99);

    // One user who asks a thousand times a second waits behind each stall, too: a hundred requests are due meanwhile, and are
    // late by up to all of it. That happens some twenty times, so a tenth of all is late by far more than a fifth of a stall.
    let narrow = loaded(&target, &[&reads[..], &["--rate", "1000", "--depth", "1"]].concat());
    assert!(percentile(&narrow, "p90") >= STALL / 5.0 && percentile(&narrow, "max") >= STALL, "{narrow}");

    // A closed loop asks nothing while it waits: the stalls are there, but only they.
    let closed = loaded(&target, &[&reads[..], &["--depth", "1"]].concat());
    assert!(percentile(&closed, "p99_9") >= STALL, "{closed}");
}

#[test]
fn errors_say_what_is_wrong() {
    let scratch = Scratch::new();
    let server = KilnServer::new(&scratch, &scratch.brick());
    let brick = format!("127.0.0.1:{}{}", server.port, scratch.brick().display());
    let fails = |target: &str, args: &[&str], status: i32, said: &[&str]| {
        let (output, _) = load(target, args);
        let text = text(&output);
        assert_eq!(output.status.code(), Some(status), "{text}");
        said.iter().for_each(|part| assert!(text.contains(part), "{part}: {text}"));
    };
    fails(&format!("127.0.0.1:{}/nothing", server.port), &[], 1, &["refused", "nothing", "Brick not found"]);
    fails(&format!("127.0.0.1:{}", free_port()), &[], 1, &["nobody listens"]);
    fails("/nonexistent", &[], 1, &["/nonexistent", "No such file"]);
    fails(&brick, &["--workload", "stat", "--verify"], 2, &["no data that --verify could check"]);
    fails(&brick, &["--threads", "4", "--connections", "2"], 2, &["4 threads"]);
    let small = ["--workload", "read", "--file-size", "1M", "--count", "10", "--keep"];
    loaded(&brick, &small);
    fails(&brick, &small, 1, &["--reuse"]);
    // Whose brick it is can be asked of the process that listens.
    let unnamed = loaded(&format!("127.0.0.1:{}", server.port), &[&small[..], &["--reuse"]].concat());
    assert_eq!(unnamed["target"]["brick"], scratch.brick().to_str().unwrap());

    // A read-only export refuses to make anything, in its own words.
    drop(server);
    let graph = |command: &mut Command| _ = command.arg("--brick").arg(scratch.brick()).arg("--read-only");
    let server = KilnServer::at(&scratch, free_port(), graph);
    let brick = format!("127.0.0.1:{}{}", server.port, scratch.brick().display());
    fails(&brick, &["--workload", "create"], 1, &["Read-only file system"]);
}

#[test]
fn bricks_behind_unix_sockets_and_passwords() {
    let scratch = Scratch::new();
    let socket = scratch.join("listens");
    let serve = |command: &mut Command| {
        command.arg("--brick").arg(scratch.brick()).arg("--listen").arg(&socket);
    };
    let server = KilnServer::at(&scratch, free_port(), serve);
    let small =
        ["--workload", "read-write", "--verify", "--file-size", "64k", "--count", "100", "--depth", "4"];
    let json = loaded(&format!("unix:{}", socket.display()), &small);
    assert_eq!((&json["total"]["count"], &json["brick"]["pid"]), (&100.into(), &server.pid().into()));
    server.stop();

    let volfile = scratch.join("login.vol");
    let graph = format!(
        "volume brick\n type storage/posix\n option directory {}\nend-volume\n\
         volume server\n type protocol/server\n option auth.login.brick.allow kiln\n \
         option auth.login.kiln.password secret\n subvolumes brick\nend-volume\n",
        scratch.brick().display()
    );
    std::fs::write(&volfile, graph).unwrap();
    let server = KilnServer::at(&scratch, free_port(), |command| _ = command.arg("--volfile").arg(&volfile));
    // Its name is in the volfile.
    let target = format!("127.0.0.1:{}", server.port);
    loaded(&target, &[&small[..], &["--user", "kiln", "--password", "secret"]].concat());
    let (output, _) = load(&target, &[&small[..], &["--user", "kiln", "--password", "guess"]].concat());
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("Authentication failed"), "{}", text(&output));
}

#[test]
fn a_brick_that_goes_away_or_hangs_ends_the_load() {
    let scratch = Scratch::new();
    for (how, said) in [("KILL", "127.0.0.1"), ("STOP", "did not answer")] {
        let server = KilnServer::new(&scratch, &scratch.brick());
        let target = format!("127.0.0.1:{}{}", server.port, scratch.brick().display());
        let socket = server.socket().to_owned();
        let child = kiln()
            .args([
                "load",
                "--workload",
                "read",
                "--file-size",
                "1M",
                "--seconds",
                "600",
                "--timeout",
                "1",
                "--threads",
                "2",
            ])
            .arg(&target)
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        wait_for("reads", Duration::from_secs(30), || {
            let stats = kiln().args(["stats", "--json", "--socket"]).arg(&socket).output().unwrap();
            let json: Value = serde_json::from_slice(&stats.stdout).unwrap_or_default();
            json.to_string().contains("\"read\"")
        });
        signal(server.pid(), how);
        let output = child.wait_with_output().unwrap();
        signal(server.pid(), "CONT");
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output).contains(said), "{how}: {}", text(&output));
        server.kill();
    }
}

#[test]
fn an_interrupt_ends_the_load_with_what_there_is() {
    let scratch = Scratch::new();
    let server = KilnServer::new(&scratch, &scratch.brick());
    let target = format!("127.0.0.1:{}{}", server.port, scratch.brick().display());
    let args = ["load", "--workload", "create", "--seconds", "600", "--warmup", "0", "--json", "-"];
    let child = kiln().args(args).arg(&target).stdout(std::process::Stdio::piped()).spawn().unwrap();
    wait_for("files", Duration::from_secs(30), || {
        let work = scratch.brick().join(format!("kiln-load-{}/work", child.id()));
        std::fs::read_dir(work).is_ok_and(|dir| dir.count() > 100)
    });
    signal(child.id(), "INT");
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(json["total"]["count"].as_u64().unwrap() > 50 && json["seconds"].as_f64().unwrap() > 0.0);
    let left = std::fs::read_dir(scratch.brick()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(left.filter(|name| name != ".glusterfs").count(), 0);
}
