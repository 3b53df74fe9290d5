//! Applications on a stock mount while the process of the brick is replaced below it.
//!
//! The mount has the volfile of `kiln serve`, under which applications wait while the brick is away.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde::Deserialize;

use crate::support::{KilnServer, Scratch, StockClient, StockServer, free_port, kiln, run, wait_for};

/// Bytes of one write.
const BLOCK: usize = 4096;
/// Files that the application keeps open, and other things that it does.
const FILES: usize = 3;
const WORKS: usize = FILES + 4;
/// `ENOTCONN`
const NOT_CONNECTED: i32 = 107;
/// The longest pause in seconds: a client looks for its brick every 3 s.
const PAUSE: f64 = 15.0;

/// What an application has seen.
#[derive(Debug, Default, Deserialize)]
struct Seen {
    /// How often each of the things that it does was done.
    rounds: BTreeMap<String, u64>,
    /// Errors of each.
    errors: BTreeMap<String, Vec<i32>>,
    /// Seconds of the longest round.
    longest: f64,
    /// What was wrong besides.
    broken: String,
}

/// `application.py`; ended when dropped.
struct Application {
    process: Child,
    status: PathBuf,
    stop: PathBuf,
}

impl Application {
    fn start(scratch: &Scratch, mnt: &Path) -> Self {
        let (script, status) = (scratch.join("application.py"), scratch.join("application.json"));
        let stop = scratch.join("application.stop");
        fs::write(&script, include_str!("application.py")).unwrap();
        let mut command = Command::new("python3");
        command.arg(script).arg(mnt).arg(&status).arg(&stop).stdin(Stdio::null());
        Self { process: command.spawn().unwrap(), status, stop }
    }

    fn seen(&self) -> Seen {
        fs::read(&self.status).map_or_else(|_| Seen::default(), |text| serde_json::from_slice(&text).unwrap())
    }

    /// Waits until it has gone on with everything for some rounds.
    fn goes_on(&mut self) {
        let from = self.seen().rounds;
        wait_for("the application to go on", Duration::from_secs(60), || {
            let seen = self.seen();
            assert!(seen.broken.is_empty(), "{}", seen.broken);
            assert!(self.process.try_wait().unwrap().is_none(), "the application has ended");
            let more = |(name, now): (&String, &u64)| *now > from.get(name).unwrap_or(&0) + 20;
            seen.rounds.len() == WORKS && seen.rounds.iter().all(more)
        });
    }

