//! What `debug/io-stats` costs a read: switched off, counting, timing, and looking at no fop, at its own choice of them, and at
//! every one for the hottest files.
//!
//! Over a leaf that answers at once, on one core, so that the difference to `no layer` is the layer's.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use kiln_uring::sim::{MemFs, Sim};
use kiln_uring::{Core, Sys};
use kiln_xlators::call::CallSpec;
use kiln_xlators::fd::Fd;
use kiln_xlators::fop::{Fop, reply, request};
use kiln_xlators::graph::{Blueprint, Graph, Next};
use kiln_xlators::translator::{Children, InstanceContext, Translator, TranslatorType};
use kiln_xlators::types::{Gfid, Xdata};
use kiln_xlators::volfile::{Node, Volfile};
use kiln_xlators::{intercept, registry};

/// Answers at once.
struct Leaf {
    next: Next,
}

intercept! {
    impl Fops for Leaf {
        async fn readv(&self, call, req) {
            let _ = (call, req);
            Ok(reply::Read::default())
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

fn graph(core: &Core, options: Option<&[(&str, &str)]>) -> Rc<Graph> {
    let mut nodes = vec![Node::new("leaf", LEAF.name, &[], &[])];
    if let Some(options) = options {
        nodes.push(Node::new("stats", "debug/io-stats", options, &["leaf"]));
    }
    let sys: Arc<dyn Sys> = MemFs::new();
    let find = |name: &str| if name == LEAF.name { Some(&LEAF) } else { registry::find(name) };
    let blueprint = Blueprint::with_types(&Volfile { nodes }, &sys, 1, find).expect("a graph");
    Graph::new(&blueprint, core).expect("a graph")
}

/// Reads of a hundred files in turn.
fn measure(options: Option<&'static [(&'static str, &'static str)]>, n: u64) -> Duration {
    Sim::new(1).run(async move |core: Core| {
        let graph = graph(&core, options);
        let call = graph.begin(CallSpec::internal(Fop::Readv, Gfid::ROOT));
        let files: Vec<_> =
            (0..100_u8).map(|number| Fd::file(Gfid::from_bytes([number + 1; 16]), 0, 1)).collect();
        let start = Instant::now();
        for fd in files.iter().cycle().take(usize::try_from(n).unwrap_or(usize::MAX)) {
            let req = request::Readv { fd: fd.clone(), size: 4096, offset: 0, flags: 0, xdata: Xdata::NONE };
            std::hint::black_box(graph.top().readv(&call, req).await).expect("an answer");
        }
        start.elapsed()
    })
}

/// Options of the layer; `None` is no layer.
type Case = (&'static str, Option<&'static [(&'static str, &'static str)]>);

const CASES: &[Case] = &[
    ("no layer", None),
    ("off", Some(&[])),
    ("counting", Some(&[("count-fop-hits", "on"), ("ios-sample-interval", "65535")])),
    ("counting, sampling by itself", Some(&[("count-fop-hits", "on")])),
    ("counting, sampling every 64th", Some(&[("count-fop-hits", "on"), ("ios-sample-interval", "64")])),
    ("counting, sampling all", Some(&[("count-fop-hits", "on"), ("ios-sample-interval", "1")])),
    ("counting and timing", Some(&[("count-fop-hits", "on"), ("latency-measurement", "on")])),
];

fn io_stats(c: &mut Criterion) {
    let mut group = c.benchmark_group("io-stats");
    for (name, options) in CASES {
        group.bench_function(*name, |b| b.iter_custom(|n| measure(*options, n)));
    }
    group.finish();
}

criterion_group!(benches, io_stats);
criterion_main!(benches);
