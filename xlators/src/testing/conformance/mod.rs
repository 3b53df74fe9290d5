//! Does a cache of lookups ever hide a name that exists?
//!
//! [`conforms`] puts layers (the cache, and whatever belongs to it) on a leaf in memory that takes its time, lets clients on
//! several cores look up, create, link, rename and remove a few names, in an order that a seed decides, and holds each
//! answer to a lookup against what was true at the time:
//!
//! - `ENOENT` only if at some moment between the question and the answer the name was absent;
//! - an object only if at some such moment the name led to it;
//! - and, with [`Plan::strict_parents`], in a directory whose removal had been answered before the question nothing but
//!   `ESTALE`: a client that hears `ENOENT` believes it of the directory that has the path by now.
//!
//! The leaf knows the truth because each of its fops takes effect at one moment, under a lock, before and after which it
//! waits, or hands the work to a helper thread. It fails now and then, before or after it has done what was asked; clients
//! lose patience now and then, which drops their fop, but not what a helper thread does of it.
//!
//! Two machines can run it. On the simulated one ([`conforms`]) a seed is one history, which can be played again. On real
//! cores ([`conforms_on_threads`]) a seed decides what clients ask for, and the machine when: for layers that are answered
//! from a thread of their own. [`agrees_with_brick`] lets the same clients loose on `storage/posix`.
//!
//! ```ignore
//! let report = conforms(&[("performance/nl-cache", &[])], 0..10_000, &Plan::default())?;
//! assert!(report.spared > 0, "it was never answered from the cache");
//! ```

mod brick;
mod client;
mod ground;
mod leaf;
mod ledger;
mod naive;
mod threads;
mod tree;

use std::fmt;
use std::ops::Range;
use std::rc::Rc;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use kiln_uring::sim::{Latency, Sim};
use kiln_uring::{Core, Errno, Sys};

pub use self::brick::agrees_with_brick;
pub use self::leaf::TYPE;
pub use self::naive::TYPE as NAIVE_TYPE;
pub use self::threads::conforms_on_threads;

use self::client::{Client, Event, History, Looked, Random};
use self::ground::Ground;
use self::ledger::{Ledger, Moment};
use super::LayerSpec;
use crate::fop::Fop;
use crate::graph::{Blueprint, Graph, GraphError};
use crate::registry;
use crate::translator::TranslatorType;
use crate::types::Gfid;
use crate::volfile::{Node, Volfile};

/// What a history is like.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Cores.
    pub cores: usize,
    /// Clients on each.
    pub clients: usize,
    /// Fops of each; every client looks at all names afterwards.
    pub fops: usize,
    /// One in so many fops is given up before its end; 0 is none.
    pub gives_up: usize,
    /// Whether a removed directory must be told from one without the name.
    pub strict_parents: bool,
    /// Where layers' types come from.
    pub find: fn(&str) -> Option<&'static TranslatorType>,
}

impl Plan {
    /// Those of the plan, and the native ones.
    fn types(&self) -> impl Fn(&str) -> Option<&'static TranslatorType> + use<> {
        let find = self.find;
        move |name| find(name).or_else(|| registry::find(name))
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self { cores: 2, clients: 2, fops: 7, gives_up: 12, strict_parents: true, find: registry::find }
    }
}

/// What was played.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Histories.
    pub histories: u64,
    /// Fops.
    pub fops: u64,
    /// Lookups that were answered.
    pub lookups: u64,
    /// Lookups that were answered with `ENOENT`.
    pub absent: u64,
    /// Lookups that did not reach the leaf: a cache that works has many.
    pub spared: u64,
}

impl Report {
    /// Adds another one.
    fn add(&mut self, other: &Self) {
        self.histories += other.histories;
        self.fops += other.fops;
        self.lookups += other.lookups;
        self.absent += other.absent;
        self.spared += other.spared;
    }
}

/// A wrong answer, with all that led to it.
#[derive(Clone, Debug)]
pub struct Violation {
    /// The seed of the history.
    pub seed: u64,
    /// What is wrong.
    pub reason: String,
    /// What everybody did, and what was true, in order.
    pub history: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {}", self.seed, self.reason)?;
        f.write_str(&self.history)
    }
}

impl std::error::Error for Violation {}

