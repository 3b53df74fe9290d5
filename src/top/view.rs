//! What happened between two looks at a brick.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::latency::{Histogram, Percentiles};
use crate::control::protocol::{CoreStats, LayerStats, Stats};

/// Rates are per second of the interval; absent values are those that the brick does not tell.
#[derive(Clone, Debug, Default, Serialize)]
pub struct View {
    pub version: String,
    pub pid: u32,
    pub source: String,
    pub uptime_s: f64,
    /// Length of the interval.
    pub interval_s: f64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub silent_cores: Vec<usize>,
    /// Whether fops are counted; without, rates and latencies are missing.
    pub counted: bool,
    pub fops_per_s: f64,
    pub errors_per_s: f64,
    pub in_flight: u64,
    pub bytes_read_per_s: f64,
    pub bytes_written_per_s: f64,
    /// Of all fops together.
    pub latency: Option<Percentiles>,
    pub open_files: Option<u64>,
    pub resident_bytes: Option<u64>,
    pub open_fds: Option<u64>,
    /// CPUs that the process keeps busy, helper threads included.
    pub cpus: f64,
    /// The fops of the interval.
    pub fops: Vec<FopRate>,
    pub clients: Option<ClientRates>,
    pub cores: Vec<CoreRates>,
    /// Translators in Python.
    pub python: Vec<PythonRates>,
    /// One in how many fops the lists below are made from.
    pub sampled_one_in: u64,
    pub files: Vec<HotObject>,
    pub directories: Vec<HotObject>,
}

/// One fop.
#[derive(Clone, Debug, Serialize)]
pub struct FopRate {
    pub fop: String,
    pub per_s: f64,
    pub errors_per_s: f64,
    pub in_flight: u64,
    pub latency: Option<Percentiles>,
}

/// The clients of the network.
#[derive(Clone, Debug, Serialize)]
pub struct ClientRates {
    pub clients: u64,
    pub connections: u64,
    pub requests_per_s: f64,
    pub received_bytes_per_s: f64,
    pub sent_bytes_per_s: f64,
    pub in_flight: u64,
    pub held_bytes: u64,
    pub waiting_locks: u64,
}

/// One core.
#[derive(Clone, Debug, Serialize)]
pub struct CoreRates {
    pub core: usize,
    /// Share of a CPU that its thread takes.
    pub cpu: f64,
    /// Tasks and messages that wait for their turn.
    pub load: usize,
    pub calls: usize,
    /// Operations that the kernel has not answered yet.
    pub operations: usize,
    pub turns_per_s: f64,
    pub sleeps_per_s: f64,
    pub polls_per_s: f64,
}

/// One translator in Python.
#[derive(Clone, Debug, Serialize)]
pub struct PythonRates {
    pub layer: String,
    /// Requests that wait for it.
    pub waiting: u64,
    pub calls_per_s: f64,
    pub batches_per_s: f64,
    /// Requests that found its queue full, came too late, or whose handler failed, in the interval.
    pub troubles: u64,
    pub disabled: bool,
}

/// A file or directory that is used much, as `debug/io-stats` tells it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct HotObject {
    pub gfid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    pub per_s: f64,
    pub read_per_s: f64,
    pub write_per_s: f64,
    pub open_per_s: f64,
    pub look_per_s: f64,
    pub list_per_s: f64,
    pub change_per_s: f64,
    pub bytes_read_per_s: f64,
    pub bytes_written_per_s: f64,
}

