//! `kiln stats`

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::clients;
use super::table::Table;
use crate::cli::StatsArgs;
use crate::control::client;
use crate::control::protocol::{About, Ask, Clients, LayerStats, Stats};
use crate::failure::Outcome;
use crate::units;

/// Prints statistics once, or again and again.
pub fn run(args: &StatsArgs) -> Outcome {
    let socket = client::target(&args.target)?;
    if args.clients {
        let ask = || {
            let mut clients: Clients = client::ask(&socket, Ask::Clients)?;
            clients::sort(&mut clients, args.sort);
            Ok(clients)
        };
        return repeat(args, ask, clients::render);
    }
    repeat(args, || client::ask(&socket, Ask::Stats), render)
}

/// Asks and shows, once or until the end.
fn repeat<T: Serialize>(
    args: &StatsArgs,
    ask: impl Fn() -> Outcome<T>,
    render: fn(&T, Option<&T>) -> String,
) -> Outcome {
    let mut before: Option<T> = None;
    loop {
        let now = ask()?;
        if args.json {
            super::print_json(&now)?;
        } else {
            let clear =
                if args.watch.is_some() && std::io::stdout().is_terminal() { "\x1b[H\x1b[2J" } else { "" };
            super::print(&format!("{clear}{}", render(&now, before.as_ref())))?;
        }
        let Some(seconds) = args.watch else { return Ok(()) };
        before = Some(now);
        std::thread::sleep(Duration::from_secs_f64(seconds));
    }
}

/// The part of what debug/io-stats tells that the table shows. Times are nanoseconds.
#[derive(Debug, Deserialize)]
struct IoStats {
    cumulative: Period,
    #[serde(default)]
    in_flight: BTreeMap<String, u64>,
}

#[derive(Debug, Deserialize)]
struct Period {
    seconds: f64,
    bytes_read: u64,
    bytes_written: u64,
    fops: BTreeMap<String, FopStats>,
}

#[derive(Debug, Default, Deserialize)]
struct FopStats {
    hits: u64,
    #[serde(default)]
    errors: BTreeMap<String, u64>,
    p50: Option<u64>,
    p99: Option<u64>,
    max: Option<u64>,
}

/// With `before`, rates are those since then; without, those since the start.
fn render(now: &Stats, before: Option<&Stats>) -> String {
    let mut out = heading(&now.about);
    for layer in &now.layers {
        let earlier = before.and_then(|stats| stats.layers.iter().find(|other| other.name == layer.name));
        // Writing to a string cannot fail.
        let _ = write!(out, "\n{} ({})\n{}", layer.name, layer.kind, layer_text(layer, earlier));
    }
    if now.layers.is_empty() {
        out.push_str("\nNo layer of this graph keeps statistics; debug/io-stats does.\n");
    }
    out
}

/// Who answers, in a line or two.
pub fn heading(about: &About) -> String {
    let mut out = format!(
        "{}: {} on {}, {} core{}, process {}, up {}\n",
        about.name,
        about.source,
        about.mountpoint,
        about.cores,
        if about.cores == 1 { "" } else { "s" },
        about.pid,
        units::long(Duration::try_from_secs_f64(about.uptime_s).unwrap_or_default())
    );
    if !about.silent_cores.is_empty() {
        let cores: Vec<String> = about.silent_cores.iter().map(ToString::to_string).collect();
        let _ =
            writeln!(out, "cores that did not answer in time, and are missing below: {}", cores.join(", "));
    }
    out
}

fn layer_text(layer: &LayerStats, earlier: Option<&LayerStats>) -> String {
    let read = |layer: &LayerStats| IoStats::deserialize(&layer.stats).ok();
    match read(layer) {
        Some(stats) => io_stats(&stats, earlier.and_then(read).as_ref()),
        None => outline(&layer.stats, 1),
    }
}

