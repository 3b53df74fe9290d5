//! What `kiln load` itself costs, on a bare server: the least that a brick can be.
//!
//! ```text
//! cargo bench --bench bare                                             the table
//! cargo bench --bench bare -- --listen 127.0.0.1:5000 --file FILE      the server alone, for other measurements
//! ```
//!
//! The server has the last CPU for itself, the load the first.

#![allow(missing_docs, reason = "a bench")]

#[path = "../uring/benches/bare/mod.rs"]
mod bare;

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::net::TcpListener;
use std::process::Command;
use std::thread;

use rustix::thread::{CpuSet, sched_setaffinity};

/// Seconds of one measurement.
const SECONDS: &str = "3";
/// Bytes of the file that is read.
const SIZE: &str = "64M";
/// Depths and blocks that are measured.
const ROWS: [(u32, &str); 5] = [(1, "4k"), (32, "4k"), (128, "4k"), (128, "512"), (4, "1M")];

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = args.iter().position(|arg| arg == name)?;
        args.get(at + 1).map(String::as_str)
    };
    if args.iter().any(|arg| arg == "--test") {
        return Ok(());
    }
    if let Some(address) = value("--listen") {
        let path = value("--file").ok_or("--listen needs --file")?;
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let listener = TcpListener::bind(address)?;
        eprintln!("a bare server with {path} listens at {}", listener.local_addr()?);
        return Ok(bare::serve(&listener, &file)?);
    }
    measure()
}

fn cpus() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn measure() -> Result<(), Box<dyn Error>> {
    let file: File = tempfile::tempfile_in("/dev/shm")?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    thread::spawn(move || {
        let mut last = CpuSet::new();
        last.set(cpus() - 1);
        let served = sched_setaffinity(None, &last).map_err(Into::into);
        if let Err(error) = served.and_then(|()| bare::serve(&listener, &file)) {
            eprintln!("the bare server failed: {error}");
            std::process::exit(1);
        }
    });
    println!(
        "{:>6}{:>7}{:>12}{:>10}{:>10}{:>20}{:>20}",
        "depth", "block", "reads/s", "p50 µs", "p99 µs", "load CPU, µs/read", "server CPU, µs/read"
    );
    for (depth, block) in ROWS {
        let output = Command::new("taskset")
            .args(["-c", "0", env!("CARGO_BIN_EXE_kiln"), "load", "--workload", "read", "--no-progress"])
            .args(["--depth", &depth.to_string(), "--block", block, "--files", "1", "--file-size", SIZE])
            .args(["--seconds", SECONDS, "--json", "-", &address])
            .output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        let json: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let number = |path: &str| json.pointer(path).and_then(serde_json::Value::as_f64).unwrap_or(f64::NAN);
        println!(
            "{depth:>6}{block:>7}{:>12.0}{:>10.1}{:>10.1}{:>20.2}{:>20.2}",
            number("/total/rate"),
            number("/operations/0/latency_ns/p50") / 1e3,
            number("/operations/0/latency_ns/p99") / 1e3,
            number("/self/cpu_ns_per_op") / 1e3,
            number("/brick/cpu_ns_per_op") / 1e3,
        );
    }
    Ok(())
}
