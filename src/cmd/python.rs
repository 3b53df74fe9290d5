//! `kiln python`

use kiln_python::replay::{self, Replay, ReplayError};

use crate::cli::PythonRunArgs;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::logging::Log;

/// Plays a recording over a translator and prints what it shows.
pub fn run(args: &PythonRunArgs) -> Outcome {
    let _log = Log::start(&args.log, args.log.log_file.clone())?;
    let wanted = Replay {
        module: args.module.clone(),
        class_name: args.class_name.clone(),
        search_path: args.search_path.clone(),
        options: args.options.clone(),
        trace: args.replay.clone(),
    };
    let played = replay::run(&wanted).map_err(|error| match &error {
        ReplayError::Recording(_) => {
            Failure::new(Exit::General, format!("{} cannot be played", args.replay.display()))
                .because(&error)
                .next("Record with the translator kiln.record: `kiln python run --help` tells how.")
        }
        ReplayError::Translator(_) => {
            Failure::new(Exit::Brick, format!("the translator `{}` does not start", args.module))
                .because(&error)
        }
    })?;
    super::print(&played.report)?;
    // All has been said.
    if played.faults == 0 { Ok(()) } else { Err(Failure::new(Exit::Findings, "")) }
}
