//! The Python object of one layer, and what is counted about it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kiln_xlators::fop::{Fop, FopSet};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFrozenSet};
use serde_json::{Map, Value as Json, json};

use crate::host::{Host, Metrics};

/// Who handles one half of a fop.
#[derive(Debug, Default)]
pub(crate) enum Handler {
    #[default]
    None,
    /// A method for one request.
    Plain(Py<PyAny>),
    /// A method for many.
    Batch(Py<PyAny>),
    /// A generator function.
    Generator(Py<PyAny>),
}

impl Handler {
    pub(crate) const fn is_some(&self) -> bool {
        !matches!(self, Self::None)
    }

    pub(crate) const fn is_batch(&self) -> bool {
        matches!(self, Self::Batch(_))
    }
}

/// Who handles a fop.
#[derive(Debug, Default)]
pub(crate) struct Halves {
    pub fop: Handler,
    pub reply: Handler,
}

/// Which hooks a translator has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hooks {
    pub notify: bool,
    pub forget: bool,
    pub release: bool,
    pub releasedir: bool,
    pub fini: bool,
    pub statedump: bool,
}

macro_rules! counts {
    ($($(#[doc = $doc:literal])* $name:ident)*) => {
        /// What happened, since the start.
        #[derive(Debug, Default)]
        pub(crate) struct Counts {
            $($(#[doc = $doc])* pub $name: AtomicU64,)*
        }

        impl Counts {
            fn report(&self) -> Map<String, Json> {
                [$((stringify!($name), &self.$name)),*]
                    .into_iter()
                    .map(|(name, count)| (name.into(), json!(count.load(Ordering::Relaxed))))
                    .collect()
            }
        }
    };
}

counts! {
    /// Fop halves that were handled.
    calls
    /// Reply halves that were handled.
    replies
    /// Calls of batch handlers.
    batches
    /// Requests that Python let pass.
    passed
    /// Requests that Python wound itself.
    wound
    /// Requests that Python answered.
    answered
    /// Requests that Python failed with an errno.
    failed
    /// Requests whose handler was at fault.
    broken
    /// Requests whose time limit passed.
    too_late
    /// Requests that found the queue full.
    overloaded
    /// Requests that were not handled because the layer is disabled.
    not_handled
    /// Handlers that ran longer than the time limit.
    stuck
}

/// Adds one.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The last time a handler did not return in time.
#[derive(Clone, Debug)]
pub(crate) struct Stuck {
    pub fop: &'static str,
    pub stack: String,
    pub over: bool,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Instance {
    /// Unique in the process.
    pub number: u32,
    /// The layer's name in its volfile.
    pub name: String,
    /// `kiln._host.Loaded`.
    pub loaded: Py<PyAny>,
    pub hooks: Hooks,
    halves: Vec<Halves>,
    pub counts: Counts,
    pub metrics: Arc<Metrics>,
    /// Most requests of one batch.
    pub batch: AtomicUsize,
    /// Nanoseconds that a handler may take; 0 for ever.
    pub limit: AtomicU64,
    pub disabled: AtomicBool,
    faults: Mutex<HashMap<String, u64>>,
    stuck: Mutex<Option<Stuck>>,
    /// What the translator told of itself last.
    state: Mutex<Json>,
}

/// Kinds of faults that are remembered; a translator that makes up new ones is cut here.
const FAULTS: usize = 256;

impl Instance {
    /// Loads the translator: `kiln._host.load`.
    pub(crate) fn load(py: Python<'_>, wanted: &Wanted) -> PyResult<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let metrics = Arc::<Metrics>::default();
        let host = Py::new(py, Host::new(wanted.name.clone(), Arc::clone(&metrics)))?;
        let options = PyDict::new(py);
        for (key, value) in &wanted.options {
            options.set_item(key, value)?;
        }
        let loaded = py.import("kiln._host")?.getattr("load")?.call1((
            &wanted.name,
            &wanted.module,
            wanted.class.as_deref(),
            wanted.search_path.clone(),
            options,
            host,
        ))?;
        let hooks = loaded.getattr("hooks")?.cast_into::<PyFrozenSet>()?;
        let hook = |name| hooks.contains(name);
        let hooks = Hooks {
            notify: hook("notify")?,
            forget: hook("forget")?,
            release: hook("release")?,
            releasedir: hook("releasedir")?,
            fini: hook("fini")?,
            statedump: hook("statedump")?,
        };
        let mut halves: Vec<Halves> = Fop::ALL.iter().map(|_| Halves::default()).collect();
        for (name, handler) in loaded.getattr("handlers")?.cast_into::<PyDict>()? {
            let name: String = name.extract()?;
            let Some(fop) = Fop::from_name(&name) else { continue };
            halves[fop as usize] = Halves::of(&handler)?;
        }
        Ok(Self {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            name: wanted.name.clone(),
            loaded: loaded.unbind(),
            hooks,
            halves,
            counts: Counts::default(),
            metrics,
            batch: AtomicUsize::new(1),
            limit: AtomicU64::new(0),
            disabled: AtomicBool::new(false),
            faults: Mutex::default(),
            stuck: Mutex::default(),
            state: Mutex::new(Json::Null),
        })
    }

    /// Who handles the fop.
    pub(crate) fn halves(&self, fop: Fop) -> &Halves {
        &self.halves[fop as usize]
    }

    /// The fops that are handled.
    pub(crate) fn interest(&self) -> FopSet {
        let handled = |fop: &&Fop| self.halves(**fop).fop.is_some() || self.halves(**fop).reply.is_some();
        Fop::ALL.iter().filter(handled).fold(FopSet::EMPTY, |set, fop| set.with(*fop))
    }

    /// Whether requests pass by.
    pub(crate) fn is_disabled(&self) -> bool {
        self.disabled.load(Ordering::Relaxed)
    }

    /// Passes everything from now on, for this reason.
    pub(crate) fn disable(&self, why: &str) {
        if !self.disabled.swap(true, Ordering::Relaxed) {
            let what = format!("the Python translator is disabled: {why}; reconfigure it to enable it");
            log_error(&self.name, "", &what);
        }
    }

    /// Notes a fault of a handler; the first of its kind is logged with its traceback.
    pub(crate) fn fault(&self, fop: Option<Fop>, kind: String, traceback: &str) {
        let fop = fop.map_or("hook", Fop::name);
        count(&self.counts.broken);
        let mut faults = lock(&self.faults);
        let known = faults.len();
        match faults.get_mut(&kind) {
            Some(times) => *times += 1,
            None if known < FAULTS => {
                log_error(&self.name, fop, &format!("{kind}\n{traceback}"));
                faults.insert(kind, 1);
            }
            None => *faults.entry("others".into()).or_default() += 1,
        }
    }

    pub(crate) fn set_stuck(&self, stuck: Stuck) {
        *lock(&self.stuck) = Some(stuck);
    }

    pub(crate) fn no_longer_stuck(&self) {
        if let Some(stuck) = lock(&self.stuck).as_mut() {
            stuck.over = true;
        }
    }

    /// Figures for `kiln stats` and the metrics.
    pub(crate) fn stats(&self) -> Json {
        let (counters, histograms) = self.metrics.report();
        json!({
            "requests": self.counts.report(),
            "disabled": self.is_disabled(),
            "faults": *lock(&self.faults),
            "counters": counters,
            "histograms": histograms,
        })
    }

    /// Asks the translator for its state, for the next [`Instance::state`].
    pub(crate) fn refresh(&self, py: Python<'_>) -> PyResult<()> {
        let state = self.loaded.bind(py).call_method0("statedump")?;
        let options = PyDict::new(py);
        options.set_item("default", py.import("builtins")?.getattr("str")?)?;
        let text: String = py.import("json")?.call_method("dumps", (state,), Some(&options))?.extract()?;
        *lock(&self.state) = serde_json::from_str(&text).unwrap_or(Json::Null);
        Ok(())
    }

    /// What the translator told of itself last.
    pub(crate) fn state(&self) -> Json {
        lock(&self.state).clone()
    }

    /// The last stuck handler, for `kiln dump`.
    pub(crate) fn stuck(&self) -> Json {
        match &*lock(&self.stuck) {
            None => Json::Null,
            Some(Stuck { fop, stack, over }) => {
                json!({ "fop": fop, "now": !over, "stack": stack.lines().collect::<Vec<_>>() })
            }
        }
    }
}

/// Writes to the brick's log, or, where a test runs a stack, to that of the test.
fn log_error(layer: &str, fop: &str, what: &str) {
    if crate::interpreter::is_embedded() {
        return tracing::error!(layer, fop, "{what}");
    }
    let told = Python::attach(|py| {
        py.import("kiln.logging")?.getattr("report")?.call1((layer, fop, what)).map(drop)
    });
    if told.is_err() {
        tracing::error!(layer, fop, "{what}");
    }
}

/// Which translator to load.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// Name of the layer.
    pub name: String,
    pub module: String,
    pub class: Option<String>,
    pub search_path: Vec<String>,
    /// Its own options.
    pub options: Vec<(String, String)>,
}

impl Halves {
    fn of(handler: &Bound<'_, PyAny>) -> PyResult<Self> {
        let get = |name: &str| -> PyResult<Option<Py<PyAny>>> {
            let value = handler.getattr(name)?;
            Ok((!value.is_none()).then(|| value.unbind()))
        };
        let fop = match (get("fop")?, get("batch")?) {
            (_, Some(batch)) => Handler::Batch(batch),
            (Some(fop), None) if handler.getattr("generator")?.is_truthy()? => Handler::Generator(fop),
            (Some(fop), None) => Handler::Plain(fop),
            (None, None) => Handler::None,
        };
        let reply = match (get("reply")?, get("reply_batch")?) {
            (_, Some(batch)) => Handler::Batch(batch),
            (Some(reply), None) => Handler::Plain(reply),
            (None, None) => Handler::None,
        };
        Ok(Self { fop, reply })
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
