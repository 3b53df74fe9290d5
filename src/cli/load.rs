//! The command line of `kiln load`.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;

use clap::Args;

use crate::load::{Distribution, Peer, Workload};

/// What `kiln load --help` ends with.
const LONG_HELP: &str = "\
The target is a mounted directory, or a brick, stock or Kiln: HOST:PORT or HOST:PORT/BRICK, or unix:PATH or unix:PATH:BRICK. \
BRICK is the name that the brick goes by, mostly its directory: 127.0.0.1:49152/srv/brick. For a brick of this machine it \
can be left out.

Everything happens in a directory of its own in the root of the target, which is removed in the end. Operations are begun when \
others have ended, --depth at once on each connection; with --rate they are begun at a fixed rate, and their times are counted \
from when they were due, so that a stall shows in the percentiles as the users of the target would feel it.

The CPU time and memory of the process that serves are read from /proc. A brick that listens on this machine is found; for a \
mount, --pid says which it is.

With --verify each block says which it is, and what is read is checked: during the run and, all of it, once more at the end.

Exit status: 0 all went well, 1 the load could not run to its end, 2 a wrong command line, 9 operations failed, or contents \
are wrong.

Examples:
  kiln load /mnt                                                 a mixed load on a mount
  kiln load --threads 4 --seconds 30 /mnt
  kiln load --workload read 127.0.0.1:49152/srv/brick            4 KiB at random places, 32 at once
  kiln load --workload write --block 1M --depth 4 --distribution sequential server:49152/srv/brick
  kiln load --workload lookup --depth 1 --json - server:49152/srv/brick | jq .operations
  kiln load --workload read --rate 20000 --depth 256 --hdr read.hlog server:49152/srv/brick
  kiln load --workload read-write --verify --count 100000 --seed 7 server:49152/srv/brick";

/// `kiln load`
#[derive(Debug, Args)]
#[command(
    after_help = "`kiln load --help` has explanations and examples.",
    after_long_help = LONG_HELP,
)]
pub struct LoadArgs {
    /// `HOST:PORT[/BRICK]`, `unix:PATH[:BRICK]`, or a mounted directory
    #[arg(value_parser = target)]
    pub target: TargetArg,

    /// What is done
    #[arg(long, short, value_enum, default_value = "mixed", help_heading = "Load")]
    pub workload: Workload,
    /// Bytes of one read or write
    #[arg(long, value_name = "BYTES", default_value = "4k", value_parser = block, help_heading = "Load")]
    pub block: usize,
    /// Operations at once on each connection [default: 32; on a mount 1 for each thread]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=16_384), help_heading = "Load")]
    pub depth: Option<u16>,
    /// Connections to the brick [default: one for each thread]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000), help_heading = "Load")]
    pub connections: Option<u32>,
    /// Threads of the load
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024), help_heading = "Load")]
    pub threads: u16,
    /// Begin so many operations per second, whether others have ended or not [default: each when another has ended]
    #[arg(long, value_name = "PER_SECOND", value_parser = rate, help_heading = "Load")]
    pub rate: Option<f64>,
    /// Which block or name is next: uniform, `zipf[:EXPONENT]`, `hot[:PERCENT_OF_SET:PERCENT_OF_USE]`, sequential
    #[arg(long, value_name = "HOW", default_value = "uniform", help_heading = "Load")]
    pub distribution: Distribution,
    /// The number that decides everything random
    #[arg(long, value_name = "NUMBER", default_value_t = 1, help_heading = "Load")]
    pub seed: u64,

    /// How long it counts
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = super::seconds, help_heading = "Time")]
    pub seconds: f64,
    /// How long before it counts [default: 1; 0 with --count]
    #[arg(long, value_name = "SECONDS", value_parser = super::seconds, help_heading = "Time")]
    pub warmup: Option<f64>,
    /// End after so many operations instead
    #[arg(long, value_name = "N", conflicts_with = "seconds", help_heading = "Time")]
    pub count: Option<u64>,
    /// How long the brick may take for any answer
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = super::interval, help_heading = "Time")]
    pub timeout: f64,

    /// Files with data; for unlink, those that are removed [default: 4; 20000 for unlink]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Files")]
    pub files: Option<u64>,
    /// Bytes of each
    #[arg(long, value_name = "BYTES", default_value = "64M", value_parser = size, help_heading = "Files")]
    pub file_size: u64,
    /// Names in the directory for lookups, stats, and listings
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..), help_heading = "Files")]
    pub entries: u64,
    /// Open files with O_DIRECT, past page caches
    #[arg(long, help_heading = "Files")]
    pub direct: bool,
    /// Leave the files, in the directory kiln-load
    #[arg(long, help_heading = "Files")]
    pub keep: bool,
    /// Take the files that --keep left, make what is missing, and leave them
    #[arg(long, help_heading = "Files")]
    pub reuse: bool,
    /// Check what is read
    #[arg(long, help_heading = "Files")]
    pub verify: bool,

    /// Write the results as JSON to this file; `-` is standard output, which gets no table then
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    pub json: Option<PathBuf>,
    /// Write the times of each second as an HDR log to this file
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    pub hdr: Option<PathBuf>,
    /// The process whose CPU time and memory count [default: who listens at a local address]
    #[arg(long, value_name = "PID", help_heading = "Results")]
    pub pid: Option<u32>,
    /// No progress bar
    #[arg(long, help_heading = "Results")]
    pub no_progress: bool,

    /// User name, for bricks that want one
    #[arg(long, value_name = "NAME", requires = "password", help_heading = "Login")]
    pub user: Option<String>,
    /// The user's password
    #[arg(long, value_name = "PASSWORD", requires = "user", help_heading = "Login")]
    pub password: Option<String>,
}

