//! The native side of `kiln.testing`: a graph over a brick in memory, on a simulated machine.
//!
//! The machine has a thread of its own and stands still between commands. One seed decides every interleaving of the
//! requests that one command sends, Python's included; time is virtual.

mod inject;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use kiln_uring::sim::{MemFs, Sim};
use kiln_uring::{Core, Errno, Sys};
use kiln_xlators::call::{CallSpec, CallTimes, Caller};
use kiln_xlators::error::FopResult;
use kiln_xlators::fd::FdRef;
use kiln_xlators::fop::Fop;
use kiln_xlators::fop::any::{AnyReply, AnyRequest, wind};
use kiln_xlators::graph::{Blueprint, Graph};
use kiln_xlators::registry;
use kiln_xlators::translator::TranslatorType;
use kiln_xlators::types::Gfid;
use kiln_xlators::volfile::{Severity, Volfile};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use serde_json::{Value as Json, json};

use crate::glupy::instance::lock;
use crate::glupy::runner::Runner;
use crate::types::convert::{self, Value};
use crate::types::failure;
use inject::{Fault, Plan};

/// Where the brick is in the machine's file system.
const BRICK: &std::ffi::CStr = c"/brick";

type Answers = Vec<FopResult<Arc<AnyReply>>>;

enum Command {
    /// Fops that are sent at once, each to the core with its number modulo the cores.
    Call(Vec<Arc<AnyRequest>>, Caller, SyncSender<Answers>),
    /// Time passes.
    Pass(Duration, SyncSender<()>),
    Reconfigure(Volfile, SyncSender<Result<(), String>>),
    Stats(SyncSender<Json>),
    Dump(SyncSender<Json>),
    Release(FdRef, SyncSender<()>),
    Forget(Gfid, SyncSender<()>),
}

/// A graph in memory.
#[pyclass(frozen, module = "kiln._native")]
pub struct Stack {
    commands: Mutex<Option<Sender<Command>>>,
    machine: Mutex<Option<JoinHandle<()>>>,
    plan: Plan,
}

/// What the cores of the machine on this thread have.
struct Cores {
    graphs: Vec<Rc<Graph>>,
    blueprint: Arc<Blueprint>,
}

thread_local! {
    static CORES: RefCell<Option<Cores>> = const { RefCell::new(None) };
}

fn find(name: &str) -> Option<&'static TranslatorType> {
    let of_house = || crate::TRANSLATORS.iter().copied().find(|kind| kind.name == name);
    if name == inject::TYPE.name { Some(&inject::TYPE) } else { registry::find(name).or_else(of_house) }
}

/// Runs on the machine's thread from the beginning to the end.
fn machine(
    volfile: &Volfile,
    seed: u64,
    cores: usize,
    commands: Receiver<Command>,
    ready: &SyncSender<Result<Plan, String>>,
) {
    Runner::run_on_this_thread();
    let fs = MemFs::with_seed(seed);
    let made = fs.mkdir_at(libc::AT_FDCWD, BRICK, 0o755).map_err(|error| error.to_string());
    let sim = Sim::with_fs(seed, fs);
    let sys: Arc<dyn Sys> = sim.kernel().clone();
    let built = made
        .and_then(|()| Blueprint::with_types(volfile, &sys, cores, find).map_err(|error| error.to_string()));
    let blueprint = match built {
        Ok(blueprint) => blueprint,
        Err(error) => return drop(ready.send(Err(error))),
    };
    CORES.set(Some(Cores { graphs: Vec::new(), blueprint: Arc::clone(&blueprint) }));
    let commands = RefCell::new(Some(commands));
    sim.run_cores(cores, |core| {
        let graph = Graph::new(&blueprint, &core);
        let commands = (core.id() == 0).then(|| commands.take()).flatten();
        async move {
            let graph = match graph {
                Ok(graph) => graph,
                Err(error) => return drop(ready.send(Err(error.to_string()))),
            };
            graph.start();
            CORES.with_borrow_mut(|cores| cores.as_mut().map(|cores| cores.graphs.push(Rc::clone(&graph))));
            // The others only lend their graphs.
            let Some(commands) = commands else { return };
            core.yield_now().await;
            let _ = ready.send(Ok(inject::plan()));
            while let Ok(command) = commands.recv() {
                perform(&core, command).await;
            }
            graph.fini().await;
        }
    });
    CORES.set(None);
}

/// The graph of a core.
fn graph_of(core: usize) -> Option<Rc<Graph>> {
    CORES.with_borrow(|cores| cores.as_ref()?.graphs.iter().find(|graph| graph.core().id() == core).cloned())
}

