//! What goes over the control socket. A request is one line `{"ask": "stats"}`; the answer is one line, `{"ok": …}` or
//! `{"error": "…"}`; then the brick closes the connection.

use kiln_xlators::protocol::server::ClientReport;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// Longest request that is read, in bytes.
pub const MAX_REQUEST: u64 = 4096;

/// Longest answer that a client reads, in bytes.
pub const MAX_ANSWER: u64 = 1 << 30;

/// A request, as it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// What is wanted.
    pub ask: Ask,
}

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// Statistics of all layers.
    Stats,
    /// Clients of the network, each by itself.
    Clients,
    /// Everything that is in memory now.
    Dump,
}

/// An answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer<T> {
    /// What was asked for.
    Ok(T),
    /// Why there is none: a sentence.
    Error(String),
}

/// Who answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// Name of the brick.
    pub name: String,
    /// Kiln's version.
    pub version: String,
    /// Process.
    pub pid: u32,
    /// Mount point.
    pub mountpoint: String,
    /// Brick directory or volfile.
    pub source: String,
    /// Number of cores.
    pub cores: usize,
    /// Seconds since it was mounted.
    pub uptime_s: f64,
    /// Cores that did not answer in time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silent_cores: Vec<usize>,
}

/// Answer to [`Ask::Stats`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Stats {
    /// Who answers.
    pub about: About,
    /// The layers that keep statistics, top first.
    pub layers: Vec<LayerStats>,
    /// By number.
    #[serde(default)]
    pub cores: Vec<CoreStats>,
    /// Sizes of the front door's tables.
    #[serde(default)]
    pub tables: Json,
    /// What the process takes.
    #[serde(default)]
    pub process: ProcessStats,
}

/// What the process takes.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct ProcessStats {
    /// Seconds of CPU of all threads.
    pub cpu_s: f64,
    /// Memory, in bytes; absent where it is not told.
    pub resident_bytes: Option<u64>,
    /// Open descriptors.
    pub open_fds: Option<u64>,
}

/// What one core does.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CoreStats {
    /// Its number.
    pub core: usize,
    /// Work that waits on it: runnable tasks and messages.
    pub load: usize,
    /// Requests in flight.
    pub calls: usize,
    /// Seconds of CPU that its thread has taken; helper threads are not in it.
    pub cpu_s: f64,
    /// Turns of its loop.
    pub turns: u64,
    /// Turns at whose end nothing was left to do.
    pub sleeps: u64,
    /// Times that a task was run.
    pub polls: u64,
    /// Tasks that exist now.
    pub tasks: usize,
    /// Operations that the kernel has not answered yet.
    pub operations: usize,
    /// Tasks that ended by a panic.
    pub panics: usize,
}

/// Answer to [`Ask::Clients`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Clients {
    /// Who answers.
    pub about: About,
    /// In no order.
    pub clients: Vec<ClientReport>,
}

/// Statistics of one layer, merged over the cores.
#[derive(Debug, Serialize, Deserialize)]
pub struct LayerStats {
    /// Name of the node.
    pub name: String,
    /// Its translator.
    #[serde(rename = "type")]
    pub kind: String,
    /// As the translator tells them.
    pub stats: Json,
}

/// Answer to [`Ask::Dump`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Dump {
    /// Who answers.
    pub about: About,
    /// The tables of the mount.
    pub tables: Json,
    /// The layers, top first.
    pub layers: Vec<LayerOptions>,
    /// By number.
    pub cores: Vec<CoreDump>,
}

/// Options of one layer.
#[derive(Debug, Serialize, Deserialize)]
pub struct LayerOptions {
    /// Name of the node.
    pub name: String,
    /// Its translator.
    #[serde(rename = "type")]
    pub kind: String,
    /// Names of the nodes below.
    pub subvolumes: Vec<String>,
    /// All options that have a value.
    pub options: Vec<OptionValue>,
}

/// One option.
#[derive(Debug, Serialize, Deserialize)]
pub struct OptionValue {
    /// Key.
    pub key: String,
    /// Value in force.
    pub value: String,
    /// Whether the volfile says so; the rest are defaults.
    pub set: bool,
}

/// What one core holds.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct CoreDump {
    /// Its number.
    pub core: usize,
    /// Work that waits on it: runnable tasks and messages.
    pub load: usize,
    /// Requests in flight, oldest first.
    pub calls: Vec<CallDump>,
    /// State of those layers that tell theirs, top first.
    pub layers: Vec<LayerState>,
}

/// One request in flight.
#[derive(Debug, Serialize, Deserialize)]
pub struct CallDump {
    /// The fop.
    pub fop: String,
    /// Microseconds under way.
    pub age_us: u64,
    /// The layer that has it now.
    pub holder: String,
    /// Gfid of the object, or of its parent.
    pub subject: String,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Process; negative for internal clients.
    pub pid: i32,
    /// Connection or mount.
    pub client: u64,
    /// The front door's number of the request.
    pub unique: u64,
}

/// State of one layer on one core.
#[derive(Debug, Serialize, Deserialize)]
pub struct LayerState {
    /// Name of the node.
    pub name: String,
    /// As the translator tells it.
    pub state: Json,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_strict() {
        assert_eq!(serde_json::from_str::<Request>(r#"{"ask":"stats"}"#).unwrap().ask, Ask::Stats);
        for bad in [r#"{"ask":"reboot"}"#, r#"{"ask":"stats","x":1}"#, "[]", "null", "{", "\u{0}"] {
            assert!(serde_json::from_str::<Request>(bad).is_err(), "{bad}");
        }
        let answer = serde_json::to_string(&Answer::<u8>::Error("no".into())).unwrap();
        assert_eq!(answer, r#"{"error":"no"}"#);
    }
}
