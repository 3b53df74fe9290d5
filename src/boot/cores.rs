//! The engine with one graph per core: start, reconfiguration, end.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use kiln_uring::{Core, Engine, EngineConfig, Remote, Sys};
use kiln_xlators::graph::{Blueprint, Graph, GraphError};
use kiln_xlators::volfile::Volfile;

use crate::exit::Exit;
use crate::failure::{Failure, Outcome};

/// How long the cores have to take over new options.
const RECONFIGURE_PATIENCE: Duration = Duration::from_secs(10);

/// How long the layers have for what they do at the end, besides the time for requests.
const FINI_PATIENCE: Duration = Duration::from_secs(5);

/// How often a stopping core looks whether its last request is done.
const DRAIN_LOOK: Duration = Duration::from_millis(2);

/// Set while every core must live: after the start has succeeded and until the end begins.
static SERVING: AtomicBool = AtomicBool::new(false);

thread_local! {
    static HERE: RefCell<Here> = const { RefCell::new(Here { core: None, graph: None }) };
}

/// What a core's thread owns.
struct Here {
    core: Option<usize>,
    graph: Option<Rc<Graph>>,
}

impl Drop for Here {
    /// The thread ends. When nobody has asked for that, the reactor has panicked: half a brick must not go on serving.
    fn drop(&mut self) {
        if let Some(core) = self.core
            && SERVING.load(Ordering::Acquire)
        {
            tracing::error!(core, "the core's thread died; the brick stops at once");
            super::abandon_mount();
            Exit::CoreLost.now();
        }
    }
}

/// Calls `f` with the graph of the core that runs on this thread; `None` on other threads, and before and after its life.
pub fn with_graph<T>(f: impl FnOnce(&Rc<Graph>) -> T) -> Option<T> {
    let graph = HERE.try_with(|here| here.borrow().graph.clone()).ok().flatten();
    graph.as_ref().map(f)
}

/// True while all cores must live.
struct Serving;

impl Drop for Serving {
    fn drop(&mut self) {
        SERVING.store(false, Ordering::Release);
    }
}

/// How a front door learns of the graph of a core, on that core's thread.
#[derive(Clone, Copy)]
pub struct Hooks {
    /// The graph is there.
    pub install: fn(&Rc<Graph>),
    /// The graph is about to go.
    pub uninstall: fn(),
}

/// Running cores.
pub struct Cores {
    // Before the engine: whoever drops it wants the cores to end.
    serving: Serving,
    engine: Engine,
    blueprint: Arc<Blueprint>,
    hooks: Hooks,
}

impl Cores {
    /// Starts the cores, makes a graph on each, and tells the front door of it.
    pub fn start(
        config: EngineConfig,
        sys: Arc<dyn Sys>,
        blueprint: Arc<Blueprint>,
        hooks: Hooks,
    ) -> Outcome<Self> {
        let shared = Arc::clone(&blueprint);
        let engine = Engine::start(config, sys, move |core| {
            let made = Graph::new(&shared, &core);
            async move {
                let graph = made?;
                HERE.with(|here| {
                    let mut here = here.borrow_mut();
                    here.core = Some(core.id());
                    here.graph = Some(Rc::clone(&graph));
                });
                graph.start();
                (hooks.install)(&graph);
                Ok::<(), GraphError>(())
            }
        })
        .map_err(|error| match &error {
            kiln_uring::SetupError::Init { source, .. } if source.is::<GraphError>() => {
                Failure::new(Exit::Brick, "a layer of the graph did not start").because(&error)
            }
            _ => Failure::new(Exit::Engine, "the engine did not start").because(&error),
        })?;
        SERVING.store(true, Ordering::Release);
        Ok(Self { serving: Serving, engine, blueprint, hooks })
    }

    /// The addresses of the cores.
    pub fn remotes(&self) -> &[Remote] {
        self.engine.remotes()
    }

    /// Takes over the options of `volfile` on every core; which of them have changed.
    ///
    /// # Errors
    /// A sentence; all layers go on with their old options then, those of a core that does not answer excepted.
    pub fn reconfigure(&self, volfile: &Volfile) -> Result<Vec<String>, String> {
        let replaced = self.blueprint.reconfigure(volfile).map_err(|error| error.to_string())?;
        let changes = replaced.changes().to_vec();
        if let Err(reason) = self.tell_layers() {
            self.blueprint.restore(replaced);
            // A layer that refuses both, as with certificates that cannot be read any more, has kept what it had.
            if let Err(worse) = self.tell_layers()
                && worse != reason
            {
                tracing::error!("the old options are not in force everywhere: {worse}");
            }
            return Err(reason);
        }
        Ok(changes)
    }

