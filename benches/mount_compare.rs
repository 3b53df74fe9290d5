//! Two mounted directories side by side: stat, 4 KiB random reads past the page cache, create + unlink.
//!
//! The rounds alternate between the two, so that whatever else the machine does hits both. Used by
//! `perf-scripts/mount.sh`, which mounts a Kiln brick and a classic FUSE passthrough over the same file system:
//!
//! ```text
//! cargo bench --bench mount_compare -- --a NAME DIR PID --b NAME DIR PID [--rounds N] [--seconds S] [--json FILE]
//! ```
//!
//! PID is the process that serves the mount; its CPU time per operation is read from `/proc`.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// One of the two.
struct Side {
    name: String,
    dir: PathBuf,
    pid: u32,
}

/// What one round measured.
#[derive(Clone, Copy)]
struct Round {
    /// Operations per second.
    rate: f64,
    /// Microseconds of the server's CPU per operation.
    server_us: f64,
}

const FILE_BYTES: u64 = 64 << 20;
const FILES: u64 = 1000;
/// `O_DIRECT`: reads go to the server, not to the client's page cache.
const O_DIRECT: i32 = 0o40_000;

fn main() {
    let mut sides = Vec::new();
    let (mut rounds, mut seconds, mut json) = (7, 1.0, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_else(|| usage());
        match argument.as_str() {
            "--a" | "--b" => {
                let (name, dir, pid) = (value(), value().into(), value().parse().unwrap_or_else(|_| usage()));
                sides.push(Side { name, dir, pid });
            }
            "--rounds" => rounds = value().parse().unwrap_or_else(|_| usage()),
            "--seconds" => seconds = value().parse().unwrap_or_else(|_| usage()),
            "--json" => json = Some(value()),
            // What `cargo bench` adds.
            "--bench" => {}
            _ => usage(),
        }
    }
    if sides.is_empty() {
        println!("mount_compare: no mounts given; run perf-scripts/mount.sh");
        return;
    }
    let [a, b] = sides.try_into().unwrap_or_else(|_| usage());
    let mut report = Vec::new();
    println!(
        "{:<16} {:>24} {:>24} {:>7} {:>15} {:>10}",
        "", a.name, b.name, "ratio", "[min..max]", "CPU ratio"
    );
    for workload in [Workload::Stat, Workload::Read, Workload::CreateUnlink] {
        for side in [&a, &b] {
            workload.prepare(&side.dir);
        }
        let mut results = Vec::new();
        // The first round warms up and is dropped.
        for round in 0..=rounds {
            let order = if round % 2 == 0 { [&a, &b] } else { [&b, &a] };
            let mut pair = order.map(|side| workload.measure(side, Duration::from_secs_f64(seconds)));
            if round % 2 == 1 {
                pair.swap(0, 1);
            }
            if round > 0 {
                results.push(pair);
            }
        }
        report.push(print_row(workload, &results));
        for side in [&a, &b] {
            let _ = fs::remove_dir_all(side.dir.join("bench"));
        }
    }
    if let Some(path) = json {
        fs::write(&path, format!("[{}]\n", report.join(",\n ")))
            .unwrap_or_else(|error| panic!("{path}: {error}"));
    }
}

fn usage() -> ! {
    eprintln!(
        "usage: mount_compare --a NAME DIR PID --b NAME DIR PID [--rounds N] [--seconds S] [--json FILE]"
    );
    std::process::exit(2)
}

#[derive(Clone, Copy, Debug)]
enum Workload {
    Stat,
    Read,
    CreateUnlink,
}

