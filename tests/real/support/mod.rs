//! What the tests share: scratch directories, Kiln mounts, stock bricks and clients, and pictures of trees to compare.

mod kiln;
pub mod peer;
mod scratch;
mod serve;
mod stock;
mod tree;

pub use kiln::{KilnMount, kiln, signal};
pub use peer::Peer;
pub use scratch::{Image, Scratch};
pub use serve::{Fate, KilnServer, StockClient, free_port};
pub use stock::StockMount;
pub use tree::Tree;

use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// Runs a command to its end and insists on success.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, text(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a shell script in `dir` and insists on success.
pub fn shell(dir: &std::path::Path, script: &str) -> String {
    run(Command::new("bash").args(["-euo", "pipefail", "-c", script]).current_dir(dir))
}

/// Everything that a command said.
pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Waits until `ready` says so.
pub fn wait_for(what: &str, limit: Duration, mut ready: impl FnMut() -> bool) {
    let start = Instant::now();
    while !ready() {
        assert!(start.elapsed() < limit, "waited {limit:?} for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// How long the long tests run: `KILN_TEST_SECONDS`, or `normal`.
pub fn duration(normal: u64) -> Duration {
    let seconds = std::env::var("KILN_TEST_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(normal))
}