fn io_stats(stats: &IoStats, earlier: Option<&IoStats>) -> String {
    let now = &stats.cumulative;
    let then = earlier.map(|stats| &stats.cumulative).filter(|then| then.seconds <= now.seconds);
    let seconds = (now.seconds - then.map_or(0.0, |then| then.seconds)).max(0.001);
    let rate = |now: u64, then: Option<u64>| now.saturating_sub(then.unwrap_or(0)) as f64 / seconds;
    let mut table = Table::new(&["fop", "calls", "per s", "p50", "p99", "max", "errors"]);
    let mut rows: Vec<_> = now.fops.iter().collect();
    rows.sort_by_key(|(name, fop)| (std::cmp::Reverse(fop.hits), *name));
    for (name, fop) in rows {
        let then = then.and_then(|then| then.fops.get(name)).map(|fop| fop.hits);
        let time = |ns: Option<u64>| ns.map_or_else(|| "-".into(), units::nanos);
        let errors: Vec<String> =
            fop.errors.iter().map(|(errno, count)| format!("{errno} {count}")).collect();
        table.row(vec![
            name.clone(),
            fop.hits.to_string(),
            units::rate(rate(fop.hits, then)),
            time(fop.p50),
            time(fop.p99),
            time(fop.max),
            errors.join(", "),
        ]);
    }
    if table.is_empty() {
        return "  nothing has been asked of it yet\n".into();
    }
    let mut out = table.text();
    for (what, bytes, then) in [
        ("read", now.bytes_read, then.map(|then| then.bytes_read)),
        ("written", now.bytes_written, then.map(|then| then.bytes_written)),
    ] {
        let _ =
            writeln!(out, "  {what}: {}, {}/s", units::bytes(bytes), units::bytes(rate(bytes, then) as u64));
    }
    if !stats.in_flight.is_empty() {
        let calls: Vec<String> =
            stats.in_flight.iter().map(|(fop, count)| format!("{fop} {count}")).collect();
        let _ = writeln!(out, "  in flight: {}", calls.join(", "));
    }
    out
}

/// Any JSON as indented lines.
pub fn outline(value: &Json, depth: usize) -> String {
    let indent = "  ".repeat(depth);
    let mut out = String::new();
    let mut line = |key: &str, value: &Json| match value {
        Json::Object(map) if !map.is_empty() => {
            let _ = write!(out, "{indent}{key}:\n{}", outline(value, depth + 1));
        }
        Json::Array(list) if list.iter().any(|item| item.is_object() || item.is_array()) => {
            let _ = write!(out, "{indent}{key}:\n{}", outline(value, depth + 1));
        }
        Json::Array(list) => {
            let items: Vec<String> = list.iter().map(plain).collect();
            let _ = writeln!(out, "{indent}{key}: {}", items.join(", "));
        }
        other => _ = writeln!(out, "{indent}{key}: {}", plain(other)),
    };
    match value {
        Json::Object(map) => map.iter().for_each(|(key, value)| line(key, value)),
        Json::Array(list) => list.iter().for_each(|value| line("-", value)),
        other => line("-", other),
    }
    out
}

fn plain(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn layer(hits: u64, seconds: f64) -> LayerStats {
        LayerStats {
            name: "top".into(),
            kind: "debug/io-stats".into(),
            stats: json!({
                "in_flight": { "fsync": 2 },
                "cumulative": {
                    "seconds": seconds, "bytes_read": 4096 * hits, "bytes_written": 0,
                    "fops": {
                        "readv": { "number": 12, "hits": hits, "errors": { "EIO": 3 }, "p50": 1250, "p99": 9000, "max": 2_000_000 },
                        "forget": { "number": 41, "hits": 5 },
                    },
                },
            }),
        }
    }

    #[test]
    fn the_table_shows_rates_since_the_last_look() {
        assert_eq!(
            layer_text(&layer(300, 20.0), Some(&layer(100, 10.0))),
            "  fop     calls  per s     p50     p99     max  errors\n  \
               readv     300   20.0  1.25µs  9.00µs  2.00ms   EIO 3\n  \
               forget      5      0       -       -       -\n  \
               read: 1.17MiB, 80.0KiB/s\n  written: 0B, 0B/s\n  in flight: fsync 2\n"
        );
    }

    #[test]
    fn other_layers_are_outlined() {
        let stats = json!({ "a": 1, "b": { "c": ["x", "y"] }, "d": [{ "e": null }] });
        let text = layer_text(&LayerStats { name: "n".into(), kind: "t".into(), stats }, None);
        assert_eq!(text, "  a: 1\n  b:\n    c: x, y\n  d:\n    -:\n      e: null\n");
    }
}
