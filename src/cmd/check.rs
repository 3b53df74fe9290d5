//! `kiln check`

use std::io::IsTerminal as _;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};
use kiln_uring::Sys;
use kiln_uring::sys::linux::Linux;
use kiln_xlators::storage::posix::check::{self, CheckOptions, Phase, Progress};

use crate::cli::CheckArgs;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};

/// Checks the brick and prints what was found.
pub fn run(args: &CheckArgs) -> Outcome {
    let sys: Arc<dyn Sys> = Linux::new();
    let options = CheckOptions { repair: args.repair, gfid2path: !args.no_gfid2path };
    let bar = Bar::new(std::io::stderr().is_terminal());
    let report = check::check(&sys, &args.dir, &options, &mut |progress| bar.show(progress));
    bar.0.finish_and_clear();
    let report = report.map_err(|error| {
        Failure::new(Exit::Brick, format!("{} was not checked", args.dir.display())).because(&error)
    })?;
    if args.json {
        super::print_json(&report)?;
    } else {
        super::print(&format!("{report}\n"))?;
    }
    // All has been said.
    if report.is_clean() { Ok(()) } else { Err(Failure::new(Exit::Findings, "")) }
}

/// Progress on standard error.
struct Bar(ProgressBar);

impl Bar {
    fn new(wanted: bool) -> Self {
        let bar = if wanted { ProgressBar::no_length() } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos:>9}  {msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        Self(bar)
    }

    fn show(&self, progress: &Progress) {
        let what = match progress.phase {
            Phase::Handles => "handles",
            Phase::Names => "names",
            Phase::Rest => "what is left over",
        };
        match progress.total {
            0 => self.0.unset_length(),
            total => self.0.set_length(total.max(progress.done)),
        }
        self.0.set_position(progress.done);
        self.0.set_message(match progress.findings {
            0 => what.to_owned(),
            findings => format!("{what}; {findings} found"),
        });
    }
}