/// What is read of debug/io-stats.
#[derive(Default, Deserialize)]
#[serde(default)]
struct IoStats {
    count_fop_hits: bool,
    in_flight: BTreeMap<String, u64>,
    open_files: OpenFiles,
    cumulative: Counted,
    hot: Hot,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OpenFiles {
    now: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Counted {
    bytes_read: u64,
    bytes_written: u64,
    fops: BTreeMap<String, Fop>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Fop {
    hits: u64,
    errors: BTreeMap<String, u64>,
    latency_histogram: Histogram,
    max: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Hot {
    one_in: u64,
    files: Vec<HotObject>,
    directories: Vec<HotObject>,
}

/// The numbers at these places in what a layer told, or 0.
fn number(stats: &Json, path: &str) -> u64 {
    stats.pointer(path).and_then(Json::as_u64).unwrap_or(0)
}

/// A layer then and now.
struct Pair<'a> {
    now: &'a LayerStats,
    then: Option<&'a LayerStats>,
}

impl Pair<'_> {
    fn grown(&self, path: &str) -> u64 {
        let then = self.then.map_or(0, |then| number(&then.stats, path));
        number(&self.now.stats, path).saturating_sub(then)
    }

    fn now(&self, path: &str) -> u64 {
        number(&self.now.stats, path)
    }
}

impl View {
    /// `None` when `then` is no earlier look at the same process.
    pub fn between(then: &Stats, now: &Stats) -> Option<Self> {
        let seconds = now.about.uptime_s - then.about.uptime_s;
        if now.about.pid != then.about.pid || seconds <= 0.0 {
            return None;
        }
        let of = |kind: &'static str| {
            let layers = now.layers.iter().filter(move |layer| layer.kind == kind);
            layers.map(|now| Pair {
                now,
                then: then.layers.iter().find(|then| then.name == now.name && then.kind == now.kind),
            })
        };
        let mut view = Self {
            version: now.about.version.clone(),
            pid: now.about.pid,
            source: now.about.source.clone(),
            uptime_s: now.about.uptime_s,
            interval_s: seconds,
            silent_cores: now.about.silent_cores.clone(),
            resident_bytes: now.process.resident_bytes,
            open_fds: now.process.open_fds,
            cpus: (now.process.cpu_s - then.process.cpu_s).max(0.0) / seconds,
            cores: cores(&then.cores, &now.cores, seconds),
            clients: clients(of("protocol/server").collect(), seconds),
            python: of("features/glupy").map(|layer| python(&layer, seconds)).collect(),
            ..Self::default()
        };
        view.count(of("debug/io-stats"), seconds);
        Some(view)
    }

    /// The layers of debug/io-stats; several, of a process with several bricks, are added up.
    fn count<'a>(&mut self, layers: impl Iterator<Item = Pair<'a>>, seconds: f64) {
        let mut all = Histogram::default();
        let mut fops = BTreeMap::<String, (FopRate, Histogram, Option<u64>)>::new();
        let mut longest = None;
        for layer in layers {
            let read = |layer: &LayerStats| IoStats::deserialize(&layer.stats).unwrap_or_default();
            let (now, then) = (read(layer.now), layer.then.map(read).unwrap_or_default());
            let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
            self.counted |= now.count_fop_hits;
            self.bytes_read_per_s += rate(now.cumulative.bytes_read, then.cumulative.bytes_read);
            self.bytes_written_per_s += rate(now.cumulative.bytes_written, then.cumulative.bytes_written);
            self.open_files = Some(self.open_files.unwrap_or(0) + now.open_files.now);
            for (name, fop) in now.cumulative.fops {
                let earlier = then.cumulative.fops.get(&name);
                let per_s = rate(fop.hits, earlier.map_or(0, |earlier| earlier.hits));
                let errors = |fop: &Fop| fop.errors.values().sum::<u64>();
                let errors_per_s = rate(errors(&fop), earlier.map_or(0, errors));
                let in_flight = now.in_flight.get(&name).copied().unwrap_or(0);
                if per_s <= 0.0 && in_flight == 0 {
                    continue;
                }
                let taken = match earlier {
                    Some(earlier) => fop.latency_histogram.since(&earlier.latency_histogram),
                    None => fop.latency_histogram,
                };
                all.add(&taken);
                longest = longest.max(fop.max);
                let fresh =
                    FopRate { fop: name.clone(), per_s: 0.0, errors_per_s: 0.0, in_flight: 0, latency: None };
                let (sum, histogram, max) = fops.entry(name).or_insert((fresh, Histogram::default(), None));
                sum.per_s += per_s;
                sum.errors_per_s += errors_per_s;
                sum.in_flight += in_flight;
                histogram.add(&taken);
                *max = (*max).max(fop.max);
            }
            self.in_flight += now.in_flight.values().sum::<u64>();
            self.sampled_one_in = self.sampled_one_in.max(now.hot.one_in);
            self.files.extend(now.hot.files);
            self.directories.extend(now.hot.directories);
        }
        self.latency = all.percentiles(longest);
        self.fops = fops
            .into_values()
            .map(|(fop, histogram, max)| FopRate { latency: histogram.percentiles(max), ..fop })
            .collect();
        self.fops_per_s = self.fops.iter().map(|fop| fop.per_s).sum();
        self.errors_per_s = self.fops.iter().map(|fop| fop.errors_per_s).sum();
    }
}