async fn perform(core: &Core, command: Command) {
    // Whoever asked may have been interrupted: then nobody takes the answer.
    match command {
        Command::Call(requests, caller, answers) => _ = answers.send(call_all(core, requests, &caller).await),
        Command::Pass(time, done) => {
            core.sleep(time).await;
            let _ = done.send(());
        }
        Command::Reconfigure(volfile, done) => _ = done.send(reconfigure(&volfile)),
        Command::Stats(answer) => _ = answer.send(stats()),
        Command::Dump(answer) => _ = answer.send(dump()),
        Command::Release(fd, done) => {
            if let Some(graph) = graph_of(0) {
                graph.release(&fd);
            }
            core.sleep(Duration::from_micros(100)).await;
            let _ = done.send(());
        }
        Command::Forget(gfid, done) => {
            if let Some(graph) = graph_of(0) {
                graph.forget(gfid);
            }
            core.sleep(Duration::from_micros(100)).await;
            let _ = done.send(());
        }
    }
}

async fn call_all(core: &Core, requests: Vec<Arc<AnyRequest>>, caller: &Caller) -> Answers {
    let cores = core.peers().len().max(1);
    let mut under_way = Vec::with_capacity(requests.len());
    for (index, request) in requests.into_iter().enumerate() {
        let (caller, remote) = (caller.clone(), core.peers()[index % cores].clone());
        under_way.push(core.spawn_join(async move {
            let job = move |core: Core| async move { call(&core, request, caller).await };
            remote.call(job).await.unwrap_or_else(|_| Err(Errno::NOTCONN.into()))
        }));
    }
    let mut answers = Vec::with_capacity(under_way.len());
    for answer in under_way {
        answers.push(answer.await);
    }
    answers
}

async fn call(core: &Core, request: Arc<AnyRequest>, caller: Caller) -> FopResult<Arc<AnyReply>> {
    let Some(graph) = graph_of(core.id()) else { return Err(Errno::NOTCONN.into()) };
    let request = Arc::try_unwrap(request).unwrap_or_else(|shared| shared.duplicate());
    let times = CallTimes::default();
    let spec =
        CallSpec { fop: request.fop(), subject: Gfid::ROOT, caller, times, unique: core.random_u64() >> 1 };
    let call = graph.begin(spec);
    wind(graph.top(), &call, request).await.map(Arc::new)
}

fn reconfigure(volfile: &Volfile) -> Result<(), String> {
    CORES.with_borrow(|cores| {
        let Some(Cores { graphs, blueprint }) = cores else { return Err("the machine stands still".into()) };
        let replaced = blueprint.reconfigure(volfile).map_err(|error| error.to_string())?;
        let refused = graphs.iter().find_map(|graph| graph.reconfigure().err());
        let Some(error) = refused else { return Ok(()) };
        blueprint.restore(replaced);
        for graph in graphs {
            graph.reconfigure().map_err(|error| error.to_string())?;
        }
        Err(error.to_string())
    })
}

fn stats() -> Json {
    CORES.with_borrow(|cores| {
        let Some(Cores { graphs, blueprint }) = cores else { return Json::Null };
        let layers = blueprint.layers().iter().enumerate().map(|(index, layer)| {
            let of_cores: Vec<_> = graphs.iter().filter_map(|graph| graph.layers()[index].stats()).collect();
            let stats = if of_cores.is_empty() { Json::Null } else { (layer.kind.merge_stats)(of_cores) };
            (layer.name.clone(), stats)
        });
        Json::Object(layers.collect())
    })
}

fn dump() -> Json {
    if let Some(runner) = Runner::here() {
        Python::attach(|py| crate::glupy::refresh(py, &runner));
    }
    CORES.with_borrow(|cores| {
        let Some(Cores { graphs, blueprint }) = cores else { return Json::Null };
        let layers = blueprint.layers().iter().enumerate().map(|(index, layer)| {
            let of_cores: Vec<Json> = graphs.iter().map(|graph| graph.layers()[index].statedump()).collect();
            (layer.name.clone(), json!(of_cores))
        });
        Json::Object(layers.collect())
    })
}

impl Stack {
    /// Sends a command and waits for its answer, without the GIL: the machine needs it.
    fn ask<T: Send>(&self, py: Python<'_>, command: impl FnOnce(SyncSender<T>) -> Command) -> PyResult<T> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let commands = lock(&self.commands).clone();
        let gone = || {
            PyRuntimeError::new_err("the stack is closed, or came to a halt: nothing could ever run again")
        };
        commands.and_then(|commands| commands.send(command(sender)).ok()).ok_or_else(gone)?;
        py.detach(move || receiver.recv()).map_err(|_| gone())
    }
}

fn parse(text: &str) -> PyResult<Volfile> {
    let (volfile, diagnostics) = kiln_xlators::volfile::parse(text);
    match diagnostics.iter().find(|diagnostic| diagnostic.severity == Severity::Error) {
        Some(error) => Err(PyValueError::new_err(format!("the volfile: {}", error.message))),
        None => Ok(volfile),
    }
}

fn seconds(seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|error| PyValueError::new_err(error.to_string()))
}

fn loads<'py>(py: Python<'py>, json: &Json) -> PyResult<Bound<'py, PyAny>> {
    py.import("json")?.call_method1("loads", (json.to_string(),))
}

