//! `kiln`: the brick process and the commands around it.

mod boot;
mod cli;
mod cmd;
mod control;
mod exit;
mod failure;
mod load;
mod logging;
mod metrics;
mod top;
mod units;

use std::process::ExitCode;

use clap::Parser as _;

use cli::{Cli, Command, PythonCommand, VolfileCommand};

fn main() -> ExitCode {
    kiln_xlators::registry::add(kiln_python::TRANSLATORS);
    let cli = Cli::parse();
    let detached = cli.detached;
    let done = match cli.command {
        Command::Mount(args) => cmd::mount::run(&args, detached),
        Command::Serve(args) => cmd::serve::run(&args, detached),
        Command::Volfile { command } => match command {
            VolfileCommand::Check { files } => cmd::volfile::check(&files),
            VolfileCommand::Show { file, format, output } => {
                cmd::volfile::show(&file, format, output.as_deref())
            }
            VolfileCommand::Options { translator } => cmd::options::list(translator.as_deref()),
        },
        Command::Stats(args) => cmd::stats::run(&args),
        Command::Top(args) => cmd::top::run(&args),
        Command::Dump(args) => cmd::dump::run(&args),
        Command::Check(args) => cmd::check::run(&args),
        Command::Load(args) => cmd::load::run(&args),
        Command::Python { command: PythonCommand::Run(args) } => cmd::python::run(&args),
        Command::Completions { shell } => cmd::generate::completions(shell),
        Command::Man { dir } => cmd::generate::man(dir.as_deref()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print();
            failure.exit.into()
        }
    }
}
