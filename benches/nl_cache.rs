//! What `performance/nl-cache` costs: a lookup that it answers, one that it has to pass on, with and without an entry of the
//! directory, and a fop that makes a name.
//!
//! On one core, over a leaf that answers at once: `ENOENT` to lookups, success to `mknod`. The cost of a lookup that is passed
//! on is the difference to the bare leaf. What a hit saves is the brick's own answer, see `posix`.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use kiln_uring::sim::{MemFs, Sim};
use kiln_uring::{Core, Errno, Sys};
use kiln_xlators::call::CallSpec;
use kiln_xlators::fop::{Fop, reply, request};
use kiln_xlators::graph::{Blueprint, Graph, Next};
use kiln_xlators::translator::{Children, InstanceContext, Translator, TranslatorType};
use kiln_xlators::types::{Dict, Gfid, Loc, Name, Value, Xdata};
use kiln_xlators::volfile::{Node, Volfile};
use kiln_xlators::{intercept, keys, registry};

/// Answers at once.
struct Leaf {
    next: Next,
}

intercept! {
    impl Fops for Leaf {
        async fn lookup(&self, call, req) {
            let _ = (call, req);
            Err(Errno::NOENT.into())
        }
        async fn mknod(&self, call, req) {
            let _ = (call, req);
            Ok(reply::Made::default())
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

fn graph(core: &Core, cache: bool, limit: &str) -> Rc<Graph> {
    let mut volfile = Volfile { nodes: vec![Node::new("leaf", "leaf", &[], &[])] };
    if cache {
        let options = [("nl-cache-limit", limit)];
        volfile.nodes.push(Node::new("nl", "performance/nl-cache", &options, &["leaf"]));
    }
    let sys: Arc<dyn Sys> = MemFs::new();
    let find = |name: &str| if name == LEAF.name { Some(&LEAF) } else { registry::find(name) };
    let blueprint = Blueprint::with_types(&volfile, &sys, 1, find).expect("a graph");
    Graph::new(&blueprint, core).expect("a graph")
}

/// Ten directories of a thousand names, as an include path searches them.
fn entries() -> Vec<Loc> {
    (0..10_000_u32)
        .map(|number| {
            let mut gfid = [0x40; 16];
            gfid[8..12].copy_from_slice(&(number % 10).wrapping_mul(0x9e37_79b9).to_be_bytes());
            let name = format!("some/include-{}.h", number / 10).replace('/', "-");
            Loc::entry(Gfid::from_bytes(gfid), Name::new(name.as_bytes()).expect("a name"))
        })
        .collect()
}

async fn look(graph: &Graph, loc: &Loc, xdata: &Xdata) {
    let call = graph.begin(CallSpec::internal(Fop::Lookup, loc.parent));
    let req = request::Lookup { loc: loc.clone(), xdata: xdata.clone() };
    let answer = graph.top().lookup(&call, req).await;
    std::hint::black_box(answer).expect_err("no name is there");
}

/// Lookups of all entries in turn.
fn lookups(cache: bool, limit: &str, xdata: &Xdata, n: u64) -> Duration {
    Sim::new(1).run(async |core: Core| {
        let (graph, entries) = (graph(&core, cache, limit), entries());
        for loc in &entries {
            look(&graph, loc, xdata).await;
        }
        let start = Instant::now();
        for number in 0..n {
            look(&graph, &entries[number as usize % entries.len()], xdata).await;
        }
        start.elapsed()
    })
}

fn makes(cache: bool, n: u64) -> Duration {
    Sim::new(1).run(async |core: Core| {
        let (graph, entries) = (graph(&core, cache, "16MB"), entries());
        let start = Instant::now();
        for number in 0..n {
            let loc = entries[number as usize % entries.len()].clone();
            let call = graph.begin(CallSpec::internal(Fop::Mknod, loc.parent));
            let req = request::Mknod { loc, mode: 0o100_644, rdev: 0, umask: 0, xdata: Xdata::NONE };
            std::hint::black_box(graph.top().mknod(&call, req).await).expect("an answer");
        }
        start.elapsed()
    })
}

fn nl_cache(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("nl-cache");
    // What a stock client's mount asks for with each lookup.
    let stock: Xdata = [
        (keys::GFID_REQ, Value::Gfid(Gfid::ROOT)),
        (keys::CONTENT, Value::Uint(65_536)),
        (keys::DHT_LINKTO, Value::Uint(256)),
        (c"trusted.glusterfs.dht", Value::Uint(0)),
        (c"security.selinux", Value::Uint(0)),
        (c"security.capability", Value::Uint(0)),
        (keys::ACL_ACCESS, Value::Uint(0)),
        (keys::ACL_DEFAULT, Value::Uint(0)),
    ]
    .into_iter()
    .collect::<Dict>()
    .into();
    for (name, cache, limit, xdata) in [
        ("lookup/bare", false, "", &Xdata::NONE),
        ("lookup/hit", true, "16MB", &Xdata::NONE),
        ("lookup/miss that is stored, all memory taken", true, "200KB", &Xdata::NONE),
        ("lookup/miss that is not stored", true, "0", &Xdata::NONE),
        ("lookup of a stock client/bare", false, "", &stock),
        ("lookup of a stock client/hit", true, "16MB", &stock),
    ] {
        group.bench_function(name, |b| b.iter_custom(|n| lookups(cache, limit, xdata, n)));
    }
    for (name, cache) in [("mknod/bare", false), ("mknod/cached", true)] {
        group.bench_function(name, |b| b.iter_custom(|n| makes(cache, n)));
    }
    group.finish();
}

criterion_group!(benches, nl_cache);
criterion_main!(benches);
