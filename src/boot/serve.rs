//! A brick for clients of the network, from start to end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kiln_xlators::protocol::server::{self as door, ServeConfig, ServeError, Server};
use kiln_xlators::volfile::Volfile;

use super::brick::BrickDir;
use super::cores::{Cores, Hooks};
use super::limits;
use super::plan::{self, Source, Wanted};
use super::signals;
use super::{answer, conclude, daemon, failing, follow, open_graph, reload, settle, undo};
use crate::cli::ServeArgs;
use crate::control::gather;
use crate::control::place::Claim;
use crate::control::protocol::About;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::metrics;

/// `kiln serve`: returns when the brick has been stopped.
pub fn run(args: &ServeArgs, detached: bool) -> Outcome {
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
    failing::watch(&running.cores, events);
    let failure = follow(failing::Inbox::new(inbox, plan::failure_grace(&args.engine)), || {
        log.reopen();
        match &running.embedded {
            Some(volfile) => renew(volfile, &running.cores),
            None => reload(&source, &running.cores),
        }
    });
    conclude(failure, running.stop())
}

/// Reads the certificates again, of a brick that has them and no volfile.
fn renew(volfile: &Volfile, cores: &Cores) {
    match cores.reconfigure(volfile) {
        Ok(_) => tracing::info!("certificates were read again, for new connections"),
        Err(reason) => tracing::error!("the certificates stay as they are: {reason}"),
    }
}

/// A brick that serves.
struct Running {
    /// What it was started with, if that is in no file but names files.
    embedded: Option<Volfile>,
    server: Arc<Server>,
    cores: Cores,
    claim: Claim,
    drain: Duration,
}

impl Running {
    fn start(args: &ServeArgs, source: &Source, name: String, socket: &Path) -> Outcome<Self> {
        let began = Instant::now();
        let sys = plan::kernel();
        let claim = Claim::new(socket)?;
        let scrapers = args.metrics.metrics.map(metrics::bind).transpose()?;
        let (volfile, mut brick) = match source {
            Source::Volfile(path) => (plan::load_volfile(path)?, None),
            Source::Brick(dir) => {
                let brick = BrickDir::open(dir, args.init, &sys)?;
                let wanted = Wanted { read_only: args.read_only, acl: !args.no_acl, served: true };
                let mut volfile = plan::embedded(&brick, wanted)?;
                plan::encrypt(&mut volfile, &args.tls)?;
                (volfile, Some(brick))
            }
        };
        let listen = match (&args.listen[..], source) {
            ([], Source::Brick(_)) => vec![crate::cli::DEFAULT_LISTEN.into()],
            (given, _) => given.to_vec(),
        };
        let config = ServeConfig {
            listen,
            volumes: volumes(&volfile, &name),
            descriptors: limits::descriptors(),
            client_pause: !args.no_client_pause,
        };
        let hooks = Hooks { install: door::install, uninstall: door::uninstall };
        let engine = plan::engine_config(&args.engine);
        let (blueprint, cores) = open_graph(&volfile, brick.as_mut(), engine, sys, hooks)?;
        let listener = match claim.listen() {
            Ok(listener) => listener,
            Err(failure) => return Err(undo(cores, failure)),
        };
        let remotes = cores.remotes().to_vec();
        let server = match Server::start(&blueprint, config, &remotes) {
            Ok(server) => Arc::new(server),
            Err(error) => return Err(undo(cores, serve_failed(&error))),
        };
        let addresses: Vec<String> = server.addresses().iter().map(ToString::to_string).collect();
        let about = About {
            name,
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            mountpoint: addresses.join(", "),
            source: source.path().display().to_string(),
            cores: remotes.len(),
            uptime_s: 0.0,
            silent_cores: Vec::new(),
        };
        let count = remotes.len();
        let of = Arc::clone(&server);
        let gathered = gather::Source {
            about,
            since: Instant::now(),
            blueprint,
            remotes,
            tables: Box::new(move || serde_json::json!({ "connections": of.connections() })),
        };
        let embedded = args.tls.tls.then_some(volfile);
        let running = Self { embedded, server, cores, claim, drain: plan::drain(&args.engine) };
        if let Err(failure) = answer(listener, scrapers, gathered) {
            return running.stop().and(Err(failure));
        }
        tracing::info!(
            source = %source.path().display(),
            cores = count,
            control = %running.claim.socket().display(),
            "serving after {} ms",
            began.elapsed().as_millis()
        );
        Ok(running)
    }

    fn stop(self) -> Outcome {
        let Self { server, cores, claim, drain, .. } = self;
        let gone = server.stop(drain);
        let clean = cores.stop(drain)?;
        if !clean || !gone {
            return Err(Failure::new(Exit::CutOff, "requests had to be cut off")
                .next("A longer --drain gives them more time; `kiln dump` shows what they wait for."));
        }
        tracing::info!("stopped");
        // Last, so that whoever sees it let go finds the log whole.
        drop(claim);
        Ok(())
    }
}

/// The volumes whose volfiles are handed out: each brick is one. A single one has the name of this server.
fn volumes(volfile: &Volfile, name: &str) -> Vec<(String, String)> {
    let server = volfile.nodes.iter().rev().find(|node| node.kind.text == "protocol/server");
    let bricks: Vec<&str> =
        server.into_iter().flat_map(|node| &node.subvolumes).map(|brick| brick.text.as_str()).collect();
    match bricks[..] {
        [only] => vec![(name.to_owned(), only.to_owned())],
        _ => bricks
            .into_iter()
            .map(|brick| (crate::control::place::name_from(&PathBuf::from(brick)), brick.to_owned()))
            .collect(),
    }
}

fn serve_failed(error: &ServeError) -> Failure {
    let failure = Failure::new(Exit::Listen, "clients cannot be served").because(error);
    match error {
        ServeError::NoServer => failure.next("Put a protocol/server on top of the bricks."),
        ServeError::Listen { .. } => {
            failure.next("Give another address with --listen; `ss -ltnp` shows who uses which.")
        }
        _ => failure,
    }
}
