//! From the counters of all cores to a report.

use std::any::Any;
use std::sync::Arc;

use kiln_uring::sys::Timespec;
use serde_json::{Map, Value as Json, json};

use super::control::{Control, Start};
use super::hot::{self, Hot};
use super::top::{Fastest, Frequent};
use super::window::{FopCounters, Traffic, Window};
use crate::errno;
use crate::fop::Fop;

/// The lists of most used objects, with their names in a report.
#[derive(Clone, Copy)]
pub(super) enum TopList {
    Open,
    Read,
    Write,
    Opendir,
    Readdir,
}

const TOP_LISTS: [(&str, TopList); 5] = [
    ("open", TopList::Open),
    ("read", TopList::Read),
    ("write", TopList::Write),
    ("opendir", TopList::Opendir),
    ("readdir", TopList::Readdir),
];

/// The top lists of one core.
#[derive(Clone, Default)]
pub(super) struct Tops {
    frequent: [Frequent; TOP_LISTS.len()],
    pub fastest_read: Fastest,
    pub fastest_write: Fastest,
}

impl Tops {
    pub(super) fn list(&mut self, list: TopList) -> &mut Frequent {
        &mut self.frequent[list as usize]
    }
}

/// Upper bounds of the buckets that latencies are reported in, in nanoseconds: from what a cached stat takes to what makes
/// applications give up. What took longer is in one more bucket.
const LATENCY_BOUNDS: [u64; 22] = [
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// What one core hands in.
pub(super) struct Snapshot {
    pub control: Arc<Control>,
    pub unique_id: String,
    pub volume_id: String,
    pub latency_measurement: bool,
    pub count_fop_hits: bool,
    /// Calls under way, by [`Fop`].
    pub in_flight: Vec<u32>,
    /// All intervals but the present one.
    pub past: Window,
    /// The last complete interval.
    pub last: Window,
    /// The present interval.
    pub current: Window,
    pub tops: Tops,
    pub hot: Hot,
    /// One of how many fops is looked at for `hot`.
    pub sampled: u32,
}

/// See [`TranslatorType::merge_stats`](crate::translator::TranslatorType::merge_stats). All latencies are nanoseconds,
/// all sizes bytes, all points in time seconds since the epoch.
pub(super) fn merge(parts: Vec<Box<dyn Any + Send>>) -> Json {
    let parts: Vec<Box<Snapshot>> = parts.into_iter().filter_map(|part| part.downcast().ok()).collect();
    let Some(first) = parts.first() else { return Json::Null };
    let control = &first.control;
    let periods = control.periods();

    let [mut total, mut last, mut current] = [Window::default(), Window::default(), Window::default()];
    let mut in_flight = vec![0_u64; Fop::COUNT];
    for part in &parts {
        total.absorb(&part.past);
        total.absorb(&part.current);
        last.absorb(&part.last);
        current.absorb(&part.current);
        in_flight.iter_mut().zip(&part.in_flight).for_each(|(sum, count)| *sum += u64::from(*count));
    }
    let in_flight: Map<String, Json> = Fop::ALL
        .iter()
        .zip(in_flight)
        .filter(|(_, count)| *count > 0)
        .map(|(fop, count)| (fop.name().into(), count.into()))
        .collect();
    let last = periods.previous.map(|start| {
        let nanos = periods.current.monotonic.saturating_sub(start.monotonic);
        period(&last, start, nanos as f64 / 1e9, Some(periods.interval.saturating_sub(1)))
    });
    let elapsed = |start| control.since(start).as_secs_f64();
    let one_in = parts.iter().map(|part| part.sampled).max().unwrap_or(1);
    let (open, most_open, most_open_at) = control.open_files();
    json!({
        "unique_id": first.unique_id,
        "volume_id": first.volume_id,
        "latency_measurement": first.latency_measurement,
        "latency_bounds": LATENCY_BOUNDS,
        "count_fop_hits": first.count_fop_hits,
        "in_flight": in_flight,
        "open_files": { "now": open, "most": most_open, "most_at": most_open_at as f64 / 1e9 },
        "cumulative": period(&total, periods.total, elapsed(periods.total), None),
        "interval": period(&current, periods.current, elapsed(periods.current), Some(periods.interval)),
        "last_interval": last,
        "top": top(&parts),
        "hot": hot::report(parts.iter().map(|part| &part.hot), one_in, control.clock()),
    })
}

fn period(window: &Window, start: Start, seconds: f64, number: Option<u64>) -> Json {
    let mut fops: Map<String, Json> = Fop::ALL
        .iter()
        .zip(&window.fops)
        .filter(|(_, counters)| counters.hits > 0 || counters.latency.is_some())
        .map(|(fop, counters)| (fop.name().into(), fop_report(fop.number(), counters, number.is_none())))
        .collect();
    // GlusterFS counts these callbacks among the fops, with these numbers.
    for (name, number, hits) in [
        ("forget", 41, window.forgets),
        ("release", 42, window.releases),
        ("releasedir", 43, window.releasedirs),
    ] {
        if hits > 0 {
            fops.insert(name.into(), json!({ "number": number, "hits": hits }));
        }
    }
    let mut report = json!({
        "since": seconds_of(start.at),
        "seconds": seconds,
        "bytes_read": window.read.bytes,
        "bytes_written": window.written.bytes,
        "read_sizes": sizes(&window.read),
        "write_sizes": sizes(&window.written),
        "fops": fops,
    });
    if let Some(number) = number {
        report["number"] = number.into();
    }
    report
}

/// With `fine`, latencies as a histogram, too, of which those who ask again and again can take the difference.
fn fop_report(number: u32, counters: &FopCounters, fine: bool) -> Json {
    let errors: Map<String, Json> =
        counters.errors.iter().map(|(errno, times)| (errno::label(*errno), (*times).into())).collect();
    let mut report = json!({ "number": number, "hits": counters.hits, "errors": errors });
    if let Some(latency) = &counters.latency {
        let histogram = &latency.histogram;
        let quantile = |share| histogram.value_at_quantile(share).min(histogram.max());
        report["measured"] = histogram.len().into();
        report["total"] = latency.total.into();
        report["latency_counts"] = latency.counts(&LATENCY_BOUNDS).into();
        if fine {
            let fine = latency.fine().into_iter().map(|(from, count)| (from.to_string(), count.into()));
            report["latency_histogram"] = Json::Object(fine.collect());
        }
        report["min"] = histogram.min().into();
        report["p50"] = quantile(0.5).into();
        report["p90"] = quantile(0.9).into();
        report["p99"] = quantile(0.99).into();
        report["p999"] = quantile(0.999).into();
        report["max"] = histogram.max().into();
        report["mean"] = (latency.total as f64 / histogram.len().max(1) as f64).into();
    }
    report
}

/// Number of requests by the lower bound of their bucket.
fn sizes(traffic: &Traffic) -> Map<String, Json> {
    let filled = traffic.sizes.iter().enumerate().filter(|(_, count)| **count > 0);
    filled.map(|(bucket, count)| ((1_u64 << bucket).to_string(), (*count).into())).collect()
}

fn top(parts: &[Box<Snapshot>]) -> Json {
    let mut report = Map::new();
    for (name, list) in TOP_LISTS {
        let merged = Frequent::merge(parts.iter().map(|part| &part.tops.frequent[list as usize]));
        let entries = merged.iter().map(
            |entry| json!({ "gfid": entry.gfid.to_string(), "count": entry.count, "error": entry.error }),
        );
        report.insert(name.into(), entries.collect());
    }
    let fastest = [
        ("read_perf", Fastest::merge(parts.iter().map(|part| &part.tops.fastest_read))),
        ("write_perf", Fastest::merge(parts.iter().map(|part| &part.tops.fastest_write))),
    ];
    for (name, merged) in fastest {
        let entries = merged.iter().map(|entry| {
            json!({ "gfid": entry.gfid.to_string(), "bytes_per_us": entry.rate, "at": seconds_of(entry.at) })
        });
        report.insert(name.into(), entries.collect());
    }
    report.into()
}

fn seconds_of(time: Timespec) -> f64 {
    time.sec as f64 + f64::from(time.nsec) / 1e9
}
