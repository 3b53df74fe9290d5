//! From the command line to what is to be run, with everything checked that can be checked without changing anything.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kiln_uring::{EngineConfig, Sys};
use kiln_xlators::mount::fuse::MountConfig;
use kiln_xlators::volfile::{self, Embedded, OptionLine, Report, Severity, Spanned, Style, Volfile};

use super::brick::BrickDir;
use crate::cli::{EngineArgs, MountArgs, TlsArgs};
use crate::control::place;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};

/// Where the graph comes from.
#[derive(Debug)]
pub enum Source {
    /// A directory, with the embedded graph.
    Brick(PathBuf),
    /// A volfile, read again on SIGHUP. Absolute: a daemon changes its directory.
    Volfile(PathBuf),
}

impl Source {
    /// From the command line, of which clap has made sure that it names exactly one.
    pub fn of(brick: Option<&Path>, volfile: Option<&Path>) -> Outcome<Self> {
        let absolute = |path: &Path| {
            std::path::absolute(path).map_err(|error| {
                Failure::new(Exit::Usage, format!("the path {} cannot be used", path.display()))
                    .because(&error)
            })
        };
        match (brick, volfile) {
            (Some(dir), _) => absolute(dir).map(Self::Brick),
            (None, Some(file)) => absolute(file).map(Self::Volfile),
            (None, None) => Err(Failure::new(Exit::Usage, "neither --brick nor --volfile is given")),
        }
    }

    /// The path, for names and dumps.
    pub fn path(&self) -> &Path {
        match self {
            Self::Brick(path) | Self::Volfile(path) => path,
        }
    }
}

/// The name of the brick and its control socket.
pub fn name_and_socket(
    name: Option<&str>,
    socket: Option<&Path>,
    source: &Source,
) -> Outcome<(String, PathBuf)> {
    let name = match name {
        Some(name) => {
            place::check_name(name)?;
            name.to_owned()
        }
        None => place::name_from(source.path()),
    };
    let socket = match socket {
        Some(path) => std::path::absolute(path).map_err(|error| {
            Failure::new(Exit::Usage, format!("the path {} cannot be used", path.display())).because(&error)
        })?,
        None => place::socket_of(&name)?,
    };
    Ok((name, socket))
}

/// Reads and checks a volfile, and prints what was found.
pub fn load_volfile(path: &Path) -> Outcome<Volfile> {
    let (volfile, report) = read_volfile(path)?;
    print_findings(&report);
    if report.has_errors() {
        return Err(Failure::new(Exit::Volfile, format!("the volfile {} has errors", path.display())));
    }
    Ok(volfile)
}

/// Reads and checks a volfile of a running brick; what was found goes to the log.
pub fn reload_volfile(path: &Path) -> Result<Volfile, String> {
    let (volfile, report) = read_volfile(path).map_err(|failure| failure.to_string())?;
    for finding in &report.diagnostics {
        let (file, span, message) = (&report.file, finding.span, &finding.message);
        let help = finding.suggestion.as_deref().unwrap_or_default();
        match finding.severity {
            Severity::Error => tracing::error!(help, "{file}:{}:{}: {message}", span.line, span.column),
            Severity::Warning => tracing::warn!(help, "{file}:{}:{}: {message}", span.line, span.column),
            Severity::Note => tracing::info!("{file}:{}:{}: {message}", span.line, span.column),
        }
    }
    if report.has_errors() { Err("it has errors".into()) } else { Ok(volfile) }
}

fn read_volfile(path: &Path) -> Outcome<(Volfile, Report)> {
    volfile::load(path).map_err(|error| {
        Failure::new(Exit::Volfile, format!("the volfile {} cannot be read", path.display())).because(&error)
    })
}

/// Prints findings on stderr.
pub fn print_findings(report: &Report) {
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let text = report.render(if colours { Style::Colour } else { Style::Plain });
    // Nobody is left to hear that stderr is closed.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// What a graph over a brick directory is to be.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Refuse every change.
    pub read_only: bool,
    /// Check POSIX ACLs and modes.
    pub acl: bool,
    /// For clients of the network.
    pub served: bool,
}

/// The graph over `brick`.
pub fn embedded(brick: &BrickDir, wanted: Wanted) -> Outcome<Volfile> {
    let Some(directory) = brick.path().to_str() else {
        let what = format!("the path of the brick, {}, is not UTF-8 text", brick.path().display());
        return Err(Failure::new(Exit::Brick, what)
            .next("Rename the directory, or make a bind mount with another name."));
    };
    let volume_id = brick.volume_id().to_string();
    let graph =
        Embedded { directory, volume_id: Some(&volume_id), read_only: wanted.read_only, acl: wanted.acl };
    Ok(if wanted.served { graph.served() } else { graph.volfile() })
}

