//! Which figures there are. A family is written whole before the next one begins, over all layers and cores that have it.

use serde_json::Value as Json;

use super::text::{Family, Kind, Page, float};
use crate::control::protocol::{CoreStats, LayerStats, ProcessStats, Stats};

const fn gauge(name: &'static str, unit: &'static str, help: &'static str) -> Family {
    Family { name, kind: Kind::Gauge, unit, help }
}

const fn counter(name: &'static str, unit: &'static str, help: &'static str) -> Family {
    Family { name, kind: Kind::Counter, unit, help }
}

/// A number at this path in what a layer tells.
struct Figure {
    family: Family,
    path: &'static str,
}

const fn figure(path: &'static str, family: Family) -> Figure {
    Figure { family, path }
}

/// Of protocol/server.
const SERVER: &[Figure] = &[
    figure("/clients", gauge("kiln_clients", "", "Clients that use a brick.")),
    figure("/connections", gauge("kiln_connections", "", "Connections, with those before their handshake.")),
    figure(
        "/accepted_connections",
        counter("kiln_connections_accepted", "", "Connections that were accepted."),
    ),
    figure(
        "/turned_away_connections",
        counter(
            "kiln_connections_turned_away",
            "",
            "Connections that were closed before they shook hands: a limit, or no TLS.",
        ),
    ),
    figure(
        "/refused_handshakes",
        counter("kiln_handshakes_refused", "", "Clients that were not admitted to a brick."),
    ),
    figure(
        "/received_bytes",
        counter("kiln_network_received_bytes", "bytes", "Bytes that clients have sent."),
    ),
    figure("/sent_bytes", counter("kiln_network_sent_bytes", "bytes", "Bytes that clients were sent.")),
    figure("/errors", counter("kiln_client_errors", "", "Fops of clients that were answered with an error.")),
    figure(
        "/refused_calls",
        counter("kiln_client_refused_calls", "", "Calls that were unknown, garbled, or before a handshake."),
    ),
    figure(
        "/in_flight",
        gauge(
            "kiln_client_in_flight",
            "",
            "Requests that are served, or whose reply the client has not taken yet.",
        ),
    ),
    figure(
        "/held_bytes",
        gauge("kiln_client_held_bytes", "bytes", "Memory that requests of clients and their replies hold."),
    ),
    figure("/waiting_locks", gauge("kiln_client_waiting_locks", "", "Locks that wait for other clients.")),
    figure("/open_fds", gauge("kiln_client_open_fds", "", "Files and directories that clients have open.")),
];

const SERVER_CALLS: Family = counter("kiln_client_requests", "", "Calls of clients by procedure.");

/// Of debug/io-stats.
const IO_STATS: &[Figure] = &[
    figure("/cumulative/bytes_read", counter("kiln_read_bytes", "bytes", "Bytes of files that were read.")),
    figure(
        "/cumulative/bytes_written",
        counter("kiln_written_bytes", "bytes", "Bytes of files that were written."),
    ),
    figure("/open_files/now", gauge("kiln_open_files", "", "Files that are open.")),
    figure("/open_files/most", gauge("kiln_open_files_most", "", "Most files that were open at a time.")),
];

const FOPS: Family = counter("kiln_fops", "", "Finished fops.");
const FOP_ERRORS: Family = counter("kiln_fop_errors", "", "Fops that failed, by errno.");
const FOPS_IN_FLIGHT: Family = gauge("kiln_fops_in_flight", "", "Fops under way.");
const FOP_LATENCY: Family = Family {
    name: "kiln_fop_latency_seconds",
    kind: Kind::Histogram,
    unit: "seconds",
    help: "How long fops took in the brick, those that failed as well.",
};