impl Workload {
    fn name(self) -> &'static str {
        match self {
            Self::Stat => "stat",
            Self::Read => "4 KiB read",
            Self::CreateUnlink => "create+unlink",
        }
    }

    fn prepare(self, dir: &Path) {
        let dir = dir.join("bench");
        fs::create_dir_all(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        match self {
            Self::Stat => (0..FILES).for_each(|index| drop(File::create(dir.join(format!("f{index}"))))),
            Self::Read => {
                let file = File::create(dir.join("data")).expect("the file to read");
                let block = vec![0x5a; 1 << 20];
                (0..FILE_BYTES >> 20)
                    .for_each(|at| file.write_all_at(&block, at << 20).expect("room for the file to read"));
                file.sync_all().expect("a synced file");
            }
            Self::CreateUnlink => {}
        }
    }

    fn measure(self, side: &Side, time: Duration) -> Round {
        let dir = side.dir.join("bench");
        let cpu = cpu_ns(side.pid);
        let start = Instant::now();
        let mut count = 0_u64;
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        match self {
            Self::Stat => {
                let paths: Vec<_> = (0..FILES).map(|index| dir.join(format!("f{index}"))).collect();
                while start.elapsed() < time {
                    for _ in 0..16 {
                        fs::symlink_metadata(&paths[(next(&mut random) % FILES) as usize]).expect("stat");
                        count += 1;
                    }
                }
            }
            Self::Read => {
                let file = OpenOptions::new()
                    .read(true)
                    .custom_flags(O_DIRECT)
                    .open(dir.join("data"))
                    .expect("open");
                let mut memory = vec![0_u8; 8192];
                let at = memory.as_ptr().align_offset(4096);
                while start.elapsed() < time {
                    for _ in 0..16 {
                        let offset = next(&mut random) % (FILE_BYTES / 4096) * 4096;
                        file.read_exact_at(&mut memory[at..at + 4096], offset).expect("read");
                        count += 1;
                    }
                }
            }
            Self::CreateUnlink => {
                while start.elapsed() < time {
                    let path = dir.join(format!("new{count}"));
                    drop(File::create_new(&path).expect("create"));
                    fs::remove_file(&path).expect("unlink");
                    count += 1;
                }
            }
        }
        let elapsed = start.elapsed();
        let used = cpu_ns(side.pid).saturating_sub(cpu);
        Round {
            rate: count as f64 / elapsed.as_secs_f64(),
            server_us: used as f64 / 1000.0 / count.max(1) as f64,
        }
    }
}

fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// CPU time of all threads of a process, in nanoseconds.
fn cpu_ns(pid: u32) -> u64 {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    tasks
        .flatten()
        .filter_map(|task| {
            fs::read_to_string(task.path().join("schedstat")).ok()?.split(' ').next()?.parse::<u64>().ok()
        })
        .sum()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn print_row(workload: Workload, results: &[[Round; 2]]) -> String {
    let rate = |side: usize| median(results.iter().map(|pair| pair[side].rate).collect());
    let server = |side: usize| median(results.iter().map(|pair| pair[side].server_us).collect());
    let ratios: Vec<f64> = results.iter().map(|pair| pair[0].rate / pair[1].rate).collect();
    let ratio = median(ratios.clone());
    let (low, high) =
        ratios.iter().fold((f64::MAX, 0.0_f64), |(low, high), ratio| (low.min(*ratio), high.max(*ratio)));
    let cell = |side: usize| format!("{:.0}/s {:.1} µs CPU", rate(side), server(side));
    println!(
        "{:<16} {:>24} {:>24} {:>7.2} {:>15} {:>10.2}",
        workload.name(),
        cell(0),
        cell(1),
        ratio,
        format!("[{low:.2}..{high:.2}]"),
        server(0) / server(1).max(0.001)
    );
    let mut json = String::new();
    let _ = write!(
        json,
        r#"{{"workload":"{}","a_per_second":{:.1},"b_per_second":{:.1},"a_server_us":{:.2},"b_server_us":{:.2},"ratio":{ratio:.3},"min":{low:.3},"max":{high:.3}}}"#,
        workload.name(),
        rate(0),
        rate(1),
        server(0),
        server(1)
    );
    json
}
