//! `kiln completions` and `kiln man`

use std::path::Path;

use clap::CommandFactory as _;

use crate::cli::Cli;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};

/// Prints a completion script.
pub fn completions(shell: clap_complete::Shell) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "kiln", &mut script);
    super::print(&String::from_utf8_lossy(&script))
}

/// Writes all man pages into `dir`, or the main page to standard output.
pub fn man(dir: Option<&Path>) -> Outcome {
    let command = Cli::command().disable_help_subcommand(true);
    let Some(dir) = dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command)
            .render(&mut page)
            .map_err(|error| Failure::new(Exit::General, "the man page cannot be made").because(&error))?;
        return super::print(&String::from_utf8_lossy(&page));
    };
    std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(command, dir)).map_err(|error| {
        Failure::new(Exit::General, format!("the man pages cannot be written to {}", dir.display()))
            .because(&error)
    })
}