/// Of features/locks, by core and what is counted.
const LOCKS: Family = gauge("kiln_locks", "", "Locks that clients hold or wait for, by kind.");
const LOCK_FIGURES: &[Figure] = &[
    figure(
        "/waiting",
        gauge("kiln_lock_waits", "", "Requests for locks, and those that locks hold up, that wait."),
    ),
    figure("/granted", counter("kiln_lock_grants", "", "Requests for locks that were granted at once.")),
    figure(
        "/contended",
        counter(
            "kiln_lock_contentions",
            "",
            "Requests for locks that waited, or were refused because of others.",
        ),
    ),
];

/// Of storage/posix.
const POSIX: &[Figure] = &[
    figure("/healthy", gauge("kiln_brick_healthy", "", "1, or 0 when the disk or the directory has failed.")),
    figure(
        "/full",
        gauge("kiln_brick_full", "", "1 while so little space is left that clients may not fill more."),
    ),
    figure("/space/bytes", gauge("kiln_brick_size_bytes", "bytes", "Size of the brick's file system.")),
    figure("/space/free_bytes", gauge("kiln_brick_free_bytes", "bytes", "Space that is free there.")),
    figure(
        "/space/available_bytes",
        gauge("kiln_brick_available_bytes", "bytes", "Space that is free there for everybody."),
    ),
    figure("/space/inodes", gauge("kiln_brick_inodes", "", "Inodes of the brick's file system.")),
    figure("/space/free_inodes", gauge("kiln_brick_free_inodes", "", "Inodes that are free there.")),
    figure("/objects_open", gauge("kiln_brick_open_objects", "", "Objects of the brick that are open.")),
    figure(
        "/directories_cached",
        gauge("kiln_brick_cached_directories", "", "Directories that are kept open for their names."),
    ),
    figure(
        "/files_open_for_anonymous_fops",
        gauge("kiln_brick_anonymous_files", "", "Files that are kept open for those who did not open them."),
    ),
];

const PYTHON_REQUESTS: Family = counter(
    "kiln_python_requests",
    "",
    "What became of requests in Python translators: halves handled, requests passed, answered, failed, given up.",
);
const PYTHON: &[Figure] =
    &[figure("/waiting", gauge("kiln_python_waiting", "", "Requests that wait for a Python translator."))];
const PYTHON_COUNTERS: Family = counter("kiln_python_counter", "", "Counters of Python translators.");
const PYTHON_HISTOGRAMS: Family = gauge(
    "kiln_python_histogram",
    "",
    "Histograms of Python translators: percentiles, extremes, mean and count.",
);

/// Of performance/nl-cache.
const NL_CACHE: &[Figure] = &[
    figure(
        "/negative_lookup_hit_count",
        counter("kiln_nl_cache_hits", "", "Lookups of absent names that were answered from memory."),
    ),
    figure(
        "/negative_lookup_miss_count",
        counter("kiln_nl_cache_misses", "", "Lookups of names that were not known to be absent."),
    ),
    figure(
        "/passed_lookup_count",
        counter("kiln_nl_cache_passed", "", "Lookups that asked for more than memory may answer."),
    ),
    figure(
        "/dentry_invalidations",
        counter(
            "kiln_nl_cache_invalidations",
            "",
            "Absent names that were forgotten because they may have come.",
        ),
    ),
    figure(
        "/contradictions",
        counter(
            "kiln_nl_cache_contradictions",
            "",
            "Names that were there though they were believed absent.",
        ),
    ),
    figure("/negative_dentries", gauge("kiln_nl_cache_names", "", "Names that are known to be absent.")),
    figure("/consumed_cache_size", gauge("kiln_nl_cache_bytes", "bytes", "Memory that these take.")),
];

/// Of the mount's tables.
const MOUNT: &[Figure] = &[
    figure("/objects", gauge("kiln_mount_objects", "", "Objects that the kernel knows.")),
    figure("/open", gauge("kiln_mount_open", "", "Files and directories that are open on the mount.")),
    figure("/in_flight", gauge("kiln_mount_in_flight", "", "Requests of the kernel under way.")),
    figure("/over_io_uring", gauge("kiln_mount_over_io_uring", "", "1 when requests come over io_uring.")),
];

/// What a core tells.
type OfCore = (Family, fn(&CoreStats) -> String);

