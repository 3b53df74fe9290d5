//! `kiln load`

use std::fs::File;
use std::io::{BufWriter, IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::cli::{LoadArgs, LoadTarget};
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::load::{self, LoadConfig, Plan, Results, Setup, Where, Workload};

/// Smallest and largest buffer for what comes on one connection, in bytes.
const INBOX: std::ops::RangeInclusive<usize> = (16 << 10)..=(1 << 20);
/// Bytes of a reply besides the block.
const REPLY: usize = 512;

/// Runs the load and tells what came out.
pub fn run(args: &LoadArgs) -> Outcome {
    crate::boot::raise_limits();
    let config = config(args)?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // A second one does what it always does.
        let default = signal_hook::flag::register_conditional_default(signal, Arc::clone(&stop));
        default
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .map_err(|error| Failure::new(Exit::General, "signals cannot be handled").because(&error))?;
    }
    let results = load::run(&config, stop).map_err(|why| {
        let failure = Failure::new(Exit::General, "the load did not run to its end").reason(why);
        match args.target {
            LoadTarget::Brick(..) => failure.next("The log of the brick may say more."),
            LoadTarget::Mount(_) => {
                failure.next("The log of the process that serves the mount may say more.")
            }
        }
    })?;
    tell(args, &results)?;
    match results.complaint() {
        None => Ok(()),
        Some(complaint) => Err(Failure::new(Exit::Findings, complaint)),
    }
}

fn tell(args: &LoadArgs, results: &Results) -> Outcome {
    if let Some(path) = &args.hdr {
        let write = |mut file: BufWriter<File>| {
            load::log(results, &mut file)?;
            file.flush()
        };
        File::create(path).map(BufWriter::new).and_then(write).map_err(|error| unwritten(path, &error))?;
    }
    match args.json.as_deref() {
        Some(path) if path == Path::new("-") => return super::print_json(results),
        Some(path) => {
            let mut text = serde_json::to_string_pretty(results).map_err(std::io::Error::from);
            if let Ok(text) = &mut text {
                text.push('\n');
            }
            text.and_then(|text| std::fs::write(path, text)).map_err(|error| unwritten(path, &error))?;
        }
        None => {}
    }
    super::print(&load::table(results))
}

fn unwritten(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::General, format!("{} cannot be written", path.display())).because(error)
}

/// What is to be run, if it makes sense.
fn config(args: &LoadArgs) -> Outcome<LoadConfig> {
    let usage = |what: String| Failure::new(Exit::Usage, what);
    let time = Duration::from_secs_f64;
    let brick = matches!(args.target, LoadTarget::Brick(..));
    let threads = usize::from(args.threads);
    let connections = match args.connections {
        Some(_) if !brick => {
            return Err(usage("--connections is for bricks; a mount has --threads".to_owned()));
        }
        Some(given) => given as usize,
        None => threads,
    };
    if connections < threads {
        return Err(usage(format!("{threads} threads have nothing to do with {connections} connections")));
    }
    let depth = args.depth.map_or(if brick { 32 } else { 1 }, usize::from);
    let block = args.block;
    if args.verify && !args.workload.has_blocks() {
        return Err(usage(format!("{} moves no data that --verify could check", args.workload.name())));
    }
    if args.verify && block < load::SMALLEST_BLOCK {
        return Err(usage(format!("--verify needs blocks of at least {} bytes", load::SMALLEST_BLOCK)));
    }
    if args.direct && !block.is_multiple_of(512) {
        return Err(usage("--direct needs blocks that are a multiple of 512 bytes".to_owned()));
    }
    let file_size = args.file_size / block as u64 * block as u64;
    let needs = args.workload.needs();
    if needs.data && file_size == 0 {
        return Err(usage("a file is smaller than a block".to_owned()));
    }
    let plan = Plan {
        workload: args.workload,
        block,
        depth,
        connections,
        threads,
        files: args.files.unwrap_or(args.workload.usual_files()),
        file_size,
        entries: args.entries,
        distribution: args.distribution,
        rate: args.rate,
        warmup: time(args.warmup.unwrap_or(if counted(args) { 0.0 } else { 1.0 })),
        duration: time(args.seconds),
        count: args.count,
        seed: args.seed,
        verify: args.verify,
        direct: args.direct,
        keep: args.keep,
        reuse: args.reuse,
        intervals: args.hdr.is_some(),
    };
    if plan.verify && needs.data && plan.blocks() < plan.workers() {
        let (blocks, workers) = (plan.blocks(), plan.workers());
        return Err(usage(format!(
            "--verify needs a block for each of {workers} workers; there are {blocks}"
        )));
    }
    let target = match &args.target {
        LoadTarget::Mount(dir) => Where::Mount(dir.clone()),
        LoadTarget::Brick(peer, name) => Where::Brick {
            setup: Setup {
                peer: peer.clone(),
                bricks: Vec::new(),
                login: args.user.clone().zip(args.password.clone()),
                timeout: time(args.timeout),
                inbox: (depth * (block + REPLY)).clamp(*INBOX.start(), *INBOX.end()),
            },
            name: name.clone(),
        },
    };
    let progress = !args.no_progress && std::io::stderr().is_terminal();
    Ok(LoadConfig { target, plan, pid: args.pid, progress })
}

/// Whether the load ends by itself, so that nothing is to be lost before it counts.
fn counted(args: &LoadArgs) -> bool {
    args.count.is_some() || args.workload == Workload::Unlink
}