#[pymethods]
impl Stack {
    /// Builds the graph of a volfile. The brick's directory is `/brick`.
    #[new]
    #[pyo3(signature = (volfile, seed = 0, cores = 1))]
    fn new(py: Python<'_>, volfile: &str, seed: u64, cores: usize) -> PyResult<Self> {
        if !(1..=64).contains(&cores) {
            return Err(PyValueError::new_err("a machine has 1 to 64 cores"));
        }
        let volfile = parse(volfile)?;
        let (sender, commands) = mpsc::channel();
        let (ready, readiness) = mpsc::sync_channel(cores);
        let spawned = thread::Builder::new()
            .name("kiln-stack".into())
            .spawn(move || machine(&volfile, seed, cores, commands, &ready))?;
        let plan = py
            .detach(move || readiness.recv())
            .map_err(|_| PyRuntimeError::new_err("the machine came to a halt while it was built"))?
            .map_err(PyValueError::new_err)?;
        Ok(Self { commands: Mutex::new(Some(sender)), machine: Mutex::new(Some(spawned)), plan })
    }

    /// Sends the requests at once; their replies, or failures, in the same order.
    #[pyo3(signature = (requests, uid = 0, gid = 0, groups = Vec::new(), pid = 1, client = 0))]
    #[allow(clippy::too_many_arguments, reason = "who asks, in parts")]
    fn call<'py>(
        &self,
        py: Python<'py>,
        requests: Vec<Bound<'py, PyAny>>,
        uid: u32,
        gid: u32,
        groups: Vec<u32>,
        pid: i32,
        client: u64,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let caller = Caller { uid, gid, groups: groups.into(), pid, client, ..Caller::default() };
        let requests = requests
            .iter()
            .map(|request| match convert::outcome(request)? {
                Value::Wind(request) => Ok(request),
                _ => Err(pyo3::exceptions::PyTypeError::new_err("what is called is a kiln.request")),
            })
            .collect::<PyResult<Vec<_>>>()?;
        let answers = self.ask(py, |answers| Command::Call(requests, caller, answers))?;
        let object = |answer| match answer {
            Ok(reply) => convert::reply_object(py, reply),
            Err(error) => convert::failure_object(py, &error),
        };
        answers.into_iter().map(object).collect()
    }

    /// Lets virtual time pass.
    fn sleep(&self, py: Python<'_>, time: f64) -> PyResult<()> {
        let time = seconds(time)?;
        self.ask(py, |done| Command::Pass(time, done))
    }

    /// Lets the next `times` fops of that name that reach `testing/inject` fail with `errno` (0: not), after `delay` seconds;
    /// with `after`, only once they have taken effect.
    #[pyo3(signature = (fop, errno = 0, delay = 0.0, after = false, times = 1))]
    fn inject(&self, fop: &str, errno: i32, delay: f64, after: bool, times: usize) -> PyResult<()> {
        let of =
            Fop::from_name(fop).ok_or_else(|| PyValueError::new_err(format!("there is no fop `{fop}`")))?;
        let errno = (errno != 0).then(|| failure::errno(errno.into())).transpose()?;
        let fault = Fault { delay: seconds(delay)?, errno, after };
        let mut plan = lock(&self.plan);
        let faults = std::iter::repeat_n(fault, times.min(1_000_000));
        match plan.iter_mut().find(|(known, _)| *known == of) {
            Some((_, queue)) => queue.extend(faults),
            None => plan.push((of, VecDeque::from_iter(faults))),
        }
        Ok(())
    }

    /// Takes the options of another volfile of the same graph.
    fn reconfigure(&self, py: Python<'_>, volfile: &str) -> PyResult<()> {
        let volfile = parse(volfile)?;
        self.ask(py, |done| Command::Reconfigure(volfile, done))?.map_err(PyValueError::new_err)
    }

    /// What `kiln stats` would tell of the layers, by name.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let stats = self.ask(py, Command::Stats)?;
        loads(py, &stats)
    }

    /// What `kiln dump` would tell of the layers, by name and core.
    fn dump<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let dump = self.ask(py, Command::Dump)?;
        loads(py, &dump)
    }

    /// The last holder of the descriptor is gone.
    fn release(&self, py: Python<'_>, fd: &Bound<'_, PyAny>) -> PyResult<()> {
        let fd = convert::fd_of(fd)?;
        self.ask(py, |done| Command::Release(fd, done))
    }

    /// No client remembers the object any more.
    fn forget(&self, py: Python<'_>, gfid: [u8; 16]) -> PyResult<()> {
        self.ask(py, |done| Command::Forget(Gfid::from_bytes(gfid), done))
    }

    /// Stops the graph.
    fn close(&self, py: Python<'_>) {
        let commands = lock(&self.commands).take();
        let machine = lock(&self.machine).take();
        py.detach(|| {
            drop(commands);
            // It has told its panic on standard error.
            machine.map(JoinHandle::join)
        });
    }
}
