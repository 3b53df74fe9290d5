//! `features/glupy`: a translator written in Python.
//!
//! Fops that the Python class does not define never come here: the graph links past. Those that it defines go through a
//! queue to the [Python thread](thread) and wait there for at most the time limit; the core serves others meanwhile.
//!
//! | module | subject |
//! | --- | --- |
//! | [`options`] | limits and policies |
//! | [`layer`] | the way of a request through its halves, on its core |
//! | [`port`] | one core's queues, and who waits |
//! | [`task`] | what travels |
//! | [`thread`] | the Python thread |
//! | [`runner`] | calls handlers, and reads what they return |
//! | [`instance`] | the Python object of a layer, and its figures |
//! | [`progress`], [`watchdog`] | handlers that do not return |

pub mod bare;
pub(crate) mod instance;
mod layer;
mod options;
pub(crate) mod port;
pub(crate) mod progress;
pub(crate) mod runner;
pub(crate) mod task;
#[cfg(test)]
mod tests;
pub(crate) mod thread;
mod watchdog;

use std::any::Any;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kiln_xlators::options::Options;
use kiln_xlators::translator::{
    Children, InstanceContext, PrepareContext, Shared, Translator, TranslatorType,
};
use pyo3::Python;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde_json::Value as Json;

use crate::types::convert::{self, Raised};
use instance::{Instance, Wanted};
use layer::Layer;
use options::Config;
use runner::Runner;

/// `features/glupy`.
pub static TYPE: TranslatorType = TranslatorType {
    name: "features/glupy",
    about: "A translator written in Python",
    children: Children::One,
    options: options::OPTIONS,
    prepare,
    renew,
    instance: |context| make(context),
    merge_stats,
};

/// How long a module may take to load, and a hook to run.
const PATIENCE: Duration = Duration::from_secs(30);

/// Does something with the GIL: here, if Python runs here, or on its thread.
fn with_python<T: Send + 'static>(
    job: impl FnOnce(Python<'_>, &Arc<Runner>) -> T + Send + 'static,
) -> Result<T, String> {
    match Runner::here() {
        Some(runner) => Ok(Python::attach(|py| job(py, &runner))),
        None => thread::get()
            .ask(PATIENCE, job)
            .ok_or_else(|| format!("Python has not answered for {} s", PATIENCE.as_secs())),
    }
}

/// An exception, for the operator.
fn explain(py: Python<'_>, error: PyErr) -> String {
    match convert::raised(py, error) {
        Raised::Bug { traceback, .. } => traceback.trim_end().to_owned(),
        Raised::Errno(error) => error.to_string(),
    }
}

fn prepare(context: &PrepareContext<'_>) -> Result<Shared, String> {
    let text = |key| context.options.text(key).filter(|text: &&str| !text.is_empty()).map(str::to_owned);
    let wanted = Wanted {
        name: context.name.to_owned(),
        module: text("module-name").ok_or("it needs `option module-name`")?,
        class: text("class-name"),
        search_path: text("search-path").iter().flat_map(|path| path.split(':')).map(str::to_owned).collect(),
        options: options::of_translator(context.options),
    };
    let loaded = with_python(move |py, runner| match Instance::load(py, &wanted) {
        Ok(instance) => {
            let instance = Arc::new(instance);
            runner.progress.add(&instance);
            Ok(instance)
        }
        Err(error) => Err(format!("Python module `{}`: {}", wanted.module, explain(py, error))),
    })??;
    configure(&loaded, &Config::new(context.options));
    Ok(loaded)
}

/// What the Python side needs of the options.
fn configure(instance: &Instance, config: &Config) {
    let limit = config.limit.map_or(0, |limit| u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX));
    instance.limit.store(limit, Ordering::Relaxed);
    instance.batch.store(config.batch, Ordering::Relaxed);
    instance.disabled.store(false, Ordering::Relaxed);
}

fn renew(shared: &Shared, options: &Options) -> Result<(), String> {
    let instance: Arc<Instance> =
        Arc::clone(shared).downcast().map_err(|_| "shared state of another type".to_owned())?;
    let (ours, theirs) = (Config::new(options), options::of_translator(options));
    let asked = Arc::clone(&instance);
    with_python(move |py, _| {
        let call = || -> PyResult<()> {
            let options = PyDict::new(py);
            for (key, value) in &theirs {
                options.set_item(key, value)?;
            }
            asked.loaded.bind(py).call_method1("reconfigure", (options,)).map(drop)
        };
        call().map_err(|error| explain(py, error))
    })??;
    configure(&instance, &ours);
    Ok(())
}

/// Asks all translators for their state, so that [`Translator::statedump`] has it; waits for at most `limit`. For an ordinary
/// thread, before it asks the cores.
pub fn refresh_states(limit: Duration) {
    let Some(python) = thread::running() else { return };
    python.ask(limit, refresh);
}

/// Asks all translators for their state.
pub(crate) fn refresh(py: Python<'_>, runner: &Arc<Runner>) {
    for instance in runner.progress.instances().iter().filter(|instance| instance.hooks.statedump) {
        let _running = runner.progress.enter_hook(py, instance);
        if let Err(error) = instance.refresh(py) {
            runner.hook_failed(py, instance, "statedump", error);
        }
    }
}

fn make(mut context: InstanceContext<'_>) -> Result<Rc<dyn Translator>, String> {
    let instance = context.shared::<Instance>()?;
    let config = Config::new(context.options);
    Ok(Rc::new(Layer::new(context.below(), context.core, instance, config)))
}

/// What one core hands in.
pub(crate) struct Snapshot {
    /// Figures that the cores share: each tells the same.
    pub shared: Json,
    /// Requests of this core that wait for Python.
    pub waiting: usize,
}

fn merge_stats(of_cores: Vec<Box<dyn Any + Send>>) -> Json {
    let parts: Vec<Box<Snapshot>> = of_cores.into_iter().filter_map(|part| part.downcast().ok()).collect();
    let waiting: usize = parts.iter().map(|part| part.waiting).sum();
    let Some(mut stats) = parts.into_iter().next().map(|part| part.shared) else { return Json::Null };
    stats["waiting"] = waiting.into();
    stats
}
