//! What a lookup costs when a Python translator handles it.
//!
//! A core sends waves of 1, 8, 64 and 256 lookups at once through `features/glupy` over a leaf that answers at once. The
//! Python thread gets each wave as one batch or few. The CPU time of both threads is divided by the lookups; what the same
//! wave costs without the layer, and what the Python function itself costs when Rust calls it with arguments that are
//! ready, are taken off. Two last rows measure fops that the class does not define, with and without the layer.
//!
//! `cargo bench --bench python` prints the table; the quickest of several samples counts, because whatever else the machine
//! does only adds to it.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use kiln_python::glupy::bare;
use kiln_uring::{Core, Engine, EngineConfig, Errno, Sys};
use kiln_xlators::call::CallSpec;
use kiln_xlators::fop::{Fop, reply, request};
use kiln_xlators::graph::{Blueprint, Graph, Next};
use kiln_xlators::intercept;
use kiln_xlators::registry;
use kiln_xlators::translator::{Children, InstanceContext, Translator, TranslatorType};
use kiln_xlators::types::{Gfid, Loc, Name, Xdata};
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
        async fn lookup(&self, call, req) {
            let _ = (call, req);
            Err(Errno::NOENT.into())
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
    renew: TranslatorType::nothing_to_renew,
    instance: |mut context: InstanceContext<'_>| Ok(Rc::new(Leaf { next: context.below() })),
    merge_stats: TranslatorType::no_stats,
};

/// The translators: the same work, a probe of a set, for one request and for many.
const MODULE: &str = r#"
import kiln

ABSENT = frozenset((b"x" * 16, b"name%d" % n) for n in range(1000))
ANSWER = kiln.Failure(2)

class Plain(kiln.Translator):
    def lookup(self, ctx, loc, xdata):
        if (loc.parent, loc.name) in ABSENT:
            return ANSWER
        return None

class Batch(kiln.Translator):
    def lookup_batch(self, requests):
        absent = ABSENT
        found = []
        for request in requests:
            loc = request.loc
            found.append(ANSWER if (loc.parent, loc.name) in absent else None)
        return found
"#;

const SAMPLES: usize = 15;
const LOOKUPS: usize = 20_000;

/// One sample: CPU time per fop of all threads of the process, and the time of the clock.
#[derive(Clone, Copy, Debug)]
struct Cost {
    cpu: f64,
    wall: f64,
}

fn loc() -> Loc {
    Loc::entry(Gfid::from_bytes([b'x'; 16]), Name::new(b"name77").expect("it is one"))
}

async fn lookup(graph: &Graph) {
    let call = graph.begin(CallSpec::internal(Fop::Lookup, Gfid::ROOT));
    let request = request::Lookup { loc: loc(), xdata: Xdata::NONE };
    let answer = graph.top().lookup(&call, request).await;
    assert_eq!(answer.err().map(|error| error.errno), Some(Errno::NOENT));
}

async fn stat(graph: &Graph) {
    let call = graph.begin(CallSpec::internal(Fop::Stat, Gfid::ROOT));
    let request = request::Stat { loc: Loc::object(Gfid::ROOT), xdata: Xdata::NONE };
    assert!(graph.top().stat(&call, request).await.is_ok());
}

fn process_cpu() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// Sends waves of `wave` fops until there were enough.
async fn sample(core: &Core, graph: &Rc<Graph>, wave: usize, fop: Fop) -> Cost {
    let (cpu, began) = (process_cpu(), Instant::now());
    let waves = LOOKUPS / wave;
    for _ in 0..waves {
        let mut under_way = Vec::with_capacity(wave);
        for _ in 0..wave {
            let graph = Rc::clone(graph);
            under_way.push(core.spawn_join(async move {
                match fop {
                    Fop::Lookup => lookup(&graph).await,
                    _ => stat(&graph).await,
                }
            }));
        }
        for fop in under_way {
            fop.await;
        }
    }
    let fops = (waves * wave) as f64;
    Cost { cpu: (process_cpu() - cpu) / fops, wall: began.elapsed().as_nanos() as f64 / fops }
}

