//! What locks cost: fops that have nothing to do with them, one that asks for counts, and a lock with its release.
//!
//! All on one core, over a leaf that answers at once. The cost of a layer for a fop that it passes on is the difference
//! between eight of them and none, divided by eight.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use kiln_uring::sim::{MemFs, Sim};
use kiln_uring::{Core, Sys};
use kiln_xlators::call::{Call, CallSpec, Caller};
use kiln_xlators::fd::Fd;
use kiln_xlators::fop::{Fop, reply, request};
use kiln_xlators::graph::{Blueprint, Graph, Next};
use kiln_xlators::translator::{Children, InstanceContext, Translator, TranslatorType};
use kiln_xlators::types::{Flock, Gfid, LkCmd, Loc, LockOwner, LockType, Value, Xdata};
use kiln_xlators::volfile::{Node, Volfile};
use kiln_xlators::{intercept, keys, registry};

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
        async fn lookup(&self, call, req) {
            let _ = call;
            let mut found = reply::Lookup::default();
            found.iatt.gfid = req.loc.gfid;
            Ok(found)
        }
    }
}

impl Translator for Leaf {}

static LEAF: TranslatorType = TranslatorType {
    name: "leaf",
    about: "for a measurement",
    children: Children::None,
    options: &[],
    prepare: TranslatorType::nothing_shared,
    instance: |mut context: InstanceContext<'_>| Ok(Rc::new(Leaf { next: context.below() })),
    renew: TranslatorType::nothing_to_renew,
    merge_stats: TranslatorType::no_stats,
};

fn graph(core: &Core, layer: &str, count: usize) -> Rc<Graph> {
    let mut volfile = Volfile { nodes: vec![Node::new("0", "leaf", &[], &[])] };
    for index in 0..count {
        volfile.nodes.push(Node::new(&(index + 1).to_string(), layer, &[], &[&index.to_string()]));
    }
    let sys: Arc<dyn Sys> = MemFs::new();
    let find = |name: &str| if name == LEAF.name { Some(&LEAF) } else { registry::find(name) };
    let blueprint = Blueprint::with_types(&volfile, &sys, 1, find).expect("a graph");
    Graph::new(&blueprint, core).expect("a graph")
}

fn begin(graph: &Graph) -> Call {
    let caller = Caller { client: 1, pid: 1, lock_owner: LockOwner::new(&[1; 8]), ..Caller::default() };
    graph.begin(CallSpec { caller, ..CallSpec::internal(Fop::Stat, Gfid::ROOT) })
}

fn stats(layer: &'static str, count: usize, xdata: &Xdata, n: u64) -> Duration {
    Sim::new(1).run(async |core: Core| {
        let graph = graph(&core, layer, count);
        let call = begin(&graph);
        let start = Instant::now();
        for _ in 0..n {
            let req = request::Stat { loc: Loc::object(Gfid::ROOT), xdata: xdata.clone() };
            std::hint::black_box(graph.top().stat(&call, req).await).expect("an answer");
        }
        start.elapsed()
    })
}

fn locks_and_releases(n: u64) -> Duration {
    Sim::new(1).run(async |core: Core| {
        let graph = graph(&core, "features/locks", 1);
        let call = begin(&graph);
        let fd = Fd::file(Gfid::from_bytes([7; 16]), 2, 1);
        let start = Instant::now();
        for _ in 0..n {
            for kind in [LockType::Write, LockType::Unlock] {
                let flock = Flock { kind, ..Flock::default() };
                let req = request::Lk { fd: fd.clone(), cmd: LkCmd::Set, flock, xdata: Xdata::NONE };
                std::hint::black_box(graph.top().lk(&call, req).await).expect("the lock is free");
            }
        }
        start.elapsed()
    })
}

fn locks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("locks");
    let asks: Xdata = [(keys::INODELK_DOM_COUNT, Value::Str("v-replicate-0".into()))]
        .into_iter()
        .collect::<kiln_xlators::types::Dict>()
        .into();
    for (layer, count) in
        [("features/locks", 0), ("features/locks", 8), ("features/upcall", 8), ("performance/io-threads", 8)]
    {
        group.bench_function(format!("stat/{count} x {layer}"), |b| {
            b.iter_custom(|n| stats(layer, count, &Xdata::NONE, n))
        });
    }
    for count in [0, 1] {
        group.bench_function(format!("stat with a count asked/{count} x features/locks"), |b| {
            b.iter_custom(|n| stats("features/locks", count, &asks, n))
        });
    }
    group.bench_function("lk and its release", |b| b.iter_custom(locks_and_releases));
    group.finish();
}

criterion_group!(benches, locks);
criterion_main!(benches);
