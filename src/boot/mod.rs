//! A brick from start to end.
//!
//! Start: check what can be checked without changing anything; claim the name; open the graph's layers; start the cores with
//! a graph on each; listen on the control socket; mount. Whatever fails undoes what was done before it.
//!
//! End: take the mount down, so that no request comes any more; let those in flight end; stop the layers; stop the cores.
//!
//! A graph that has failed ends the process, too, after a while ([`failing`]).
//!
//! A panic inside a task ends that task only (the engine logs and drops it, and the client gets EIO). When a core's thread
//! itself dies, the process ends at once with [`Exit::CoreLost`]: what one core owns no other can serve.

mod brick;
pub mod cores;
mod daemon;
mod failing;
mod limits;
mod plan;
pub mod serve;
mod signals;

pub use limits::raise as raise_limits;

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use kiln_uring::{EngineConfig, Sys, host};
use kiln_xlators::graph::Blueprint;
use kiln_xlators::mount::fuse::{self, Mount, MountError, Unmounted};
use kiln_xlators::volfile::Volfile;

use crate::cli::{LogArgs, MountArgs};
use crate::control::gather;
use crate::control::place::Claim;
use crate::control::protocol::About;
use crate::control::server;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::logging::{self, Log};
use crate::metrics;
use brick::BrickDir;
use cores::{Cores, Hooks};
use plan::{Source, Wanted};
use signals::Event;

pub use plan::print_findings;

/// The mount point while something is mounted there, for those who cannot end in order.
static MOUNTED: OnceLock<PathBuf> = OnceLock::new();

/// Takes the mount out of the tree of names, so that nobody new runs into a dead server. For ends without order.
pub fn abandon_mount() {
    if let Some(path) = MOUNTED.get() {
        // It may be gone already; the process ends in any case.
        let _ = host::unmount(path, true);
    }
}

/// `kiln mount`: returns when the brick has been stopped.
pub fn run(args: &MountArgs, detached: bool) -> Outcome {
    let source = Source::of(args.brick.as_deref(), args.volfile.as_deref())?;
    let (name, socket) =
        plan::name_and_socket(args.name.as_deref(), args.control_socket.as_deref(), &source)?;
    if args.daemon && !detached {
        return daemon::launch();
    }
    let log = settle(&args.log, &name, detached)?;
    // First of all, so that a Ctrl-C from here on undoes what has been done.
    let (events, inbox) = signals::catch()?;
    let running = Running::start(args, &source, name, &socket)?;
    if let Err(failure) = if detached { daemon::ready() } else { Ok(()) } {
        return running.stop().and(Err(failure));
    }
    failing::watch(&running.cores, events.clone());
    let mount = running.mount.clone();
    let watch = move || {
        mount.wait();
        // Nobody listens any more when the unmount was our own.
        let _ = events.send(Event::Unmounted);
    };
    if let Err(error) = std::thread::Builder::new().name("kiln-mount".into()).spawn(watch) {
        let failure = Failure::new(Exit::Mount, "the mount cannot be watched").because(&error);
        return running.stop().and(Err(failure));
    }
    let failure = follow(failing::Inbox::new(inbox, plan::failure_grace(&args.engine)), || {
        log.reopen();
        reload(&source, &running.cores);
    });
    conclude(failure, running.stop())
}

/// Serves until somebody stops it, its mount is gone, or its brick has failed, which is the answer then.
fn follow(mut inbox: failing::Inbox, reload: impl Fn()) -> Option<Failure> {
    while let Some(event) = inbox.next() {
        match event {
            Event::Reload => reload(),
            Event::Stop(signal) => {
                tracing::info!(signal, "stopping");
                break;
            }
            Event::Unmounted => {
                tracing::info!("unmounted from outside, stopping");
                break;
            }
            // The inbox keeps it to itself.
            Event::Failed(_) => {}
        }
    }
    inbox.failure()
}

/// How the process ends: because of what has failed, or else as well as it could be stopped.
fn conclude(failure: Option<Failure>, stopped: Outcome) -> Outcome {
    let Some(failure) = failure else { return stopped };
    if let Err(worse) = stopped {
        tracing::warn!("the end of the failed brick: {worse}");
    }
    Err(failure)
}

