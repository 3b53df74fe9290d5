//! `kiln._native.Host`: what a translator gets from the brick besides requests: its log and its figures.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use hdrhistogram::Histogram as Buckets;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use serde_json::{Value as Json, json};

use crate::glupy::instance::lock;

/// Most figures of one translator.
const FIGURES: usize = 1024;
/// Digits that histograms keep.
const DIGITS: u8 = 2;

/// The figures of one translator, by name.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    counters: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
    histograms: Mutex<BTreeMap<String, Arc<Mutex<Buckets<u64>>>>>,
}

impl Metrics {
    /// Counters, and histograms as their percentiles.
    pub(crate) fn report(&self) -> (Json, Json) {
        let counters: BTreeMap<_, _> = lock(&self.counters)
            .iter()
            .map(|(name, value)| (name.clone(), value.load(Ordering::Relaxed)))
            .collect();
        let histograms: BTreeMap<_, _> = lock(&self.histograms)
            .iter()
            .map(|(name, buckets)| {
                let buckets = lock(buckets);
                let at = |quantile| buckets.value_at_quantile(quantile);
                let figures = json!({
                    "count": buckets.len(), "mean": buckets.mean(), "min": buckets.min(), "max": buckets.max(),
                    "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "p999": at(0.999),
                });
                (name.clone(), figures)
            })
            .collect();
        (json!(counters), json!(histograms))
    }
}

/// See the [module](self).
#[pyclass(frozen, module = "kiln._native")]
pub struct Host {
    layer: String,
    metrics: Arc<Metrics>,
}

impl Host {
    pub(crate) const fn new(layer: String, metrics: Arc<Metrics>) -> Self {
        Self { layer, metrics }
    }
}

fn checked(name: &str, known: usize) -> PyResult<()> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if name.is_empty() || name.len() > 100 || !name.bytes().all(good) {
        let fault =
            format!("`{name}` is no name for a figure: letters, digits, `_`, `-` and `.`, at most 100");
        return Err(PyValueError::new_err(fault));
    }
    if known >= FIGURES {
        return Err(PyValueError::new_err(format!("a translator has at most {FIGURES} figures")));
    }
    Ok(())
}

#[pymethods]
impl Host {
    /// The counter of that name; the same one each time.
    fn counter(&self, name: &str) -> PyResult<Counter> {
        let mut counters = lock(&self.metrics.counters);
        if let Some(known) = counters.get(name) {
            return Ok(Counter(Arc::clone(known)));
        }
        checked(name, counters.len())?;
        Ok(Counter(Arc::clone(counters.entry(name.into()).or_default())))
    }

    /// The histogram of that name; the same one each time.
    fn histogram(&self, name: &str) -> PyResult<Histogram> {
        let mut histograms = lock(&self.metrics.histograms);
        if let Some(known) = histograms.get(name) {
            return Ok(Histogram(Arc::clone(known)));
        }
        checked(name, histograms.len())?;
        let fault = |error: hdrhistogram::CreationError| PyValueError::new_err(error.to_string());
        let made = Arc::new(Mutex::new(Buckets::new(DIGITS).map_err(fault)?));
        histograms.insert(name.into(), Arc::clone(&made));
        Ok(Histogram(made))
    }

    /// Writes to the brick's log, at one of `logging`'s levels.
    fn log(&self, level: i64, message: &str) {
        let layer = self.layer.as_str();
        match level {
            40.. => tracing::error!(target: "python", layer, "{message}"),
            30.. => tracing::warn!(target: "python", layer, "{message}"),
            20.. => tracing::info!(target: "python", layer, "{message}"),
            10.. => tracing::debug!(target: "python", layer, "{message}"),
            _ => tracing::trace!(target: "python", layer, "{message}"),
        }
    }
}

/// A number that only grows.
#[pyclass(frozen, module = "kiln._native")]
pub struct Counter(Arc<AtomicU64>);

#[pymethods]
impl Counter {
    /// Adds `n`.
    #[pyo3(signature = (n = 1))]
    fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// What it counted so far.
    #[getter]
    fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How often which values came.
#[pyclass(frozen, module = "kiln._native")]
pub struct Histogram(Arc<Mutex<Buckets<u64>>>);

#[pymethods]
impl Histogram {
    /// Counts one value.
    fn record(&self, value: u64) {
        lock(&self.0).saturating_record(value);
    }

    /// How many values were counted.
    #[getter]
    fn count(&self) -> u64 {
        lock(&self.0).len()
    }
}