/// What the load is put on, as the command line says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetArg {
    /// A brick, perhaps by its name.
    Brick(Peer, Option<String>),
    /// A directory.
    Mount(PathBuf),
}

fn target(text: &str) -> Result<TargetArg, String> {
    if text.is_empty() {
        return Err("HOST:PORT[/BRICK], unix:PATH[:BRICK] or a directory".to_owned());
    }
    let name = |name: &str| (!name.is_empty()).then(|| name.to_owned());
    if let Some(rest) = text.strip_prefix("unix:") {
        let (path, brick) = rest.split_once(':').unwrap_or((rest, ""));
        return Ok(TargetArg::Brick(Peer::Unix(path.into()), name(brick)));
    }
    // A path that has a colon begins with a slash or a dot.
    if text.starts_with(['/', '.']) || !text.contains(':') {
        return Ok(TargetArg::Mount(text.into()));
    }
    let (host, brick) = text.split_once('/').unwrap_or((text, ""));
    let mut all = host.to_socket_addrs().map_err(|error| {
        format!("HOST:PORT[/BRICK], unix:PATH[:BRICK] or a directory, and {host} is no address: {error}")
    })?;
    // Bricks listen on IPv4 unless they were told otherwise.
    let first = all.next().ok_or_else(|| format!("{host} has no address"))?;
    let address = std::iter::once(first).chain(all).find(SocketAddr::is_ipv4).unwrap_or(first);
    Ok(TargetArg::Brick(Peer::Tcp(address), name(brick)))
}

/// A number of bytes: `4096`, `4k`, `1M`, `2G`.
fn size(text: &str) -> Result<u64, String> {
    let wrong = || "a number of bytes such as 4096, 4k, 1M or 2G".to_owned();
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let shift = match text.get(digits.len()..).unwrap_or_default().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        "t" | "tib" => 40,
        _ => return Err(wrong()),
    };
    number.checked_mul(1 << shift).filter(|size| *size > 0 && *size < 1 << 62).ok_or_else(wrong)
}

fn block(text: &str) -> Result<usize, String> {
    let size = size(text)?;
    match usize::try_from(size) {
        Ok(size) if size <= 16 << 20 => Ok(size),
        _ => Err("at most 16M".to_owned()),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.001..=1e9).contains(&rate) => Ok(rate),
        _ => Err("a number of operations per second from 0.001 to 1000000000".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser as _;

    #[test]
    fn targets_are_told_apart() {
        let brick = |address: &str, name: Option<&str>| {
            Ok(TargetArg::Brick(Peer::Tcp(address.parse().unwrap()), name.map(str::to_owned)))
        };
        assert_eq!(target("127.0.0.1:49152"), brick("127.0.0.1:49152", None));
        assert_eq!(target("127.0.0.1:49152/brick"), brick("127.0.0.1:49152", Some("brick")));
        assert_eq!(target("[::1]:5//srv/b"), brick("[::1]:5", Some("/srv/b")));
        assert_eq!(target("127.0.0.1:5/srv/b:1"), brick("127.0.0.1:5", Some("srv/b:1")));
        for dir in ["/mnt", "./a:1", "mnt", "/m:4/x"] {
            assert_eq!(target(dir), Ok(TargetArg::Mount(dir.into())));
        }
        let unix = |path: &str, name: Option<&str>| {
            Ok(TargetArg::Brick(Peer::Unix(path.into()), name.map(str::to_owned)))
        };
        assert_eq!(target("unix:/run/b.sock"), unix("/run/b.sock", None));
        assert_eq!(target("unix:/run/b.sock:/srv/b"), unix("/run/b.sock", Some("/srv/b")));
        assert!(target("127.0.0.1:x").is_err() && target("127.0.0.1:70000").is_err());
    }

    #[test]
    fn sizes_are_read() {
        assert_eq!(
            [size("4k"), size("4096"), size("1M"), size("2GiB")],
            [Ok(4096), Ok(4096), Ok(1 << 20), Ok(2 << 30)]
        );
        for wrong in ["", "k", "0", "4x", "-1", "99999999999T", "1 M"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
        assert!(block("16M").is_ok() && block("17M").is_err() && rate("0").is_err() && rate("1e5").is_ok());
    }

    #[test]
    fn what_goes_together() {
        let parse = |args: &str| Cli::try_parse_from(format!("kiln load {args}").split(' '));
        assert!(parse("--seconds 3 --threads 4 /mnt").is_ok());
        assert!(parse("--count 5 --seconds 3 /mnt").is_err());
        assert!(parse("--user u /mnt").is_err() && parse("").is_err() && parse("--depth 0 /mnt").is_err());
        assert!(parse("-w create-unlink --distribution zipf:1.2 --rate 100 127.0.0.1:5/b").is_ok());
    }
}
