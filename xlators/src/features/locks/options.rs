//! The options, under GlusterFS's names.

use std::time::Duration;

use super::state::{Revocation, Settings};
use crate::options::{OptionKind, OptionSpec, Options};

const U32: i64 = u32::MAX as i64;

/// All of them.
pub const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "mandatory-locking",
        OptionKind::Enum(&["off", "file", "forced", "optimal"]),
        "off",
        "Whose locks bind those who read and write without one: nobody's; those of files with the set-group-id bit and \
         without group execution; all; those that were taken as mandatory.",
    ),
    OptionSpec::new("trace", OptionKind::Bool, "off", "Whether every lock request is logged."),
    OptionSpec::new(
        "monkey-unlocking",
        OptionKind::Bool,
        "false",
        "Whether one of a hundred releases of inodelks and entrylks is lost, to test clients.",
    ),
    OptionSpec::new(
        "revocation-secs",
        OptionKind::Int(0, U32),
        "0",
        "Seconds after which inodelks and entrylks that somebody waits for are taken from their holders; 0 for never.",
    ),
    OptionSpec::new(
        "revocation-clear-all",
        OptionKind::Bool,
        "false",
        "Whether a revocation also ends the waits in the domain.",
    ),
    OptionSpec::new(
        "revocation-max-blocked",
        OptionKind::Int(0, U32),
        "0",
        "Waits in a domain that lead to a revocation; 0 for any number.",
    ),
    OptionSpec::new(
        "notify-contention",
        OptionKind::Bool,
        "yes",
        "Whether holders of inodelks and entrylks are told that somebody waits.",
    ),
    OptionSpec::new(
        "notify-contention-delay",
        OptionKind::Int(0, 60),
        "5",
        "Seconds between two such messages about one lock.",
    ),
    OptionSpec::new(
        "enforce-mandatory-lock",
        OptionKind::Bool,
        "off",
        "Whether files can be marked, by the extended attribute trusted.glusterfs.enforce-mandatory-lock, so that only who \
         holds a lock on the bytes may read or write them, and who locks takes what others hold. Needs mandatory-locking.",
    ),
];

/// When locks bind those who read and write without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mandatory {
    /// Never.
    Off,
    /// On files with the set-group-id bit and without group execution.
    File,
    /// Always.
    Forced,
    /// When they were taken as such.
    Optimal,
}

/// The options of the layer itself.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// See the option.
    pub mandatory: Mandatory,
    /// Whether marked files are fenced: the option, and mandatory locking.
    pub fences: bool,
    /// See the option.
    pub trace: bool,
    /// See the option.
    pub monkey: bool,
    /// Those that the locks themselves depend on.
    pub settings: Settings,
}

impl Config {
    /// Reads them.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        let seconds = |key| u64::try_from(options.int(key)).ok().filter(|value| *value > 0);
        let every = Duration::from_secs(u64::try_from(options.int("notify-contention-delay")).unwrap_or(5));
        let mandatory = match options.text("mandatory-locking") {
            Some("file") => Mandatory::File,
            Some("forced") => Mandatory::Forced,
            Some("optimal") => Mandatory::Optimal,
            _ => Mandatory::Off,
        };
        Self {
            mandatory,
            fences: mandatory != Mandatory::Off && options.bool("enforce-mandatory-lock"),
            trace: options.bool("trace"),
            monkey: options.bool("monkey-unlocking"),
            settings: Settings {
                notify_every: options.bool("notify-contention").then_some(every),
                revocation: Revocation {
                    after: seconds("revocation-secs").map(Duration::from_secs),
                    max_waiting: seconds("revocation-max-blocked")
                        .and_then(|most| usize::try_from(most).ok()),
                    clear_all: options.bool("revocation-clear-all"),
                },
            },
        }
    }
}
