//! Answers from all cores.

use std::any::Any;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use kiln_uring::{Core, Remote};
use kiln_xlators::graph::{Blueprint, Graph, Layer};
use kiln_xlators::protocol::server::{self as door, ClientReport};
use kiln_xlators::storage;
use kiln_xlators::translator::Shared;
use serde_json::Value as Json;

use super::protocol::{
    About, CallDump, Clients, CoreDump, CoreStats, Dump, LayerOptions, LayerState, LayerStats, OptionValue,
    ProcessStats, Stats,
};
use crate::boot::cores;

/// How long the cores have for their answers, all together.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long Python translators have to tell their state, all together; a dump then has what they told before.
const PYTHON_PATIENCE: Duration = Duration::from_millis(500);

/// Where answers come from.
pub struct Source {
    /// Who answers; the uptime and the silent cores are filled in.
    pub about: About,
    /// When it was mounted.
    pub since: Instant,
    /// The graph.
    pub blueprint: Arc<Blueprint>,
    /// The cores.
    pub remotes: Vec<Remote>,
    /// Sizes of the mount's tables.
    pub tables: Box<dyn Fn() -> Json + Send + Sync>,
}

impl Source {
    /// The same with the paths of hot objects, which takes a few system calls for each.
    pub fn stats_with_paths(&self) -> Stats {
        let mut stats = self.stats();
        let bricks: Vec<&Shared> = self
            .blueprint
            .layers()
            .iter()
            .filter(|layer| layer.kind.name == storage::posix::TYPE.name)
            .map(|layer| &layer.shared)
            .collect();
        for list in ["/hot/files", "/hot/directories"] {
            let objects =
                stats.layers.iter_mut().filter_map(|layer| layer.stats.pointer_mut(list)?.as_array_mut());
            for object in objects.flatten() {
                let gfid = object.get("gfid").and_then(Json::as_str).and_then(|text| text.parse().ok());
                let path = gfid
                    .and_then(|gfid| bricks.iter().find_map(|brick| storage::posix::path_of(brick, gfid)));
                if let Some(path) = path {
                    object["path"] = String::from_utf8_lossy(&path).into();
                }
            }
        }
        stats
    }

    /// Statistics of all layers, merged over the cores.
    pub fn stats(&self) -> Stats {
        type OfCore = (CoreStats, Vec<Option<Box<dyn Any + Send>>>);
        let (answers, silent) = self.ask(|core, graph| -> OfCore {
            (stats_of(core, graph), graph.layers().iter().map(|layer| layer.stats()).collect())
        });
        let mut cores = Vec::with_capacity(answers.len());
        let mut of_layers: Vec<Vec<Box<dyn Any + Send>>> = Vec::new();
        of_layers.resize_with(self.blueprint.layers().len(), Vec::new);
        for (index, (core, of_core)) in answers {
            cores.push(CoreStats { load: self.remotes.get(index).map_or(0, Remote::load), ..core });
            for (of_layer, stats) in of_layers.iter_mut().zip(of_core) {
                of_layer.extend(stats);
            }
        }
        let layers = self
            .blueprint
            .layers()
            .iter()
            .zip(of_layers)
            .filter(|(_, stats)| !stats.is_empty())
            .map(|(layer, stats)| LayerStats {
                name: layer.name.clone(),
                kind: layer.kind.name.into(),
                stats: (layer.kind.merge_stats)(stats),
            })
            .rev()
            .filter(|layer| !layer.stats.is_null())
            .collect();
        cores.sort_by_key(|core| core.core);
        Stats { about: self.about(silent), layers, cores, tables: (self.tables)(), process: process_stats() }
    }

    /// The clients of the network.
    pub fn clients(&self) -> Clients {
        let (answers, silent) = self.ask(|_, _| -> Vec<ClientReport> { door::clients() });
        let clients = answers.into_iter().flat_map(|(_, of_core)| of_core).collect();
        Clients { about: self.about(silent), clients }
    }

    /// Everything that is in memory now.
    pub fn dump(&self) -> Dump {
        kiln_python::glupy::refresh_states(PYTHON_PATIENCE);
        let (answers, silent) = self.ask(dump_core);
        let mut cores: Vec<CoreDump> = answers.into_iter().map(|(_, dump)| dump).collect();
        cores.sort_by_key(|dump| dump.core);
        for dump in &mut cores {
            dump.load = self.remotes.get(dump.core).map_or(0, Remote::load);
        }
        let layers = self.blueprint.layers().iter().rev().map(|layer| self.options_of(layer)).collect();
        Dump { about: self.about(silent), tables: (self.tables)(), layers, cores }
    }