    /// Ends it and insists on every synced block, in the directory of the brick too.
    fn ends(mut self, mnt: &Path, brick: &Path) -> Seen {
        fs::write(&self.stop, "").unwrap();
        assert!(self.process.wait().unwrap().success());
        let seen = self.seen();
        println!("{seen:?}");
        assert!(seen.broken.is_empty() && seen.longest < PAUSE, "{seen:?}");
        for dir in [mnt, brick] {
            for index in 0..FILES {
                let content = fs::read(dir.join(format!("file-{index}"))).unwrap();
                let rounds = seen.rounds[&format!("write-{index}")];
                assert!(content.len() >= rounds as usize * BLOCK);
                for (number, found) in (0..rounds).zip(content.chunks_exact(BLOCK)) {
                    assert!(found == block(index, number), "block {number} of file {index} is lost");
                }
            }
        }
        seen
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a block holds.
fn block(file: usize, number: u64) -> Vec<u8> {
    (number << 8 | file as u64).to_le_bytes().repeat(BLOCK / 8)
}

/// A brick, a place for its server, and how Kiln serves it.
struct Place {
    scratch: Scratch,
    brick: PathBuf,
    port: u16,
}

impl Place {
    fn new() -> Self {
        let scratch = Scratch::new();
        Self { brick: scratch.brick(), port: free_port(), scratch }
    }

    fn kiln(&self, args: &[&str]) -> KilnServer {
        KilnServer::at(&self.scratch, self.port, |command| {
            command.arg("--brick").arg(&self.brick).args(args);
        })
    }

    fn mount(&self, name: &str) -> StockClient {
        StockClient::of_volume(&self.scratch, self.port, name)
    }
}

#[test]
fn applications_see_a_pause_and_no_error_while_kiln_is_stopped_and_started() {
    let place = Place::new();
    let mut server = place.kiln(&[]);
    let client = place.mount("client");
    let mut application = Application::start(&place.scratch, client.mnt());
    for away in [0, 300, 4000] {
        application.goes_on();
        server.stop();
        thread::sleep(Duration::from_millis(away));
        server = place.kiln(&[]);
    }
    application.goes_on();
    let seen = application.ends(client.mnt(), &place.brick);
    assert!(seen.errors.is_empty(), "{:?}", seen.errors);
    // Not even what was not synced is lost.
    for (dir, number) in [client.mnt(), &place.brick]
        .into_iter()
        .flat_map(|dir| (0..seen.rounds["drop"]).map(move |n| (dir, n)))
    {
        let found = fs::read(dir.join(format!("dropped-{number}"))).unwrap();
        assert!(found == block(8, number), "file {number} is lost");
    }
    drop(client);
    server.stop();
    run(kiln().arg("check").arg(&place.brick));
}

/// A process that ends without a word takes along what is on its way, and so does every stock brick. What can be sent again
/// is: reads, looks, synced writes. A change of names may have happened or not, and the application has to hear of it: at
/// most one for each of its threads and each end.
fn only_changes_failed(seen: &Seen, ends: usize) {
    for (work, errors) in &seen.errors {
        let known = matches!(work.as_str(), "change" | "drop") && errors.len() <= ends;
        assert!(known && errors.iter().all(|errno| *errno == NOT_CONNECTED), "{work}: {errors:?}");
    }
}

#[test]
fn applications_see_a_pause_while_kiln_and_stock_take_turns() {
    let place = Place::new();
    let mut server = place.kiln(&[]);
    let client = place.mount("client");
    let mut application = Application::start(&place.scratch, client.mnt());
    for turn in 0..2 {
        application.goes_on();
        let before = application.seen().errors;
        server.stop();
        let stock = StockServer::new(&place.scratch, &place.brick, place.port);
        application.goes_on();
        assert_eq!(application.seen().errors, before, "from Kiln to stock there is no error at all");
        let mark = client.mnt().join(format!("by-stock-{turn}"));
        fs::write(&mark, "stock").unwrap();
        stock.stop();
        server = place.kiln(&[]);
        application.goes_on();
        assert_eq!(fs::read(&mark).unwrap(), b"stock");
    }
    only_changes_failed(&application.ends(client.mnt(), &place.brick), 2);
    drop(client);
    server.stop();
    mend_after_stock(&place.brick, 2);
}

/// Stock removes a handle before the name (`posix_unlink_gfid_handle_and_entry`), and makes a file before it has a gfid
/// (`posix_create`, `posix_mknod`), so that one that ends in between leaves a name without the one or the other: at most one
/// each time here for each of the two threads that make and remove names. Nothing else is wrong.
fn mend_after_stock(brick: &Path, ends: usize) {
    let checked = kiln().args(["check", "--json"]).arg(brick).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&checked.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let known =
        findings.iter().all(|finding| ["no-handle", "no-gfid"].iter().any(|kind| finding["kind"] == *kind));
    assert!(known && findings.len() <= 2 * ends, "{report:#}");
    run(kiln().args(["check", "--repair"]).arg(brick));
    run(kiln().arg("check").arg(brick));
}

#[test]
fn applications_see_a_pause_while_kiln_is_killed_and_started() {
    let place = Place::new();
    let mut server = place.kiln(&[]);
    let client = place.mount("client");
    let mut application = Application::start(&place.scratch, client.mnt());
    for _ in 0..2 {
        application.goes_on();
        server.kill();
        server = place.kiln(&[]);
    }
    application.goes_on();
    only_changes_failed(&application.ends(client.mnt(), &place.brick), 2);
    drop(client);
    server.stop();
    run(kiln().arg("check").arg(&place.brick));
}

/// Makes a directory; the status is the errno.
const MAKE: &str = "import os, sys\ntry: os.mkdir(sys.argv[1])\nexcept OSError as e: sys.exit(e.errno)";

#[test]
fn an_absence_is_a_pause_or_an_error_as_it_was_chosen() {
    let place = Place::new();
    let make = |client: &StockClient, name: &str| {
        let mut command = Command::new("python3");
        command.args(["-c", MAKE]).arg(client.mnt().join(name)).spawn().unwrap()
    };
    let server = place.kiln(&["--no-client-pause"]);
    let client = place.mount("client");
    server.stop();
    assert_eq!(make(&client, "dir").wait().unwrap().code(), Some(NOT_CONNECTED));
    let server = place.kiln(&["--no-client-pause"]);
    wait_for("the client to be back", Duration::from_secs(15), || {
        make(&client, "dir").wait().unwrap().success()
    });
    drop(client);
    server.stop();
    let server = place.kiln(&[]);
    let (client, given_up) = (place.mount("client-2"), place.mount("client-3"));
    server.stop();
    let (mut waits, mut in_vain) = (make(&client, "dir-2"), make(&given_up, "dir-3"));
    thread::sleep(Duration::from_secs(8));
    assert!(waits.try_wait().unwrap().is_none() && in_vain.try_wait().unwrap().is_none());
    // Whoever does not want to wait any more takes the mount away: it is busy, and ends its requests.
    let _ = Command::new("umount").arg("-f").arg(given_up.mnt()).output().unwrap();
    assert!(!in_vain.wait().unwrap().success());
    let server = place.kiln(&[]);
    assert!(waits.wait().unwrap().success());
    assert!(place.brick.join("dir-2").exists() && !place.brick.join("dir-3").exists());
    drop((client, given_up));
    server.stop();
}