    /// Gives the layers of all cores the options of the blueprint.
    fn tell_layers(&self) -> Result<(), String> {
        let answers = on_all(self.remotes(), RECONFIGURE_PATIENCE, |_, done| {
            let result = with_graph(|graph| graph.reconfigure()).unwrap_or(Ok(()));
            done.send(result).ok();
        });
        let refused: Vec<String> =
            answers.iter().filter_map(|answer| Some(answer.as_ref().err()?.to_string())).collect();
        if let Some(first) = refused.first() {
            return Err(format!("{} of {} cores refused: {first}", refused.len(), self.remotes().len()));
        }
        if answers.len() < self.remotes().len() {
            return Err(format!("only {} of {} cores answered", answers.len(), self.remotes().len()));
        }
        Ok(())
    }

    /// Lets the requests in flight end for at most `drain`, stops the layers, and stops the engine. True when nothing
    /// had to be cut off.
    pub fn stop(self, drain: Duration) -> Outcome<bool> {
        let Self { serving, engine, hooks, .. } = self;
        drop(serving);
        let remotes = engine.remotes();
        let end = Instant::now() + drain;
        // Layers may take as long again: what they write last is worth waiting for.
        let answers = on_all(
            remotes,
            drain.saturating_mul(2) + FINI_PATIENCE,
            move |core, done: mpsc::Sender<usize>| {
                let Some(graph) = with_graph(Rc::clone) else { return };
                let waiter = core.clone();
                core.spawn(async move {
                    while !graph.calls().is_empty() && Instant::now() < end {
                        waiter.sleep(DRAIN_LOOK).await;
                    }
                    let left = graph.calls().len();
                    graph.fini().await;
                    (hooks.uninstall)();
                    drop(graph);
                    let graph = HERE.with(|here| here.borrow_mut().graph.take());
                    drop(graph);
                    done.send(left).ok();
                });
            },
        );
        let cut_calls: usize = answers.iter().sum();
        let silent = remotes.len() - answers.len();
        if cut_calls > 0 || silent > 0 {
            tracing::warn!(cut_calls, silent_cores = silent, "requests did not end in time");
        }
        let drained = engine.shutdown(Duration::from_secs(2)).map_err(|error| {
            Failure::new(Exit::CoreLost, "a core died while the brick stopped").because(&error)
        })?;
        if !drained.is_clean() {
            tracing::debug!(?drained, "background tasks were cut off");
        }
        Ok(cut_calls == 0 && silent == 0)
    }
}

/// Runs `job` on every core; what the cores have sent until all are done or the time is over.
fn on_all<T: Send + 'static>(
    remotes: &[Remote],
    patience: Duration,
    job: impl Fn(&Core, mpsc::Sender<T>) + Send + Clone + 'static,
) -> Vec<T> {
    let (sender, receiver) = mpsc::channel();
    for remote in remotes {
        let (sender, job) = (sender.clone(), job.clone());
        // A stopped core counts as one that does not answer.
        let _ = remote.post(move |core| job(core, sender));
    }
    drop(sender);
    let end = Instant::now() + patience;
    std::iter::from_fn(|| receiver.recv_timeout(end.saturating_duration_since(Instant::now())).ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Set for the second run of this test binary, whose process is to die.
    const CHILD: &str = "KILN_TEST_OF_A_LOST_CORE";

    /// Ends a thread that owns a core, as an unwinding reactor would.
    fn lose_a_core(serving: bool) {
        SERVING.store(serving, Ordering::Release);
        let thread = std::thread::spawn(|| HERE.with(|here| here.borrow_mut().core = Some(3)));
        thread.join().ok();
    }

    #[test]
    fn a_lost_core_ends_the_process_unless_the_end_was_meant() {
        if let Ok(serving) = std::env::var(CHILD) {
            lose_a_core(serving == "yes");
            return;
        }
        let status = |serving: &str| {
            Command::new(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "boot::cores::tests::a_lost_core_ends_the_process_unless_the_end_was_meant",
                ])
                .env(CHILD, serving)
                .output()
                .unwrap()
                .status
                .code()
        };
        assert_eq!(status("yes"), Some(i32::from(Exit::CoreLost as u8)));
        assert_eq!(status("no"), Some(0));
    }
}