fn cores(then: &[CoreStats], now: &[CoreStats], seconds: f64) -> Vec<CoreRates> {
    let rates = |now: &CoreStats| {
        let then = then.iter().find(|then| then.core == now.core).cloned().unwrap_or_default();
        let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
        CoreRates {
            core: now.core,
            cpu: (now.cpu_s - then.cpu_s).max(0.0) / seconds,
            load: now.load,
            calls: now.calls,
            operations: now.operations,
            turns_per_s: rate(now.turns, then.turns),
            sleeps_per_s: rate(now.sleeps, then.sleeps),
            polls_per_s: rate(now.polls, then.polls),
        }
    };
    now.iter().map(rates).collect()
}

/// `None` for a mount, which has no clients.
fn clients(servers: Vec<Pair<'_>>, seconds: f64) -> Option<ClientRates> {
    if servers.is_empty() {
        return None;
    }
    let now = |path: &str| servers.iter().map(|server| server.now(path)).sum::<u64>();
    let rate = |path: &str| servers.iter().map(|server| server.grown(path)).sum::<u64>() as f64 / seconds;
    Some(ClientRates {
        clients: now("/clients"),
        connections: now("/connections"),
        requests_per_s: rate("/requests"),
        received_bytes_per_s: rate("/received_bytes"),
        sent_bytes_per_s: rate("/sent_bytes"),
        in_flight: now("/in_flight"),
        held_bytes: now("/held_bytes"),
        waiting_locks: now("/waiting_locks"),
    })
}

fn python(layer: &Pair<'_>, seconds: f64) -> PythonRates {
    const TROUBLES: [&str; 4] =
        ["/requests/overloaded", "/requests/too_late", "/requests/broken", "/requests/stuck"];
    PythonRates {
        layer: layer.now.name.clone(),
        waiting: layer.now("/waiting"),
        calls_per_s: (layer.grown("/requests/calls") + layer.grown("/requests/replies")) as f64 / seconds,
        batches_per_s: layer.grown("/requests/batches") as f64 / seconds,
        troubles: TROUBLES.iter().map(|path| layer.grown(path)).sum(),
        disabled: layer.now.stats.get("disabled").and_then(Json::as_bool).unwrap_or(false),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testkit::stats;
    use super::*;

    #[test]
    fn rates_and_percentiles_are_of_the_interval() {
        let view = View::between(&stats(10.0, 1000), &stats(12.0, 3000)).unwrap();
        assert_eq!((view.fops_per_s, view.errors_per_s, view.in_flight), (1000.0, 10.0, 3));
        assert_eq!(view.bytes_read_per_s, 4_096_000.0);
        let latency = view.fops[0].latency.as_ref().unwrap();
        assert!((1024..1152).contains(&latency.p50) && latency.p99 >= 65_536, "{latency:?}");
        assert_eq!(view.fops[0].fop, "readv");
        assert_eq!((view.cores[1].cpu, view.cores[1].turns_per_s), (0.5, 1000.0));
        assert_eq!(view.cpus, 1.0);
        let clients = view.clients.unwrap();
        assert_eq!((clients.clients, clients.requests_per_s), (3, 1000.0));
        let python = &view.python[0];
        assert_eq!((python.waiting, python.calls_per_s, python.troubles), (7, 500.0, 20));
        assert_eq!(view.files[0].path.as_deref(), Some("/data/hot file"));
    }

    #[test]
    fn a_brick_that_was_started_anew_has_no_interval() {
        let (mut now, then) = (stats(12.0, 10), stats(10.0, 1000));
        assert!(View::between(&now, &then).is_none());
        now.about.pid += 1;
        assert!(View::between(&then, &now).is_none());
        // Counters that somebody cleared count from zero.
        let view = View::between(&then, &stats(12.0, 10)).unwrap();
        assert_eq!(view.fops_per_s, 0.0);
    }

    #[test]
    fn a_brick_that_tells_little_shows_little() {
        let bare = |uptime: f64| -> Stats {
            serde_json::from_value(serde_json::json!({
                "about": { "name": "b", "version": "0", "pid": 7, "mountpoint": "", "source": "/b", "cores": 1,
                           "uptime_s": uptime },
                "layers": [{ "name": "x", "type": "debug/io-stats", "stats": { "cumulative": 3 } }],
            }))
            .unwrap()
        };
        let view = View::between(&bare(1.0), &bare(2.0)).unwrap();
        assert!(!view.counted && view.clients.is_none() && view.latency.is_none() && view.fops.is_empty());
    }
}