    /// Runs `question` on every core; the answers by core, and the cores that gave none in time.
    fn ask<T: Send + 'static>(&self, question: fn(&Core, &Graph) -> T) -> (Vec<(usize, T)>, Vec<usize>) {
        let (sender, receiver) = mpsc::channel();
        let mut silent: Vec<usize> = Vec::new();
        for (index, remote) in self.remotes.iter().enumerate() {
            let sender = sender.clone();
            let job = move |core: &Core| {
                if let Some(answer) = cores::with_graph(|graph| question(core, graph)) {
                    // Whoever asked may have given up.
                    let _ = sender.send((index, answer));
                }
            };
            silent.push(index);
            if remote.post(job).is_err() {
                tracing::debug!(core = index, "the core has stopped");
            }
        }
        drop(sender);
        let end = Instant::now() + PATIENCE;
        let mut answers = Vec::with_capacity(self.remotes.len());
        while let Ok((index, answer)) = receiver.recv_timeout(end.saturating_duration_since(Instant::now())) {
            silent.retain(|core| *core != index);
            answers.push((index, answer));
        }
        (answers, silent)
    }

    fn about(&self, silent_cores: Vec<usize>) -> About {
        About { uptime_s: self.since.elapsed().as_secs_f64(), silent_cores, ..self.about.clone() }
    }

    fn options_of(&self, layer: &Layer) -> LayerOptions {
        let options = layer.options();
        let explicit = options.explicit().map(|(key, value)| (key, value, true));
        let is_set = |key: &str| options.explicit().any(|(set, _)| set == key);
        let defaults = options
            .specs()
            .iter()
            .filter_map(|spec| Some((spec.name, spec.default.filter(|text| !text.is_empty())?, false)))
            .filter(|(key, ..)| !is_set(key));
        LayerOptions {
            name: layer.name.clone(),
            kind: layer.kind.name.into(),
            subvolumes: layer.children.iter().map(|child| self.blueprint.name_of(*child).into()).collect(),
            options: explicit
                .chain(defaults)
                .map(|(key, value, set)| OptionValue { key: key.into(), value: hide_secret(key, value), set })
                .collect(),
        }
    }
}

/// Passwords do not belong into a dump that people mail around.
fn hide_secret(key: &str, value: &str) -> String {
    if key.contains("password") || key.contains("secret") { "***".into() } else { value.into() }
}

fn stats_of(core: &Core, graph: &Graph) -> CoreStats {
    let vitals = core.vitals();
    let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    CoreStats {
        core: core.id(),
        load: 0,
        calls: graph.calls().len(),
        cpu_s: cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9,
        turns: vitals.turns,
        sleeps: vitals.sleeps,
        polls: vitals.polls,
        tasks: vitals.tasks,
        operations: vitals.operations,
        panics: vitals.panics,
    }
}

fn process_stats() -> ProcessStats {
    let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let open = std::fs::read_dir("/proc/self/fd").ok();
    ProcessStats {
        cpu_s: cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9,
        resident_bytes: resident(),
        // One is that of the listing.
        open_fds: open.map(|open| (open.count() as u64).saturating_sub(1)),
    }
}

fn resident() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    pages.checked_mul(u64::try_from(rustix::param::page_size()).ok()?)
}

fn dump_core(core: &Core, graph: &Graph) -> CoreDump {
    let blueprint = graph.blueprint();
    let calls = graph.calls().view(core.now()).into_iter().map(|call| CallDump {
        fop: call.spec.fop.name().into(),
        age_us: u64::try_from(call.age.as_micros()).unwrap_or(u64::MAX),
        holder: blueprint.name_of(call.holder).into(),
        subject: call.spec.subject.to_string(),
        uid: call.spec.caller.uid,
        gid: call.spec.caller.gid,
        pid: call.spec.caller.pid,
        client: call.spec.caller.client,
        unique: call.spec.unique,
    });
    let states = blueprint
        .layers()
        .iter()
        .zip(graph.layers())
        .rev()
        .map(|(layer, instance)| LayerState { name: layer.name.clone(), state: instance.statedump() });
    CoreDump {
        core: core.id(),
        load: 0,
        calls: calls.collect(),
        layers: states.filter(|layer| !layer.state.is_null()).collect(),
    }
}
