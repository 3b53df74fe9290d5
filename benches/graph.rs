//! What a layer of the graph costs: one that intercepts a fop, and one that does not.
//!
//! Over a leaf that answers at once, and over one that waits once, 0 and 8 layers. The intercepting layer does what a real
//! one does at least: it counts the call, keeps eight bytes over the await, and changes the reply. The cost of one layer
//! is the difference, divided by eight; a table of it comes last, from the quickest samples, because whatever else the machine
//! does only ever adds to them. Time is the CPU time of the thread.

use std::cell::Cell;
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use kiln_uring::sim::{MemFs, Sim};
use kiln_uring::{Core, Sys};
use kiln_xlators::call::CallSpec;
use kiln_xlators::fop::{Fop, reply, request};
use kiln_xlators::graph::{Blueprint, Graph, Next};
use kiln_xlators::intercept;
use kiln_xlators::translator::{Children, InstanceContext, Translator, TranslatorType};
use kiln_xlators::types::{Gfid, Loc, Xdata};
use kiln_xlators::volfile::{Node, Volfile};

/// Answers at once.
struct Leaf {
    next: Next,
}

intercept! {
    impl Fops for Leaf {
        async fn stat(&self, call, req) {
            let _ = (call, req);
            Ok(reply::Attr::default())
        }
    }
}

impl Translator for Leaf {}

/// Waits once.
struct WaitingLeaf {
    next: Next,
    core: Core,
}

intercept! {
    impl Fops for WaitingLeaf {
        async fn stat(&self, call, req) {
            let _ = (call, req);
            self.core.yield_now().await;
            Ok(reply::Attr::default())
        }
    }
}

impl Translator for WaitingLeaf {}

/// Intercepts `stat`.
struct Counter {
    next: Next,
    calls: Cell<u64>,
    bytes: Cell<u64>,
}

intercept! {
    impl Fops for Counter {
        async fn stat(&self, call, req) {
            let number = self.calls.get() + 1;
            self.calls.set(number);
            let mut answer = self.next.stat(call, req).await?;
            answer.iatt.size = answer.iatt.size.wrapping_add(number);
            self.bytes.set(self.bytes.get().wrapping_add(answer.iatt.size));
            Ok(answer)
        }
    }
}

impl Translator for Counter {}

/// Intercepts something else.
struct Passed {
    next: Next,
}

intercept! {
    impl Fops for Passed {
        async fn mkdir(&self, call, req) { self.next.mkdir(call, req).await }
    }
}

impl Translator for Passed {}

macro_rules! layer_type {
    ($name:literal, $children:ident, |$context:ident| $make:expr) => {
        TranslatorType {
            name: $name,
            about: "for a measurement",
            children: Children::$children,
            options: &[],
            prepare: TranslatorType::nothing_shared,
            instance: |mut $context: InstanceContext<'_>| Ok(Rc::new($make)),
            renew: TranslatorType::nothing_to_renew,
            merge_stats: TranslatorType::no_stats,
        }
    };
}

static TYPES: [TranslatorType; 4] = [
    layer_type!("leaf", None, |context| Leaf { next: context.below() }),
    layer_type!("waiting-leaf", None, |context| WaitingLeaf {
        next: context.below(),
        core: context.core.clone()
    }),
    layer_type!("counter", One, |context| Counter {
        next: context.below(),
        calls: Cell::new(0),
        bytes: Cell::new(0)
    }),
    layer_type!("passed", One, |context| Passed { next: context.below() }),
];

fn graph(core: &Core, leaf: &str, layer: &str, count: usize) -> Rc<Graph> {
    let mut volfile = Volfile { nodes: vec![Node::new("0", leaf, &[], &[])] };
    for index in 0..count {
        volfile.nodes.push(Node::new(&(index + 1).to_string(), layer, &[], &[&index.to_string()]));
    }
    let sys: Arc<dyn Sys> = MemFs::new();
    let find = |name: &str| TYPES.iter().find(|kind| kind.name == name);
    let blueprint = Blueprint::with_types(&volfile, &sys, 1, find).expect("a graph");
    Graph::new(&blueprint, core).expect("a graph")
}

fn measure(leaf: &'static str, layer: &'static str, count: usize, n: u64) -> Duration {
    Sim::new(1).run(async |core: Core| {
        let graph = graph(&core, leaf, layer, count);
        let call = graph.begin(CallSpec::internal(Fop::Stat, Gfid::ROOT));
        let start = thread_cpu();
        for _ in 0..n {
            let req = request::Stat { loc: Loc::object(Gfid::ROOT), xdata: Xdata::NONE };
            std::hint::black_box(graph.top().stat(&call, req).await).expect("an answer");
        }
        thread_cpu() - start
    })
}

fn thread_cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

fn layers(criterion: &mut Criterion) {
    println!("{}", run(criterion));
}

/// Measures, and tells the cost of one layer.
fn run(criterion: &mut Criterion) -> String {
    let mut table = format!("\n{:<44}{:>10}\n", "CPU of one layer", "ns");
    for leaf in ["leaf", "waiting-leaf"] {
        let mut group = criterion.benchmark_group(format!("graph/{leaf}"));
        let mut quickest = [f64::INFINITY; 3];
        for (at, (layer, count)) in [("counter", 0), ("counter", 8), ("passed", 8)].into_iter().enumerate() {
            group.bench_function(format!("{count} x {layer}"), |b| {
                b.iter_custom(|n| {
                    let took = measure(leaf, layer, count, n);
                    // The first few of a run are too short for the clock.
                    if n > 1000 {
                        quickest[at] = quickest[at].min(took.as_secs_f64() * 1e9 / n as f64);
                    }
                    took
                })
            });
        }
        group.finish();
        let what = if leaf == "leaf" { "the leaf answers at once" } else { "the leaf waits once" };
        for (layer, eight) in [("intercepting", quickest[1]), ("passed by", quickest[2])] {
            let _ =
                writeln!(table, "{:<44}{:>10.1}", format!("{layer}, {what}"), (eight - quickest[0]) / 8.0);
        }
    }
    table
}

criterion_group!(benches, layers);
criterion_main!(benches);
