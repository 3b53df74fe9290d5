//! The POSIX conformance suite on a mount.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::support::{KilnMount, KilnServer, Scratch, StockClient, StockServer, free_port, text};

/// Time stamps of the backing file system move every 4 ms (HZ=250) at worst; the tests sleep this long between two.
const CONFIG: &str = r#"
[features]
posix_fallocate = {}
rename_ctime = {}
utimensat = {}
utime_now = {}

[settings]
naptime = 0.02
allow_remount = false

[dummy_auth]
entries = [["nobody", "nogroup"], ["daemon", "daemon"]]
"#;

/// What fails under the stock FUSE client with nothing above `protocol/client`, served by `glusterfsd` 10.3 (the Debian
/// package 10.3-5) from ext4. [`stock_fails_what_is_recorded`] runs the suite there and compares.
/// Besides, all cases of `enametoolong_path` fail there where the name of the mount point is short; Kiln passes them.
const STOCK: &[&str] = &["utimensat::nobody", "utimensat::write_perm"];
/// What fails besides with the layers of a volume above: their caches show times that have passed.
const STOCK_VOLUME: &[&str] = &[
    "posix_fallocate::update_ctime_success",
    "rename::to_multiply_linked::block",
    "rename::to_multiply_linked::char",
    "rename::to_multiply_linked::fifo",
    "rename::to_multiply_linked::regular",
    "rename::to_multiply_linked::socket",
];
/// What fails of [`STOCK`] whoever the brick is: the client's own layer of `--acl` answers it. Without `--acl` it passes on
/// Kiln.
const KILN: &[&str] = &["utimensat::nobody"];
/// Tests of the suite that a file system of the kind passes, at least.
const MOST: u32 = 382;

/// What the suite found.
struct Outcome {
    failed: BTreeSet<String>,
    passed: u32,
    said: String,
}

fn suite(scratch: &Scratch, mnt: &Path) -> Outcome {
    let config = scratch.join("pjdfstest.toml");
    std::fs::write(&config, CONFIG).unwrap();
    let program = std::env::var_os("PJDFSTEST").unwrap_or_else(|| "pjdfstest".into());
    let output = Command::new(program)
        .arg("-c")
        .arg(&config)
        .arg("-p")
        .arg(mnt)
        .output()
        .expect("pjdfstest; tests/run.sh installs it");
    let said = text(&output);
    let summary = said
        .lines()
        .find(|line| line.starts_with("Summary:"))
        .unwrap_or_else(|| panic!("no summary:\n{said}"));
    println!("{summary}");
    let number = |of: &str| {
        summary.split([':', ',']).find_map(|part| part.trim().strip_suffix(of)?.trim().parse().ok())
    };
    let failed: BTreeSet<String> = said
        .lines()
        .filter_map(|line| line.trim_end().strip_suffix("FAILED"))
        .map(|name| name.trim().to_owned())
        .collect();
    assert_eq!(number("failed"), u32::try_from(failed.len()).ok(), "{summary}\n{said}");
    Outcome { failed, passed: number("passed").unwrap_or(0), said }
}

#[test]
fn no_test_fails() {
    let scratch = Scratch::new();
    let mount = KilnMount::new(&scratch.brick(), &scratch.mnt());
    let outcome = suite(&scratch, &scratch.mnt());
    assert!(outcome.failed.is_empty(), "{:?}\n{}", outcome.failed, outcome.said);
    // Native ext4 passes 383; one test is skipped where the kernel tells no limit of links. A suite that skips everything
    // passes nothing.
    assert!(outcome.passed >= MOST, "{} passed", outcome.passed);
    mount.stop();
}

/// The stock client with nothing above the protocol, and with the layers of a volume; what fails by that.
fn clients(scratch: &Scratch, port: u16) -> [(StockClient, &'static [&'static str]); 2] {
    let brick = scratch.brick();
    [
        (StockClient::of_brick(scratch, "bare", &brick, port), &[]),
        (StockClient::of_graph(scratch, "volume", &brick, port), STOCK_VOLUME),
    ]
}

#[test]
fn no_test_fails_that_passes_with_the_stock_brick() {
    let scratch = Scratch::new();
    let server = KilnServer::new(&scratch, &scratch.brick());
    for (client, more) in clients(&scratch, server.port) {
        let outcome = suite(&scratch, client.mnt());
        let known: BTreeSet<&str> = KILN.iter().chain(more).copied().collect();
        let new: Vec<_> = outcome.failed.iter().filter(|name| !known.contains(name.as_str())).collect();
        assert!(new.is_empty(), "{new:?} under {}\n{}", client.mnt().display(), outcome.said);
        assert!(known.iter().all(|name| STOCK.contains(name) || STOCK_VOLUME.contains(name)));
        assert!(outcome.passed as usize + outcome.failed.len() >= MOST as usize, "{} passed", outcome.passed);
    }
    server.stop();
}

/// Where the lists come from: run it on another release of GlusterFS, another kernel or another file system.
#[test]
#[ignore = "it is about GlusterFS, not Kiln"]
fn stock_fails_what_is_recorded() {
    let scratch = Scratch::new();
    let port = free_port();
    let server = StockServer::new(&scratch, &scratch.brick(), port);
    for (client, more) in clients(&scratch, port) {
        let mut failed = suite(&scratch, client.mnt()).failed;
        failed.retain(|name| !name.ends_with("::enametoolong_path"));
        let known: BTreeSet<&str> = STOCK.iter().chain(more).copied().collect();
        assert!(failed.iter().eq(known.iter()), "{}: {failed:#?}", client.mnt().display());
    }
    server.stop();
}
