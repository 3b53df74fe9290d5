//! The command line. Everything that `--help`, the man pages and the shell completions say stands here.

mod load;

pub use load::{LoadArgs, TargetArg as LoadTarget};

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use kiln_uring::net::Address;
use kiln_xlators::mount::fuse::Transport;

use crate::top::args::TopArgs;

/// A GlusterFS brick for NVMe servers.
#[derive(Debug, Parser)]
#[command(
    name = "kiln",
    version,
    propagate_version = true,
    max_term_width = 100,
    after_help = "Examples:\n  \
        kiln mount --brick /srv/brick /mnt          serve a directory on a mount point\n  \
        kiln serve --brick /srv/brick --name vol    serve it to GlusterFS's clients\n  \
        kiln stats                                  what it does: operations, latencies, bytes\n  \
        kiln top                                    the same, live\n  \
        kiln volfile check brick.vol                find every mistake of a volfile\n\n\
        `kiln COMMAND --help` has more."
)]
pub struct Cli {
    /// Set by the parent of a daemon: standard output is the pipe to it.
    #[arg(long, hide = true)]
    pub detached: bool,
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve a brick on a mount point, in the foreground or as a daemon
    Mount(Box<MountArgs>),
    /// Serve a brick to GlusterFS's clients over the network
    Serve(Box<ServeArgs>),
    /// Check, draw, and explain volfiles
    Volfile {
        #[command(subcommand)]
        command: VolfileCommand,
    },
    /// Show what a running brick does: operations, latencies, bytes
    Stats(StatsArgs),
    /// Watch bricks: operations, latencies, clients, hottest files, cores
    Top(TopArgs),
    /// Show what a running brick holds: requests in flight, tables, options
    Dump(DumpArgs),
    /// Check a brick that is not in service, and mend it
    Check(CheckArgs),
    /// Put a load on a brick or a mounted directory, and measure how it is borne
    Load(Box<LoadArgs>),
    /// Work on translators written in Python
    Python {
        #[command(subcommand)]
        command: PythonCommand,
    },
    /// Print a completion script for a shell
    #[command(after_help = "Examples:\n  \
        kiln completions bash > /etc/bash_completion.d/kiln\n  \
        kiln completions zsh > ~/.zfunc/_kiln\n  \
        kiln completions fish > ~/.config/fish/completions/kiln.fish")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the man pages
    #[command(after_help = "Examples:\n  \
        kiln man | man -l -                         read the main page\n  \
        kiln man /usr/local/share/man/man1          install all pages")]
    Man {
        /// Where the pages go, one per command; without it the main page goes to standard output
        dir: Option<PathBuf>,
    },
}

/// `kiln check`
#[derive(Debug, Args)]
#[command(
    after_help = "`kiln check --help` tells what is checked and mended, and the exit statuses.",
    after_long_help = CHECK_LONG_HELP,
)]
pub struct CheckArgs {
    /// Mend what can be mended without a guess
    #[arg(long)]
    pub repair: bool,
    /// JSON instead of text
    #[arg(long)]
    pub json: bool,
    /// Do not look for trusted.gfid2path: the volume has it off, or is older than GlusterFS 3.12
    #[arg(long)]
    pub no_gfid2path: bool,
    /// The brick
    pub dir: PathBuf,
}

/// What `kiln check --help` ends with.
const CHECK_LONG_HELP: &str = "\
Every object must have a gfid of its own, a handle in .glusterfs, and a trusted.gfid2path for each name; every handle must \
belong to an object with a name; the housekeeping directories must hold nothing that an unfinished operation left. Contents \
of files are not read.

With --repair missing handles and trusted.gfid2path are made and wrong ones replaced, those of what is not there any more \
removed, and leftovers cleared away. An entry without gfid gets a random one; on a replicated volume let a client look it up \
instead, which gives it the same on all bricks. Two objects with one gfid, a damaged gfid, strangers among the handles and \
links from elsewhere are only told of: what is right, nobody but you can know.

Exit status: 0 the brick is clean (or is now), 4 not a brick or in use, 9 something is left.