/// Makes the process what a server is: logs, its own session for a daemon, high limits.
fn settle(args: &LogArgs, name: &str, detached: bool) -> Outcome<Log> {
    let log_file = match &args.log_file {
        None if detached => Some(plan::daemon_log(name)),
        given => given.as_ref().and_then(|path| std::path::absolute(path).ok()),
    };
    let log = Log::start(args, log_file)?;
    logging::log_panics();
    if detached {
        daemon::detach();
    }
    limits::raise();
    Ok(log)
}

/// Opens the layers of a graph and starts the cores with it. A directory that became a brick just now stays one.
fn open_graph(
    volfile: &Volfile,
    brick: Option<&mut BrickDir>,
    engine: EngineConfig,
    sys: Arc<dyn Sys>,
    hooks: Hooks,
) -> Outcome<(Arc<Blueprint>, Cores)> {
    let blueprint = Blueprint::new(volfile, &sys, engine.cores).map_err(|error| {
        Failure::new(Exit::Brick, "a layer of the graph refused to start").because(&error)
    })?;
    if let Some(brick) = brick {
        brick.keep();
    }
    let cores = Cores::start(engine, sys, Arc::clone(&blueprint), hooks)?;
    Ok((blueprint, cores))
}

/// Stops the cores again, because of `failure`.
fn undo(cores: Cores, failure: Failure) -> Failure {
    match cores.stop(Duration::ZERO) {
        Ok(_) => failure,
        Err(worse) => worse,
    }
}

/// Answers `kiln stats` and `kiln dump`, and scrapers of metrics, from now on.
fn answer(listener: UnixListener, scrapers: Option<TcpListener>, source: gather::Source) -> Outcome {
    let source = Arc::new(source);
    server::start(listener, Arc::clone(&source))
        .map_err(|error| Failure::new(Exit::Control, "the control socket has no thread").because(&error))?;
    scrapers
        .map_or(Ok(()), |scrapers| metrics::start(scrapers, source))
        .map_err(|error| Failure::new(Exit::Listen, "metrics cannot be served").because(&error))
}

/// Reads the volfile again. Whatever is wrong with it, the brick goes on with what it has.
fn reload(source: &Source, cores: &Cores) {
    let Source::Volfile(path) = source else {
        tracing::info!("no volfile to read again; the log file is open anew");
        return;
    };
    match plan::reload_volfile(path).and_then(|volfile| cores.reconfigure(&volfile)) {
        Ok(changes) if changes.is_empty() => {
            tracing::info!("the options of {} are in force; none has changed", path.display());
        }
        Ok(changes) => {
            tracing::info!("the options of {} are in force; changed: {}", path.display(), changes.join(", "));
        }
        Err(reason) => tracing::error!(
            "{} is not taken over, and the old options stay in force: {reason}",
            path.display()
        ),
    }
}

/// A brick that serves.
struct Running {
    mount: Mount,
    cores: Cores,
    claim: Claim,
    drain: Duration,
}