const CORES: &[OfCore] = &[
    (
        counter("kiln_core_cpu_seconds", "seconds", "CPU time of the core's thread, without its helpers."),
        |core| float(core.cpu_s),
    ),
    (gauge("kiln_core_waiting", "", "Tasks and messages that wait for their turn."), |core| {
        core.load.to_string()
    }),
    (gauge("kiln_core_calls", "", "Requests in flight on the core."), |core| core.calls.to_string()),
    (gauge("kiln_core_tasks", "", "Tasks that exist."), |core| core.tasks.to_string()),
    (gauge("kiln_core_operations", "", "Operations that the kernel has not answered yet."), |core| {
        core.operations.to_string()
    }),
    (counter("kiln_core_turns", "", "Turns of the core's loop."), |core| core.turns.to_string()),
    (counter("kiln_core_sleeps", "", "Turns at whose end nothing was left to do."), |core| {
        core.sleeps.to_string()
    }),
    (counter("kiln_core_polls", "", "Times that a task was run."), |core| core.polls.to_string()),
    (counter("kiln_core_panics", "", "Tasks that ended by a panic, which is a bug."), |core| {
        core.panics.to_string()
    }),
];

/// The page.
pub fn page(stats: &Stats) -> String {
    let mut page = Page::default();
    about(&mut page, stats);
    for (family, value) in CORES {
        page.family(*family);
        for core in &stats.cores {
            page.value(&[("core", &core.core.to_string())], value(core));
        }
    }
    for figure in MOUNT {
        page.family(figure.family);
        if let Some(value) = stats.tables.pointer(figure.path).and_then(number) {
            page.value(&[], value);
        }
    }
    let of =
        |kind: &str| -> Vec<&LayerStats> { stats.layers.iter().filter(|layer| layer.kind == kind).collect() };
    let (servers, counted, bricks) = (of("protocol/server"), of("debug/io-stats"), of("storage/posix"));
    figures(&mut page, SERVER, &servers);
    each(&mut page, SERVER_CALLS, &servers, "/calls", |page, layer, name, calls| {
        if let Some(calls) = number(calls) {
            page.value(&[("layer", layer), ("procedure", name)], calls);
        }
    });
    figures(&mut page, IO_STATS, &counted);
    fops(&mut page, &counted);
    figures(&mut page, POSIX, &bricks);
    python(&mut page, &of("features/glupy"));
    locks(&mut page, &of("features/locks"));
    figures(&mut page, NL_CACHE, &of("performance/nl-cache"));
    process(&mut page, &stats.process);
    page.finish()
}

fn python(page: &mut Page, layers: &[&LayerStats]) {
    figures(page, PYTHON, layers);
    for (family, path, label) in
        [(PYTHON_REQUESTS, "/requests", "event"), (PYTHON_COUNTERS, "/counters", "name")]
    {
        each(page, family, layers, path, |page, layer, name, value| {
            if let Some(value) = number(value) {
                page.value(&[("layer", layer), (label, name)], value);
            }
        });
    }
    each(page, PYTHON_HISTOGRAMS, layers, "/histograms", |page, layer, name, figures| {
        for (figure, value) in figures.as_object().into_iter().flatten() {
            if let Some(value) = number(value) {
                page.value(&[("layer", layer), ("name", name), ("figure", figure)], value);
            }
        }
    });
}

fn about(page: &mut Page, stats: &Stats) {
    let about = &stats.about;
    let help = "What runs: the brick's name, its directory or volfile, and Kiln's version.";
    page.family(Family { name: "kiln_brick", kind: Kind::Info, unit: "", help });
    let labels = [("name", &about.name), ("source", &about.source), ("version", &about.version)];
    page.value(&labels.map(|(label, text)| (label, text.as_str())), 1);
    page.family(gauge("kiln_uptime_seconds", "seconds", "How long it serves."));
    page.value(&[], float(about.uptime_s));
    page.family(gauge("kiln_cores", "", "Threads that serve requests."));
    page.value(&[], about.cores);
    page.family(gauge("kiln_silent_cores", "", "Cores that did not answer in time; their share is missing."));
    page.value(&[], about.silent_cores.len());
}

