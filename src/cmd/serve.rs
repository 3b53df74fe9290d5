//! `kiln serve`

use crate::boot;
use crate::cli::ServeArgs;
use crate::failure::Outcome;

/// Serves until it is stopped.
pub fn run(args: &ServeArgs, detached: bool) -> Outcome {
    boot::serve::run(args, detached)
}
