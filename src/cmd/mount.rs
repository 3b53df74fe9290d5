//! `kiln mount`

use crate::boot;
use crate::cli::MountArgs;
use crate::failure::Outcome;

/// Serves until it is stopped.
pub fn run(args: &MountArgs, detached: bool) -> Outcome {
    boot::run(args, detached)
}