fn graph(core: &Core, directory: &str, class: Option<&str>) -> Rc<Graph> {
    let mut nodes = vec![Node::new("leaf", LEAF.name, &[], &[])];
    if let Some(class) = class {
        let options = [("module-name", "bench_lookup"), ("class-name", class), ("search-path", directory)];
        nodes.push(Node::new("python", "features/glupy", &options, &["leaf"]));
    }
    let find = |name: &str| if name == LEAF.name { Some(&LEAF) } else { registry::find(name) };
    let sys: Arc<dyn Sys> = Arc::clone(core.sys());
    let blueprint = Blueprint::with_types(&Volfile { nodes }, &sys, 1, find).expect("a graph");
    Graph::new(&blueprint, core).expect("a graph")
}

/// What one core measures.
async fn measure(core: Core, directory: String, results: mpsc::Sender<(String, usize, Cost)>) {
    let graphs = [
        ("nothing", graph(&core, &directory, None)),
        ("plain", graph(&core, &directory, Some("Plain"))),
        ("batch", graph(&core, &directory, Some("Batch"))),
    ];
    for _ in 0..SAMPLES {
        for wave in [1, 8, 64, 256] {
            for (name, graph) in &graphs {
                let cost = sample(&core, graph, wave, Fop::Lookup).await;
                let _ = results.send(((*name).into(), wave, cost));
            }
        }
        for (name, graph) in &graphs[..2] {
            let cost = sample(&core, graph, 64, Fop::Stat).await;
            let _ = results.send((format!("stat, {name}"), 64, cost));
        }
    }
}

fn main() {
    registry::add(kiln_python::TRANSLATORS);
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("bench_lookup.py"), MODULE).expect("a file");
    let path = directory.path().to_str().expect("a path of letters").to_owned();
    let config = EngineConfig { cores: 1, ..EngineConfig::default() };
    let (sender, results) = mpsc::channel();
    let sys: Arc<dyn Sys> = kiln_uring::Linux::new();
    let searched = path.clone();
    let engine = Engine::start(config, sys, move |core| {
        let (path, sender) = (path.clone(), sender.clone());
        async move {
            core.spawn(measure(core.clone(), path, sender));
            Ok::<(), std::io::Error>(())
        }
    })
    .expect("a core");
    let mut best: Vec<(String, usize, Cost)> = Vec::new();
    while let Ok((name, wave, cost)) = results.recv_timeout(Duration::from_secs(30)) {
        match best.iter_mut().find(|(known, of, _)| *known == name && *of == wave) {
            Some((.., known)) => {
                known.cpu = known.cpu.min(cost.cpu);
                known.wall = known.wall.min(cost.wall);
            }
            None => best.push((name, wave, cost)),
        }
    }
    let _ = engine.shutdown(Duration::from_secs(1));
    let get = |name: &str, wave: usize| {
        best.iter()
            .find(|(known, of, _)| known == name && *of == wave)
            .map_or(f64::NAN, |(.., cost)| cost.cpu)
    };
    println!("CPU per lookup in nanoseconds, both threads; `bare` is the Python function called from Rust");
    println!(
        "{:8} {:>6} {:>10} {:>10} {:>10} {:>12}",
        "handler", "wave", "total", "no layer", "bare", "on top"
    );
    for (name, class) in [("plain", "Plain"), ("batch", "Batch")] {
        for wave in [1, 8, 64, 256] {
            let (total, nothing) = (get(name, wave), get("nothing", wave));
            let alone = bare::lookup(&searched, "bench_lookup", class, wave, SAMPLES);
            let on_top = total - nothing - alone;
            println!("{name:8} {wave:>6} {total:>10.0} {nothing:>10.0} {alone:>10.0} {on_top:>12.0}");
        }
    }
    println!("\na fop that the class does not define (stat), in nanoseconds of CPU");
    println!("without the layer {:.0}, with it {:.0}", get("stat, nothing", 64), get("stat, plain", 64));
}