fn figures(page: &mut Page, figures: &[Figure], layers: &[&LayerStats]) {
    for figure in figures {
        page.family(figure.family);
        for layer in layers {
            if let Some(value) = layer.stats.pointer(figure.path).and_then(number) {
                page.value(&[("layer", &layer.name)], value);
            }
        }
    }
}

/// A family with one sample, or more, for each member of the object at `path`.
fn each(
    page: &mut Page,
    family: Family,
    layers: &[&LayerStats],
    path: &str,
    write: impl Fn(&mut Page, &str, &str, &Json),
) {
    page.family(family);
    for layer in layers {
        for (name, value) in layer.stats.pointer(path).and_then(Json::as_object).into_iter().flatten() {
            write(page, &layer.name, name, value);
        }
    }
}

fn fops(page: &mut Page, layers: &[&LayerStats]) {
    let cumulative = "/cumulative/fops";
    each(page, FOPS, layers, cumulative, |page, layer, fop, counts| {
        if let Some(hits) = counts.get("hits").and_then(number) {
            page.value(&[("layer", layer), ("fop", fop)], hits);
        }
    });
    each(page, FOP_ERRORS, layers, cumulative, |page, layer, fop, counts| {
        for (errno, times) in counts.get("errors").and_then(Json::as_object).into_iter().flatten() {
            if let Some(times) = number(times) {
                page.value(&[("layer", layer), ("fop", fop), ("errno", errno)], times);
            }
        }
    });
    each(page, FOPS_IN_FLIGHT, layers, "/in_flight", |page, layer, fop, count| {
        if let Some(count) = number(count) {
            page.value(&[("layer", layer), ("fop", fop)], count);
        }
    });
    page.family(FOP_LATENCY);
    for layer in layers {
        let bounds: Vec<f64> =
            whole(layer.stats.get("latency_bounds")).iter().map(|ns| *ns as f64 / 1e9).collect();
        let fops = layer.stats.pointer(cumulative).and_then(Json::as_object);
        for (fop, counts) in fops.into_iter().flatten() {
            let (counts, total) = (whole(counts.get("latency_counts")), counts.get("total"));
            if let (Some(total), true) = (total.and_then(Json::as_u64), counts.len() == bounds.len() + 1) {
                let labels = [("layer", layer.name.as_str()), ("fop", fop.as_str())];
                page.histogram(&labels, &bounds, &counts, total as f64 / 1e9);
            }
        }
    }
}

fn locks(page: &mut Page, layers: &[&LayerStats]) {
    each(page, LOCKS, layers, "/cores", |page, layer, core, told| {
        for (kind, count) in told.get("locks").and_then(Json::as_object).into_iter().flatten() {
            if let Some(count) = number(count) {
                page.value(&[("layer", layer), ("core", core), ("kind", kind)], count);
            }
        }
    });
    for figure in LOCK_FIGURES {
        each(page, figure.family, layers, "/cores", |page, layer, core, told| {
            if let Some(value) = told.pointer(figure.path).and_then(number) {
                page.value(&[("layer", layer), ("core", core)], value);
            }
        });
    }
}

fn whole(list: Option<&Json>) -> Vec<u64> {
    list.and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_u64).collect()
}

/// Truth is 1.
fn number(value: &Json) -> Option<String> {
    match value {
        Json::Number(number) => Some(number.to_string()),
        Json::Bool(truth) => Some(u8::from(*truth).to_string()),
        _ => None,
    }
}