/// Encrypts the connections of clients of an embedded graph, if that is wanted.
pub fn encrypt(volfile: &mut Volfile, args: &TlsArgs) -> Outcome {
    let Some(server) = volfile.nodes.last_mut().filter(|_| args.tls) else { return Ok(()) };
    let mut set = |key: &str, value: &str| {
        server.options.push(OptionLine { key: Spanned::synthetic(key), value: Spanned::synthetic(value) });
    };
    set("transport.socket.ssl-enabled", "on");
    if let Some(dir) = &args.tls_dir {
        for (option, file) in
            [("own-cert", "glusterfs.pem"), ("private-key", "glusterfs.key"), ("ca-list", "glusterfs.ca")]
        {
            let path = dir.join(file);
            let Some(path) = path.to_str() else {
                return Err(Failure::new(Exit::Usage, "the path of --tls-dir is not UTF-8 text"));
            };
            set(&format!("transport.socket.ssl-{option}"), path);
        }
    }
    if let Some(names) = &args.tls_allow {
        let brick = server.subvolumes.first().map_or("", |brick| brick.text.as_str()).to_owned();
        let key = format!("auth.login.{brick}.ssl-allow");
        server.options.push(OptionLine { key: Spanned::synthetic(&key), value: Spanned::synthetic(names) });
    }
    Ok(())
}

/// The mount point, which must not be inside the brick nor around it: a request that comes back to the mount while it is being
/// served waits for itself.
pub fn mountpoint(args: &MountArgs, brick: Option<&Path>) -> Outcome<PathBuf> {
    // What cannot be resolved here (missing, a dead mount) is told by the mount itself, which knows more.
    let path = std::fs::canonicalize(&args.mountpoint)
        .or_else(|_| std::path::absolute(&args.mountpoint))
        .unwrap_or_else(|_| args.mountpoint.clone());
    if let Some(brick) = brick {
        let relation = if path == brick {
            Some("is the brick")
        } else if path.starts_with(brick) {
            Some("is inside the brick")
        } else if brick.starts_with(&path) {
            Some("contains the brick")
        } else {
            None
        };
        if let Some(relation) = relation {
            let what = format!("the mount point {} {relation} {}", path.display(), brick.display());
            return Err(Failure::new(Exit::Mount, what).next("Choose a directory outside of the brick."));
        }
    }
    Ok(path)
}

/// The brick directories that a volfile names.
pub fn bricks_of(volfile: &Volfile) -> impl Iterator<Item = PathBuf> {
    let posix = volfile.nodes.iter().filter(|node| node.kind.text == "storage/posix");
    let directories = posix.flat_map(|node| &node.options).filter(|line| line.key.text == "directory");
    directories.filter_map(|line| std::fs::canonicalize(&line.value.text).ok())
}

/// The engine.
pub fn engine_config(args: &EngineArgs) -> EngineConfig {
    let cores = match args.cores {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        cores => usize::from(cores),
    };
    EngineConfig {
        cores,
        pin: !args.no_pin,
        spin: Duration::from_micros(args.spin),
        preempt: args.preempt,
        ..EngineConfig::default()
    }
}

/// The mount.
pub fn mount_config(args: &MountArgs, mountpoint: PathBuf, source: &Source) -> MountConfig {
    let fuse = &args.fuse;
    MountConfig {
        fsname: source.path().display().to_string(),
        transport: fuse.transport.into(),
        allow_other: fuse.allow_other || (rustix::process::geteuid().is_root() && !fuse.no_allow_other),
        read_only: args.read_only,
        suid: fuse.suid,
        dev: fuse.dev,
        attr_timeout: Duration::from_secs_f64(fuse.attr_timeout),
        entry_timeout: Duration::from_secs_f64(fuse.entry_timeout),
        negative_timeout: Duration::from_secs_f64(fuse.negative_timeout),
        direct_io: fuse.direct_io,
        keep_cache: fuse.keep_cache,
        writeback: fuse.writeback,
        acl: !fuse.no_acl,
        drain: drain(&args.engine),
        ..MountConfig::new(mountpoint)
    }
}

/// How long requests have when the brick is stopped.
pub const fn drain(args: &EngineArgs) -> Duration {
    Duration::from_secs(args.drain)
}

/// How long a failed brick lives on.
pub const fn failure_grace(args: &EngineArgs) -> Duration {
    Duration::from_secs(args.failure_grace)
}

/// Where a daemon logs when nobody says so.
pub fn daemon_log(name: &str) -> PathBuf {
    let file = format!("{name}.log");
    if rustix::process::geteuid().is_root() {
        return Path::new("/var/log/kiln").join(file);
    }
    let state = std::env::var_os("XDG_STATE_HOME").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    state.or_else(home).unwrap_or_else(std::env::temp_dir).join("kiln").join(file)
}

/// The real kernel.
pub fn kernel() -> Arc<dyn Sys> {
    kiln_uring::Linux::new()
}
