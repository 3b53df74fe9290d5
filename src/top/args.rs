//! The command line of `kiln top`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// `kiln top`
#[derive(Debug, Args)]
#[command(
    after_help = "Latencies and rates are those of the last interval. Hottest files and directories are estimates from a \
sample of the operations, of the last seconds. Without a terminal, frames of text come instead of the live view.\n\n\
Keys: q quit, space pause, Tab next brick, s order of operations, f order of files, d files or directories, + - interval, \
? help\n\n\
Examples:\n  \
    kiln top                        all bricks that run here\n  \
    kiln top --all                  and those that will\n  \
    kiln top --socket /run/kiln/a.sock --socket /run/kiln/b.sock\n  \
    kiln top --batch 10 --interval 5 >> top.log\n  \
    kiln top --once --json | jq '.bricks[].files[] | [.path, .per_s]'"
)]
pub struct TopArgs {
    /// A brick by its name, as often as you like [default: all that run]
    #[arg(long)]
    pub name: Vec<String>,
    /// A brick by its control socket, as often as you like
    #[arg(long, value_name = "PATH")]
    pub socket: Vec<PathBuf>,
    /// All bricks that run, and those that start later
    #[arg(long, conflicts_with_all = ["name", "socket"])]
    pub all: bool,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = crate::cli::interval)]
    pub interval: f64,
    /// One frame of text after one interval
    #[arg(long, conflicts_with = "batch")]
    pub once: bool,
    /// So many frames of text
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub batch: Option<u64>,
    /// Frames of JSON instead of text
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub orders: Orders,
}

/// What comes first.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct Orders {
    /// Which operations come first
    #[arg(long, value_enum, value_name = "ORDER", default_value_t)]
    pub sort: FopOrder,
    /// Which files and directories come first
    #[arg(long, value_enum, value_name = "ORDER", default_value_t)]
    pub hot: HotOrder,
}

/// Orders of operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum FopOrder {
    /// Most frequent first
    #[default]
    Rate,
    /// Longest 99th percentile first
    P99,
    /// Most errors first
    Errors,
    /// By name
    Name,
}

/// Orders of files and directories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum HotOrder {
    /// Most uses first
    #[default]
    Uses,
    /// Most reads (of directories: listings) first
    Reads,
    /// Most writes (of directories: changes) first
    Writes,
    /// Most bytes first
    Bytes,
}

/// The value after this one, round and round, and its name.
pub fn following<T: ValueEnum + Copy + PartialEq>(value: T) -> T {
    let all = T::value_variants();
    let at = all.iter().position(|one| *one == value).map_or(0, |at| at + 1);
    all.get(at).or(all.first()).copied().unwrap_or(value)
}

/// What the command line calls it.
pub fn name_of<T: ValueEnum>(value: T) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}