/// Plays one history per seed on the simulated machine, with `layers` from the bottom up.
///
/// # Errors
/// The first wrong answer.
///
/// # Panics
/// When a layer cannot be made, or a history does not come to its end.
pub fn conforms(layers: &[LayerSpec<'_>], seeds: Range<u64>, plan: &Plan) -> Result<Report, Box<Violation>> {
    let mut report = Report::default();
    for seed in seeds {
        report.add(&play(layers, seed, plan)?);
    }
    Ok(report)
}

fn play(layers: &[LayerSpec<'_>], seed: u64, plan: &Plan) -> Result<Report, Box<Violation>> {
    let sim = Sim::new(seed);
    sim.set_pool(64 << 10);
    sim.set_latency(Latency { min: Duration::from_micros(1), max: Duration::from_micros(40) });
    let sys: Arc<dyn Sys> = sim.kernel().clone();
    let stage = Stage::new(layers, seed, plan, &sys).expect("the layers of a test can be made");
    sim.run_cores(plan.cores, |core| stage.clone().perform(core));
    stage.judge()
}

/// The layers on a leaf.
fn nodes(leaf: Node, layers: &[LayerSpec<'_>]) -> Volfile {
    let mut nodes = vec![leaf];
    for (kind, options) in layers {
        let below = nodes.last().map(|node| node.name.text.clone()).unwrap_or_default();
        nodes.push(Node::new(&format!("{kind}#{}", nodes.len()), kind, options, &[&below]));
    }
    Volfile { nodes }
}

/// One history in the making, seen by all cores.
#[derive(Clone)]
struct Stage {
    seed: u64,
    plan: Plan,
    blueprint: Arc<Blueprint>,
    ground: Arc<Ground>,
    history: History,
}

impl Stage {
    fn new(layers: &[LayerSpec<'_>], seed: u64, plan: &Plan, sys: &Arc<dyn Sys>) -> Result<Self, GraphError> {
        let volfile = nodes(Node::new("names", TYPE.name, &[], &[]), layers);
        let blueprint = Blueprint::with_types(&volfile, sys, plan.cores, plan.types())?;
        let tree = Arc::clone(&blueprint.layers()[0].shared).downcast().expect("layer 0 is the leaf");
        let ground = Arc::new(Ground::on_tree(&tree));
        Ok(Self { seed, plan: plan.clone(), blueprint, ground, history: History::default() })
    }

    fn client(&self, graph: &Rc<Graph>, number: usize) -> Client {
        let number = graph.core().id() * self.plan.clients + number;
        Client {
            graph: Rc::clone(graph),
            ground: Arc::clone(&self.ground),
            history: Arc::clone(&self.history),
            number,
            random: Random::new(self.seed, number),
            gives_up: self.plan.gives_up,
            last: (Gfid::ROOT, 0),
        }
    }

    /// Lets the clients of one core do what they want, and something else before.
    async fn send_clients(&self, core: &Core, before: impl AsyncFnOnce()) -> Rc<Graph> {
        let graph = Graph::new(&self.blueprint, core).expect("the layers of a test can be made");
        graph.start();
        before().await;
        let everybody: Vec<_> = (0..self.plan.clients)
            .map(|number| core.spawn_join(self.client(&graph, number).run(self.plan.fops)))
            .collect();
        for one in everybody {
            one.await;
        }
        graph
    }

    /// What one core does.
    async fn perform(self, core: Core) {
        let graph = self.send_clients(&core, async || {}).await;
        self.client(&graph, 0).look_around().await;
        graph.fini().await;
    }

    fn history(&self) -> Vec<Event> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn judge(&self) -> Result<Report, Box<Violation>> {
        let history = self.history();
        let ledger = &self.ground.ledger;
        let mut report = Report { histories: 1, fops: history.len() as u64, ..Report::default() };
        for event in history.iter() {
            let Some(looked) = &event.looked else { continue };
            report.lookups += 1;
            report.absent += u64::from(looked.found == Err(Errno::NOENT));
            let removed =
                self.plan.strict_parents.then(|| removal_of(looked.parent, &history, ledger)).flatten();
            wrong(ledger, event, looked, removed).map_or(Ok(()), |why| {
                let reason = format!("{} at {} to {}, {why}", event.what, event.from, event.to);
                Err(Box::new(Violation { seed: self.seed, reason, history: told(&history, ledger) }))
            })?;
        }
        let sent = history.iter().filter(|event| event.fop == Fop::Lookup).count() as u64;
        report.spared = sent - self.ground.lookups();
        Ok(report)
    }
}

/// When it was known that the directory is gone: after its death, with the end of every fop that it died in.
fn removal_of(directory: Gfid, history: &[Event], ledger: &Ledger) -> Option<Moment> {
    let died = ledger.death_of(directory)?;
    let overlapping = history.iter().filter(|event| event.from < died && died <= event.to);
    Some(overlapping.map(|event| event.to).max().unwrap_or(died))
}

/// What is wrong with the answer to a lookup, where `removed` is when the directory was known to be gone.
fn wrong(ledger: &Ledger, event: &Event, looked: &Looked, removed: Option<Moment>) -> Option<&'static str> {
    let was = ledger.within(looked.parent, &looked.name, event.from, event.to);
    let died = ledger.death_of(looked.parent);
    match looked.found {
        Err(Errno::NOENT) if !was.contains(&None) => Some("but the name was there all the time"),
        Err(Errno::NOENT) if removed.is_some_and(|removed| removed < event.from) => {
            Some("but the directory had been removed before")
        }
        Err(Errno::STALE) if died.is_none_or(|died| died > event.to) => Some("but the directory was there"),
        Ok(gfid) if !was.contains(&Some(gfid)) => Some("but the name led there at no time"),
        _ => None,
    }
}

/// The history with the truth between its lines.
fn told(history: &[Event], ledger: &Ledger) -> String {
    let mut lines: Vec<(u64, String)> = history.iter().map(|event| (event.from, event.to_string())).collect();
    for line in ledger.to_string().lines() {
        let at = line.split_whitespace().next().and_then(|at| at.parse().ok()).unwrap_or(0);
        lines.push((at, line.to_owned()));
    }
    lines.sort();
    lines.into_iter().map(|(_, line)| line + "\n").collect()
}

/// The history alone.
fn lines(history: &[Event]) -> String {
    let mut history: Vec<&Event> = history.iter().collect();
    history.sort_by_key(|event| event.from);
    history.into_iter().map(|event| format!("{event}\n")).collect()
}

#[cfg(test)]
mod tests;
