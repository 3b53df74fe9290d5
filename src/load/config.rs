//! What is to be run.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::client::Setup;
use super::distribution::Distribution;
use super::workloads::Workload;

/// On what.
#[derive(Clone, Debug)]
pub enum Where {
    /// A brick.
    Brick {
        /// How to connect; which names are tried follows from the next.
        setup: Setup,
        /// The brick's name, if somebody said it.
        name: Option<String>,
    },
    /// A mounted directory.
    Mount(PathBuf),
}

/// What every thread has to know of a load.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is done.
    pub workload: Workload,
    /// Bytes of one read or write, at least one.
    pub block: usize,
    /// Operations at once on one connection.
    pub depth: usize,
    /// Connections, or users of a mount; at least as many as threads.
    pub connections: usize,
    /// Threads, each with a ring of its own.
    pub threads: usize,
    /// Files of the data set; for `unlink`, those that go.
    pub files: u64,
    /// Bytes of each, a multiple of the block.
    pub file_size: u64,
    /// Names in the directory that is listed and looked up in.
    pub entries: u64,
    /// Which block or name is next.
    pub distribution: Distribution,
    /// Operations per second, all together, that are begun whether others have ended or not; `None` is each when one has
    /// ended.
    pub rate: Option<f64>,
    /// How long before it counts.
    pub warmup: Duration,
    /// How long it counts.
    pub duration: Duration,
    /// End after so many operations instead.
    pub count: Option<u64>,
    /// What decides everything that is random.
    pub seed: u64,
    /// Whether what is read is checked.
    pub verify: bool,
    /// Past page caches.
    pub direct: bool,
    /// Leave the file set.
    pub keep: bool,
    /// Take one that was left.
    pub reuse: bool,
    /// Whether intervals are kept for an HDR log.
    pub intervals: bool,
}

impl Plan {
    /// Operations that may be under way at once.
    pub const fn workers(&self) -> u64 {
        (self.depth * self.connections) as u64
    }

    /// Blocks of one file.
    pub const fn blocks_per_file(&self) -> u64 {
        self.file_size / self.block as u64
    }

    /// Blocks of the data set.
    pub const fn blocks(&self) -> u64 {
        self.blocks_per_file() * self.files
    }
}

/// A load and how its progress is told.
#[derive(Clone, Debug)]
pub struct LoadConfig {
    /// On what.
    pub target: Where,
    /// What.
    pub plan: Plan,
    /// The process whose CPU time and memory are read.
    pub pid: Option<u32>,
    /// Whether a progress bar is drawn on standard error.
    pub progress: bool,
}

/// What the result says of the target.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum TargetInfo {
    /// A brick.
    Brick {
        /// Where it listens.
        address: String,
        /// Its name.
        brick: String,
    },
    /// A mounted directory.
    Mount {
        /// Which.
        dir: PathBuf,
    },
}
