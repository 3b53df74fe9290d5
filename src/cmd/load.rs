//! `kiln load`

use std::io::IsTerminal as _;
use std::time::Duration;

use crate::cli::LoadArgs;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::load::{self, LoadConfig};

/// Runs the load and prints the table.
pub fn run(args: &LoadArgs) -> Outcome {
    let duration = Duration::try_from_secs_f64(args.seconds)
        .map_err(|error| Failure::new(Exit::Usage, format!("--seconds {}", args.seconds)).because(&error))?;
    let config = LoadConfig {
        dir: args.dir.clone(),
        duration,
        threads: args.threads,
        progress: std::io::stderr().is_terminal(),
    };
    let report = load::run(&config).map_err(|error| {
        Failure::new(Exit::General, format!("the load on {} ended early", args.dir.display()))
            .because(&error)
            .next("The log of the process that serves the mount may say more.")
    })?;
    super::print(&format!("{report}\n"))
}
