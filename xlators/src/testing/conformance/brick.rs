//! The same clients on `storage/posix`, on the simulated kernel.
//!
//! What is true in the middle of a brick's fop nobody can tell from outside, so the answers are held against the brick's own
//! when all is quiet: a name that got hidden, or a directory's end that was missed, would stay so.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kiln_uring::sim::{Latency, MemFs, Sim};
use kiln_uring::{Core, Errno, Sys};

use super::client::NAMES;
use super::ground::Ground;
use super::{Plan, Report, Stage, Violation, lines, nodes};
use crate::call::CallSpec;
use crate::fop::{Fop, request};
use crate::graph::{Blueprint, Graph, LayerId, Next};
use crate::testing::{LayerSpec, entry};
use crate::types::{Gfid, Loc, Xdata};
use crate::volfile::Node;

/// Plays one history per seed on the simulated machine, with `layers` from the bottom up over `storage/posix`.
///
/// # Errors
/// The first lookup that the layers answer otherwise than the brick, after the clients have gone.
///
/// # Panics
/// When a layer cannot be made, or a history does not come to its end.
pub fn agrees_with_brick(
    layers: &[LayerSpec<'_>],
    seeds: std::ops::Range<u64>,
    plan: &Plan,
) -> Result<Report, Box<Violation>> {
    let mut report = Report::default();
    for seed in seeds {
        let fs = MemFs::with_seed(seed);
        fs.mkdir_at(libc::AT_FDCWD, c"/brick", 0o755).expect("an empty file system has room");
        let sim = Sim::with_fs(seed, Arc::clone(&fs));
        sim.set_latency(Latency { min: Duration::from_micros(1), max: Duration::from_micros(40) });
        let sys: Arc<dyn Sys> = sim.kernel().clone();
        let posix = Node::new("posix", "storage/posix", &[("directory", "/brick")], &[]);
        let find = plan.types();
        let volfile = nodes(posix, layers);
        let blueprint = Blueprint::with_types(&volfile, &sys, plan.cores, find)
            .expect("the layers of a test can be made");
        let ground = Arc::new(Ground::on_brick());
        let stage = Stage { seed, plan: plan.clone(), blueprint, ground, history: Arc::default() };
        let wrong = sim.run_cores(plan.cores, |core| perform(stage.clone(), Arc::clone(&fs), core));
        let history = stage.history();
        if let Some(reason) = wrong.into_iter().flatten().next() {
            return Err(Box::new(Violation { seed, reason, history: lines(&history) }));
        }
        let count = |fop| history.iter().filter(|event| event.fop == fop).count() as u64;
        let lookups = count(Fop::Lookup);
        let asked = Report { histories: 1, fops: history.len() as u64, lookups, ..Report::default() };
        report.add(&asked);
    }
    Ok(report)
}

/// What one core does; what is wrong in the end.
async fn perform(stage: Stage, fs: Arc<MemFs>, core: Core) -> Option<String> {
    let graph = stage.send_clients(&core, async || fs.drop_caches()).await;
    stage.ground.quiet_cores.fetch_add(1, Ordering::AcqRel);
    while stage.ground.quiet_cores.load(Ordering::Acquire) < stage.plan.cores {
        core.sleep(Duration::from_micros(50)).await;
    }
    // What helper threads still do of fops that were given up.
    core.sleep(Duration::from_millis(20)).await;
    let mut wrong = None;
    for directory in stage.ground.directories() {
        for name in NAMES {
            let loc = entry(directory, name);
            let brick = look(&graph, &graph.entry(LayerId(0)), loc.clone()).await;
            // Twice: the second answer may be the cache's own.
            for _ in 0..2 {
                let told = look(&graph, graph.top(), loc.clone()).await;
                if told != brick {
                    wrong =
                        Some(format!("{loc} is {told:?} on core {}, and {brick:?} on the brick", core.id()));
                }
            }
        }
    }
    graph.fini().await;
    wrong
}

async fn look(graph: &Rc<Graph>, next: &Next, loc: Loc) -> Result<Gfid, Errno> {
    let call = graph.begin(CallSpec::internal(Fop::Lookup, loc.parent));
    let found = next.lookup(&call, request::Lookup { loc, xdata: Xdata::NONE }).await;
    found.map(|found| found.iatt.gfid).map_err(|error| error.errno)
}