impl Running {
    fn start(args: &MountArgs, source: &Source, name: String, socket: &Path) -> Outcome<Self> {
        let began = Instant::now();
        let sys = plan::kernel();
        let scrapers = args.metrics.metrics.map(metrics::bind).transpose()?;
        // Nothing is changed before this line has passed …
        let claim = Claim::new(socket)?;
        let (volfile, mut brick, mountpoint) = match source {
            Source::Volfile(path) => {
                let volfile = plan::load_volfile(path)?;
                let mut mountpoint = plan::mountpoint(args, None)?;
                for brick in plan::bricks_of(&volfile) {
                    mountpoint = plan::mountpoint(args, Some(&brick))?;
                }
                (volfile, None, mountpoint)
            }
            Source::Brick(dir) => {
                let resolved = std::fs::canonicalize(dir).unwrap_or_else(|_| dir.clone());
                let mountpoint = plan::mountpoint(args, Some(&resolved))?;
                check_mount(&mountpoint)?;
                let brick = BrickDir::open(dir, args.init, &sys)?;
                let wanted = Wanted { read_only: args.read_only, acl: !args.fuse.no_acl, served: false };
                (plan::embedded(&brick, wanted)?, Some(brick), mountpoint)
            }
        };
        check_mount(&mountpoint)?;
        // … and a fresh directory goes back to what it was unless this one passes.
        let config = plan::engine_config(&args.engine);
        let hooks = Hooks { install: fuse::install, uninstall: fuse::uninstall };
        let (blueprint, cores) = open_graph(&volfile, brick.as_mut(), config, sys, hooks)?;
        let drain = plan::drain(&args.engine);
        let listener = match claim.listen() {
            Ok(listener) => listener,
            Err(failure) => return Err(undo(cores, failure)),
        };
        let remotes = cores.remotes().to_vec();
        let mount = match Mount::start(plan::mount_config(args, mountpoint.clone(), source), &remotes) {
            Ok(mount) => mount,
            Err(error) => return Err(undo(cores, mount_failed(&error))),
        };
        // Only one brick lives in a process, so this is the first and only value.
        let _ = MOUNTED.set(mountpoint.clone());
        let about = About {
            name,
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            mountpoint: mountpoint.display().to_string(),
            source: source.path().display().to_string(),
            cores: remotes.len(),
            uptime_s: 0.0,
            silent_cores: Vec::new(),
        };
        let cores_count = remotes.len();
        let gathered = gather::Source {
            about,
            since: Instant::now(),
            blueprint,
            remotes,
            tables: tables_of(mount.clone()),
        };
        let running = Self { mount, cores, claim, drain };
        if let Err(failure) = answer(listener, scrapers, gathered) {
            return running.stop().and(Err(failure));
        }
        tracing::info!(
            mountpoint = %mountpoint.display(),
            source = %source.path().display(),
            cores = cores_count,
            control = %running.claim.socket().display(),
            "serving after {} ms",
            began.elapsed().as_millis()
        );
        Ok(running)
    }

    fn stop(self) -> Outcome {
        let Self { mount, cores, claim, drain } = self;
        let unmounted = mount.unmount();
        // The mount has waited for its requests already; what is in flight now is the layers' own.
        let clean = cores.stop(drain)?;
        let unmounted = unmounted.map_err(|error| {
            Failure::new(Exit::Mount, "the mount could not be taken down").because(&error)
        })?;
        if !clean || matches!(unmounted, Unmounted::Undrained(_)) {
            return Err(Failure::new(Exit::CutOff, "requests had to be cut off")
                .next("A longer --drain gives them more time; `kiln dump` shows what they wait for."));
        }
        tracing::info!("stopped");
        // Last, so that whoever sees it let go finds the log whole.
        drop(claim);
        Ok(())
    }
}

/// Everything about the mount that can be found out without mounting.
fn check_mount(mountpoint: &Path) -> Outcome {
    let mut checked = fuse::check_mountpoint(mountpoint);
    if matches!(checked, Err(MountError::Stale { .. })) && clear_stale(mountpoint) {
        checked = fuse::check_mountpoint(mountpoint);
    }
    checked.map_err(|error| mount_failed(&error))?;
    if !Path::new("/dev/fuse").exists() {
        return Err(mount_failed(&MountError::NoFuse));
    }
    Ok(())
}

/// Takes away what a Kiln that was killed has left, so that a service manager can start it again. Other servers' dead mounts
/// are their operators' business.
fn clear_stale(mountpoint: &Path) -> bool {
    let is_ours = host::mounted_on(mountpoint).is_some_and(|entry| entry.kind == "fuse.kiln");
    if is_ours {
        tracing::warn!("{} is the mount of a Kiln that is gone: clearing it", mountpoint.display());
    }
    is_ours && host::unmount(mountpoint, true).is_ok()
}

fn tables_of(mount: Mount) -> Box<dyn Fn() -> serde_json::Value + Send + Sync> {
    Box::new(move || {
        let view = mount.view();
        serde_json::json!({ "objects": view.nodes, "open": view.open, "in_flight": view.in_flight, "over_io_uring": view.over_ring })
    })
}

fn mount_failed(error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::new(Exit::Mount, "the mount failed").because(error)
}