Examples:
  kiln check /srv/brick
  kiln check --repair /srv/brick
  kiln check --json /srv/brick | jq '.findings[] | select(.kind == \"duplicate\")'";

/// `kiln volfile …`
#[derive(Debug, Subcommand)]
pub enum VolfileCommand {
    /// Find every mistake, with its place and a suggestion
    #[command(after_help = "Exit status 3 when a file has errors; warnings and notes alone are fine.\n\n\
        Example:\n  kiln volfile check /var/lib/glusterd/vols/*/*.vol")]
    Check {
        /// The volfiles
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Draw the graph of translators
    #[command(after_help = "Examples:\n  \
        kiln volfile show brick.vol                           as text\n  \
        kiln volfile show brick.vol --format svg -o brick.svg\n  \
        kiln volfile show brick.vol --format dot | dot -Tpdf > brick.pdf")]
    Show {
        /// The volfile
        file: PathBuf,
        /// Form of the picture; without it, what the name of the output file ends with
        #[arg(long, value_enum)]
        format: Option<PictureFormat>,
        /// Write it here instead of to standard output
        #[arg(short, long, value_name = "OUT")]
        output: Option<PathBuf>,
    },
    /// List the translators, or all options of one
    #[command(after_help = "Example:\n  kiln volfile options storage/posix")]
    Options {
        /// Only this translator
        translator: Option<String>,
    },
}

/// `kiln python …`
#[derive(Debug, Subcommand)]
pub enum PythonCommand {
    /// Try a translator against recorded operations, without a mount
    Run(Box<PythonRunArgs>),
}

/// `kiln python run`
#[derive(Debug, Args)]
#[command(
    after_help = "`kiln python run --help` tells how to record, and has examples and exit statuses.",
    after_long_help = PYTHON_RUN_LONG_HELP,
)]
pub struct PythonRunArgs {
    /// The translator's module: a name, or the path of a file that ends with .py
    pub module: String,
    /// Play this recording of the translator kiln.record
    #[arg(long, value_name = "TRACE")]
    pub replay: PathBuf,
    /// The translator's class [default: the only one that the module defines]
    #[arg(long, value_name = "CLASS")]
    pub class_name: Option<String>,
    /// Directories to look for modules in, with `:` between them, before Python's own
    #[arg(long, value_name = "PATH", default_value = "", hide_default_value = true)]
    pub search_path: String,
    /// An option of the translator's own, as often as you like
    #[arg(long = "option", value_name = "NAME=VALUE", value_parser = assignment)]
    pub options: Vec<(String, String)>,
    #[command(flatten)]
    pub log: LogArgs,
}

/// What `kiln python run --help` ends with.
const PYTHON_RUN_LONG_HELP: &str = "\
The translator stands over a layer that answers each operation as it was answered when it was recorded. The report tells \
which operations were answered otherwise, how many the translator did not pass on, what it did on its own, and its counters. \
Nothing is read or written but the recording, except by what the module itself does.

To record, put this layer into the volfile of a `kiln mount` or `kiln serve`, below the place where the translator will be, \
and use the mount for a while; file data is recorded, too:

  volume record
      type features/glupy
      option module-name kiln.record
      option option.file /var/tmp/trace.jsonl
      subvolumes posix
  end-volume

Exit status: 0 it has been played, 1 the recording cannot be read, 4 the translator does not load or refuses its options, \
9 a handler raised something else than an OSError, or answered nonsense.

Examples:
  kiln python run ./negative.py --replay /var/tmp/trace.jsonl
  kiln python run negative --search-path /etc/kiln/python --option limit=1000 --replay trace.jsonl
  kiln python run ./several.py --class-name Second --replay trace.jsonl --log-level warn";

/// Forms of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PictureFormat {
    /// A tree for the terminal
    Text,
    /// Graphviz's language
    Dot,
    /// A picture for browsers
    Svg,
}

/// `kiln mount`
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("source").required(true).args(["brick", "volfile"]),
    after_help = "`kiln mount --help` has examples, signals, and exit statuses.",
    after_long_help = MOUNT_LONG_HELP,
)]
pub struct MountArgs {
    /// Where to mount: a directory outside of the brick
    #[arg(value_name = "MOUNTPOINT")]
    pub mountpoint: PathBuf,

    /// Serve this directory with the usual layers: storage/posix, features/access-control, debug/io-stats
    #[arg(long, value_name = "DIR")]
    pub brick: Option<PathBuf>,
    /// Serve the graph that this volfile describes
    #[arg(long, value_name = "FILE")]
    pub volfile: Option<PathBuf>,
    /// Make a brick of a directory that has files but was never one; an empty directory needs no such word
    #[arg(long, conflicts_with = "volfile")]
    pub init: bool,
    /// Refuse every change
    #[arg(long)]
    pub read_only: bool,

    /// Name of this brick for `kiln stats` and the log [default: from the path of the brick or volfile]
    #[arg(long)]
    pub name: Option<String>,
    /// Where the control socket goes [default: NAME.sock in /run/kiln, or in $XDG_RUNTIME_DIR/kiln for users]
    #[arg(long, value_name = "PATH")]
    pub control_socket: Option<PathBuf>,
    /// Go into the background once it is mounted
    #[arg(long)]
    pub daemon: bool,
    #[command(flatten)]
    pub metrics: MetricsArgs,
    #[command(flatten)]
    pub log: LogArgs,
    #[command(flatten)]
    pub engine: EngineArgs,
    #[command(flatten)]
    pub fuse: FuseArgs,
}

/// Where `kiln serve --brick` listens when nobody says so: GlusterFS's management port, at which clients look for volfiles.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 24_007);

/// A path that stays right when a daemon changes its directory.
fn absolute(text: &str) -> std::io::Result<PathBuf> {
    std::path::absolute(text)
}

/// Encrypted connections of `kiln serve --brick`; a volfile says the same with its own options.
#[derive(Debug, Args)]
pub struct TlsArgs {
    /// Encrypt connections over TCP with TLS; clients need a certificate. The files are glusterfs.pem, glusterfs.key, and
    /// glusterfs.ca (certificate, private key, authorities) in /usr/lib/ssl or /etc/ssl
    #[arg(long, conflicts_with = "volfile")]
    pub tls: bool,
    /// The directory with the three files
    #[arg(long, value_name = "DIR", requires = "tls", conflicts_with = "volfile", value_parser = absolute)]
    pub tls_dir: Option<PathBuf>,
    /// Common names of certificates that may use the brick, as patterns with commas between them [default: all names]
    #[arg(long, value_name = "NAMES", requires = "tls", conflicts_with = "volfile")]
    pub tls_allow: Option<String>,
}

/// `kiln serve`
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("source").required(true).args(["brick", "volfile"]),
    after_help = "`kiln serve --help` has examples, signals, and exit statuses.",
    after_long_help = SERVE_LONG_HELP,
)]
pub struct ServeArgs {
    /// Serve this directory with the usual layers: storage/posix, features/access-control, features/locks, debug/io-stats
    #[arg(long, value_name = "DIR")]
    pub brick: Option<PathBuf>,
    /// Serve the graph that this volfile describes, with a protocol/server on top
    #[arg(long, value_name = "FILE")]
    pub volfile: Option<PathBuf>,
    /// Where to listen, as often as you like: `ADDRESS:PORT`, `[ADDRESS]:PORT` for IPv6, `PORT` for all addresses of IPv4, or
    /// the path of a unix socket; port 0 is one that is free [default: 24007, or what the volfile says]
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    pub listen: Vec<Address>,
    /// Make a brick of a directory that has files but was never one; an empty directory needs no such word
    #[arg(long, conflicts_with = "volfile")]
    pub init: bool,
    /// Refuse every change
    #[arg(long, conflicts_with = "volfile")]
    pub read_only: bool,
    /// No POSIX ACLs, and no checks of modes beyond what clients do
    #[arg(long, conflicts_with = "volfile")]
    pub no_acl: bool,

    #[command(flatten)]
    pub tls: TlsArgs,

    /// Name of the volume that clients mount, and of this brick for `kiln stats` and the log [default: from the path of the
    /// brick or volfile]
    #[arg(long)]
    pub name: Option<String>,
    /// Let clients with a volfile from here answer ENOTCONN while the brick is away, instead of letting applications wait
    #[arg(long)]
    pub no_client_pause: bool,
    /// Where the control socket goes [default: NAME.sock in /run/kiln, or in $XDG_RUNTIME_DIR/kiln for users]
    #[arg(long, value_name = "PATH")]
    pub control_socket: Option<PathBuf>,
    /// Go into the background once it serves
    #[arg(long)]
    pub daemon: bool,
    #[command(flatten)]
    pub metrics: MetricsArgs,
    #[command(flatten)]
    pub log: LogArgs,
    #[command(flatten)]
    pub engine: EngineArgs,
}

/// What `kiln serve --help` ends with.
const SERVE_LONG_HELP: &str = concat!(
    "Examples:\n",
    "  kiln serve --brick /srv/brick --name vol        then: mount -t glusterfs HOST:/vol /mnt\n",
    "  kiln serve --brick /srv/brick --listen 127.0.0.1:24007 --listen '[::1]:24007'\n",
    "  kiln serve --brick /srv/brick --tls --listen 24007 --listen 49152\n",
    "                                                  encrypted data, plain volfiles\n",
    "  kiln serve --brick /srv/brick --metrics 9105    then: curl http://127.0.0.1:9105/metrics\n",
    "  kiln serve --volfile brick.vol --cores 2        what glusterfsd -f brick.vol serves\n\n",
    "Clients that know the volume by its name ask for a volfile at the addresses that this listens at, and get one; clients\n",
    "with a volfile of their own need no name. With a volfile, its options say who may connect; without, everybody may.\n\n",
    "With --tls all ports are encrypted, and clients ask for volfiles in TLS where they have /var/lib/glusterd/secure-access.\n",
    "With another port besides 24007, that one alone is for data, and 24007 is encrypted if that file exists here.\n\n",
    "Signals:\n",
    "  SIGTERM, SIGINT  let requests end and stop; a second one stops at once\n",
    "  SIGHUP           read the volfile and certificates again and open the log file again\n\n",
    crate::exit_status_help!()
);

/// What `kiln mount --help` ends with.
const MOUNT_LONG_HELP: &str = concat!(
    "Examples:\n",
    "  kiln mount --brick /srv/brick /mnt              in the foreground; Ctrl-C unmounts\n",
    "  kiln mount --brick /srv/brick --daemon /mnt     returns when it is mounted\n",
    "  kiln mount --volfile brick.vol --cores 2 /mnt   a graph of your own on two cores\n\n",
    "Signals:\n",
    "  SIGTERM, SIGINT  unmount and stop in order; a second one stops at once\n",
    "  SIGHUP           read the volfile again and open the log file again\n\n",
    crate::exit_status_help!()
);

/// Figures for monitoring systems.
#[derive(Debug, Args)]
#[command(next_help_heading = "Metrics")]
pub struct MetricsArgs {
    /// Serve metrics at `http://ADDRESS:PORT/metrics`, in the format of OpenMetrics, to everybody who can connect; a PORT
    /// alone is at 127.0.0.1 [default: nowhere]
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = metrics_address)]
    pub metrics: Option<SocketAddr>,
}

/// Logs.
#[derive(Debug, Args)]
#[command(next_help_heading = "Log")]
pub struct LogArgs {
    /// error, warn, info, debug, trace, or directives such as `info,kiln_uring=debug`
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log_level: String,
    /// Form of the lines
    #[arg(long, value_enum, default_value = "human")]
    pub log_format: LogFormat,
    /// Append to this file instead of stderr [default for daemons: /var/log/kiln/NAME.log, or
    /// ~/.local/state/kiln/NAME.log for users]; opened again on SIGHUP
    #[arg(long, value_name = "FILE")]
    pub log_file: Option<PathBuf>,
}

/// Form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Human,
    /// One JSON object per line
    Json,
}

/// Which way requests take from the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TransportArg {
    /// Over io_uring if the kernel offers it
    Auto,
    /// Through /dev/fuse
    Device,
    /// Over io_uring, or fail
    IoUring,
}

impl From<TransportArg> for Transport {
    fn from(arg: TransportArg) -> Self {
        match arg {
            TransportArg::Auto => Self::Auto,
            TransportArg::Device => Self::Device,
            TransportArg::IoUring => Self::Ring,
        }
    }
}

/// The cores.
#[derive(Debug, Args)]
#[command(next_help_heading = "Engine")]
pub struct EngineArgs {
    /// Threads that serve requests, each with its own ring; 0 is one per CPU
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=1024))]
    pub cores: u16,
    /// Let the scheduler move the threads instead of binding each to a CPU
    #[arg(long)]
    pub no_pin: bool,
    /// Microseconds that an idle core looks for work before it sleeps, while requests keep coming
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=10_000))]
    pub spin: u64,
    /// Let a core that wakes always take its CPU from the program that runs there; otherwise the program may go on while
    /// requests come several at a time, which is cheaper, unless the core then waits long
    #[arg(long)]
    pub preempt: bool,
    /// Seconds that requests in flight get when the brick is stopped
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(0..=3600))]
    pub drain: u64,
    /// Seconds between a failed health check, after which every request fails, and the end of the process
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(0..=3600))]
    pub failure_grace: u64,
}

/// The mount.
#[derive(Debug, Args)]
#[command(next_help_heading = "Mount")]
pub struct FuseArgs {
    /// Let other users use the mount [default when root]
    #[arg(long, overrides_with = "no_allow_other")]
    pub allow_other: bool,
    /// Keep the mount to the user who makes it
    #[arg(long)]
    pub no_allow_other: bool,
    /// Seconds that the kernel may keep attributes
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub attr_timeout: f64,
    /// Seconds that the kernel may keep names
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub entry_timeout: f64,
    /// Seconds that the kernel may keep the absence of names
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    pub negative_timeout: f64,
    /// Bypass the kernel's page cache for all files; otherwise only for those opened with O_DIRECT
    #[arg(long)]
    pub direct_io: bool,
    /// Keep a file's pages in the kernel's cache after its close
    #[arg(long)]
    pub keep_cache: bool,
    /// Gather writes in the kernel's page cache: faster, and a crash loses what was not synced
    #[arg(long)]
    pub writeback: bool,
    /// No POSIX ACLs
    #[arg(long)]
    pub no_acl: bool,
    /// Let set-user-id bits of files on the mount count
    #[arg(long)]
    pub suid: bool,
    /// Let device nodes on the mount be opened
    #[arg(long)]
    pub dev: bool,
    /// How requests come from the kernel. Over io_uring they are served on the caller's CPU, about three times as fast;
    /// root allows that with `echo Y > /sys/module/fuse/parameters/enable_uring` (Linux 6.14)
    #[arg(long, value_name = "WAY", value_enum, default_value_t = TransportArg::Auto)]
    pub transport: TransportArg,
}

/// Which running brick.
#[derive(Debug, Args)]
pub struct TargetArgs {
    /// Its name [default: the only one that runs]
    #[arg(long, conflicts_with = "socket")]
    pub name: Option<String>,
    /// Its control socket
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

/// `kiln stats`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    kiln stats                      since the brick was started\n  \
    kiln stats --watch 2            every two seconds, with rates in between\n  \
    kiln stats --clients            who is connected, the busiest first\n  \
    kiln stats --clients --sort fds --watch 2\n  \
    kiln stats --json | jq .layers\n  \
    kiln stats --clients --json | jq '.clients[] | select(.in_flight > 32) | .address'")]
pub struct StatsArgs {
    #[command(flatten)]
    pub target: TargetArgs,
    /// JSON instead of a table
    #[arg(long)]
    pub json: bool,
    /// Repeat after this many seconds
    #[arg(long, value_name = "SECONDS", value_parser = interval)]
    pub watch: Option<f64>,
    /// The clients of `kiln serve`, one in a line: address, age, requests, bytes, open files, errors, version, name
    #[arg(long)]
    pub clients: bool,
    /// Which clients come first
    #[arg(long, value_enum, value_name = "ORDER", default_value = "requests", requires = "clients")]
    pub sort: ClientOrder,
}

/// Orders of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ClientOrder {
    /// Most requests first
    Requests,
    /// Most bytes in and out first
    Bytes,
    /// Most requests in flight and waiting locks first
    InFlight,
    /// Most open files first
    Fds,
    /// Most failed and refused calls first
    Errors,
    /// Longest connected first
    Age,
    /// By address
    Address,
}

/// `kiln dump`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    kiln dump                       requests in flight, tables, options\n  \
    kiln dump --json | jq '.cores[].calls[] | select(.age_us > 1000000)'")]
pub struct DumpArgs {
    #[command(flatten)]
    pub target: TargetArgs,
    /// JSON instead of text
    #[arg(long)]
    pub json: bool,
}

fn address(text: &str) -> Result<Address, String> {
    if text.contains('/') {
        return Ok(Address::Unix(text.into()));
    }
    if let Ok(port) = text.trim_start_matches(['*', ':']).parse::<u16>() {
        return Ok(Address::Ip(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)));
    }
    let text = text.replacen("localhost:", "127.0.0.1:", 1);
    text.parse().map(Address::Ip).map_err(|_| {
        "an address with a port such as 127.0.0.1:24007 or [::]:24007, a port, or the path of a socket"
            .to_owned()
    })
}

fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("a name and a value with `=` between them, such as limit=1000".to_owned()),
    }
}

fn metrics_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.trim_start_matches(':').parse::<u16>() {
        return Ok(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
    }
    let text = text.replacen("localhost:", "127.0.0.1:", 1).replacen("*:", "0.0.0.0:", 1);
    text.parse()
        .map_err(|_| "an address with a port such as 127.0.0.1:9105 or [::]:9105, or a port".to_owned())
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=31_536_000.0).contains(&value) => Ok(value),
        _ => Err("a number of seconds from 0 to a year (31536000)".into()),
    }
}

pub fn interval(text: &str) -> Result<f64, String> {
    match seconds(text) {
        Ok(value) if (0.1..=86_400.0).contains(&value) => Ok(value),
        _ => Err("a number of seconds from 0.1 to a day (86400)".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn addresses_are_read() {
        let text = |given: &str| address(given).map(|address| address.to_string());
        assert_eq!(text("127.0.0.1:5").unwrap(), "127.0.0.1:5");
        assert_eq!(text("[::]:24007").unwrap(), "[::]:24007");
        assert_eq!(text("24007").unwrap(), "0.0.0.0:24007");
        assert_eq!(text("*:0").unwrap(), "0.0.0.0:0");
        assert_eq!(text("/run/x.sock").unwrap(), "/run/x.sock");
        assert!(text("somewhere").is_err() && text("1.2.3.4").is_err() && text("").is_err());
    }

    #[test]
    fn addresses_of_metrics_are_local_unless_said() {
        let text = |given: &str| metrics_address(given).map(|address| address.to_string());
        assert_eq!(text("9105").unwrap(), "127.0.0.1:9105");
        assert_eq!(text("*:9105").unwrap(), "0.0.0.0:9105");
        assert_eq!(text("[::1]:9105").unwrap(), "[::1]:9105");
        assert!(text("/run/x.sock").is_err() && text("host:1").is_err() && text("65536").is_err());
    }

    #[test]
    fn options_of_translators_are_read() {
        let read = |given: &str| assignment(given).map(|(name, value)| format!("{name} {value}"));
        assert_eq!(read("limit=10").unwrap(), "limit 10");
        assert_eq!(read("key=a=b").unwrap(), "key a=b");
        assert_eq!(read("key=").unwrap(), "key ");
        assert!(read("limit").is_err() && read("=10").is_err());
    }

    #[test]
    fn a_mount_needs_exactly_one_source() {
        let parse = |args: &str| Cli::try_parse_from(args.split(' '));
        assert!(parse("kiln mount /mnt").is_err());
        assert!(parse("kiln mount --brick /b --volfile v /mnt").is_err());
        assert!(parse("kiln mount --volfile v --init /mnt").is_err());
        assert!(parse("kiln mount --brick /b /mnt --attr-timeout=-1").is_err());
        assert!(parse("kiln mount --brick /b /mnt --attr-timeout 0.5").is_ok());
    }
}