/// By the names that all programs use.
fn process(page: &mut Page, process: &ProcessStats) {
    page.family(counter("process_cpu_seconds", "seconds", "CPU time of the process."));
    page.value(&[], float(process.cpu_s));
    page.family(gauge("process_resident_memory_bytes", "bytes", "Memory of the process."));
    if let Some(bytes) = process.resident_bytes {
        page.value(&[], bytes);
    }
    page.family(gauge("process_open_fds", "", "Descriptors that the process has open."));
    if let Some(open) = process.open_fds {
        page.value(&[], open);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stats() -> Stats {
        let fop = json!({ "hits": 3, "errors": { "ENOENT": 2 }, "total": 1_500_000_000_u64, "latency_counts": [1, 1, 1] });
        serde_json::from_value(json!({
            "about": { "name": "b", "version": "0", "pid": 7, "mountpoint": "", "source": "/b", "cores": 1, "uptime_s": 2.0 },
            "layers": [
                { "name": "one", "type": "debug/io-stats", "stats": {
                    "latency_bounds": [1000, 1_000_000], "in_flight": { "fsync": 1 },
                    "cumulative": { "bytes_read": 10, "bytes_written": 0, "fops": { "lookup": fop, "forget": { "hits": 1 } } } } },
                { "name": "two", "type": "debug/io-stats", "stats": { "cumulative": { "bytes_read": 20, "bytes_written": 0 } } },
                { "name": "p", "type": "storage/posix", "stats": { "healthy": true, "full": false } },
                { "name": "l", "type": "features/locks", "stats": { "cores": { "1": {
                    "locks": { "posix": 2, "inodelk": 0, "entrylk": 0 }, "waiting": 1, "granted": 5, "contended": 3 } } } },
            ],
            "cores": [CoreStats { core: 3, cpu_s: 0.5, ..CoreStats::default() }],
            "tables": { "objects": 4 },
        }))
        .unwrap()
    }

    #[test]
    fn each_family_comes_once_and_whole() {
        let text = page(&stats());
        let mut families: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        let all = families.len();
        families.sort_unstable();
        families.dedup();
        assert_eq!(families.len(), all, "{text}");
        for line in [
            "kiln_read_bytes_total{layer=\"one\"} 10\nkiln_read_bytes_total{layer=\"two\"} 20\n",
            "kiln_fops_total{layer=\"one\",fop=\"forget\"} 1\n",
            "kiln_fop_errors_total{layer=\"one\",fop=\"lookup\",errno=\"ENOENT\"} 2\n",
            "kiln_fop_latency_seconds_bucket{layer=\"one\",fop=\"lookup\",le=\"0.001\"} 2\n",
            "kiln_fop_latency_seconds_sum{layer=\"one\",fop=\"lookup\"} 1.5\n",
            "kiln_brick_healthy{layer=\"p\"} 1\n",
            "kiln_locks{layer=\"l\",core=\"1\",kind=\"posix\"} 2\n",
            "kiln_lock_waits{layer=\"l\",core=\"1\"} 1\n",
            "kiln_lock_contentions_total{layer=\"l\",core=\"1\"} 3\n",
            "kiln_core_cpu_seconds_total{core=\"3\"} 0.5\n",
            "kiln_mount_objects 4\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
        assert!(!text.contains("kiln_clients") && text.ends_with("\n# EOF\n"), "{text}");
    }

    #[test]
    fn the_documentation_has_them_all() {
        let documented = include_str!("../../docs/metrics.md");
        let tables = [SERVER, IO_STATS, POSIX, LOCK_FIGURES, MOUNT, PYTHON];
        let of_tables = tables.iter().flat_map(|table| table.iter()).map(|figure| figure.family);
        let others = [SERVER_CALLS, LOCKS, FOPS, FOP_ERRORS, FOPS_IN_FLIGHT, FOP_LATENCY];
        let families: Vec<Family> =
            of_tables.chain(others).chain(CORES.iter().map(|(family, _)| *family)).collect();
        for family in &families {
            let suffix = if family.kind == Kind::Counter { "_total" } else { "" };
            let name = format!("`{}{suffix}`", family.name);
            assert!(documented.contains(&name), "{name} is not in docs/metrics.md");
            assert!(family.name.ends_with(family.unit), "{name} does not end in its unit");
        }
    }
}
