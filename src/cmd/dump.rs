//! `kiln dump`

use std::fmt::Write as _;

use super::stats::{heading, outline};
use super::table::Table;
use crate::cli::DumpArgs;
use crate::control::client;
use crate::control::protocol::{Ask, CoreDump, Dump, LayerOptions};
use crate::failure::Outcome;
use crate::units;

/// Prints everything that a brick has in memory.
pub fn run(args: &DumpArgs) -> Outcome {
    let socket = client::target(&args.target)?;
    let dump: Dump = client::ask(&socket, Ask::Dump)?;
    if args.json { super::print_json(&dump) } else { super::print(&render(&dump)) }
}

fn render(dump: &Dump) -> String {
    let mut out = heading(&dump.about);
    // Writing to a string cannot fail, here and below.
    let _ = write!(out, "\nTables of the mount\n{}", outline(&dump.tables, 1));
    for core in &dump.cores {
        let _ = write!(out, "\nCore {}, {} waiting\n{}", core.core, core.load, core_text(core));
    }
    for layer in &dump.layers {
        let _ = write!(out, "\n{}", layer_text(layer));
    }
    out
}

fn core_text(core: &CoreDump) -> String {
    let mut table =
        Table::new(&["fop", "age", "held by", "object", "uid", "gid", "pid", "client", "request"]);
    for call in &core.calls {
        table.row(vec![
            call.fop.clone(),
            units::nanos(call.age_us.saturating_mul(1000)),
            call.holder.clone(),
            call.subject.clone(),
            call.uid.to_string(),
            call.gid.to_string(),
            call.pid.to_string(),
            call.client.to_string(),
            call.unique.to_string(),
        ]);
    }
    let mut out = if table.is_empty() { "  no request in flight\n".into() } else { table.text() };
    for layer in &core.layers {
        let _ = write!(out, "  {}\n{}", layer.name, outline(&layer.state, 2));
    }
    out
}

fn layer_text(layer: &LayerOptions) -> String {
    let below = match layer.subvolumes.as_slice() {
        [] => String::new(),
        names => format!(" on {}", names.join(", ")),
    };
    let mut out = format!("{} ({}){below}\n", layer.name, layer.kind);
    let width = layer.options.iter().map(|option| option.key.chars().count()).max().unwrap_or(0);
    for option in &layer.options {
        let from = if option.set { "" } else { "  (default)" };
        let _ = writeln!(out, "  {:width$}  {}{from}", option.key, option.value);
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_dump_shows_who_waits_where() {
        let dump: Dump = serde_json::from_value(json!({
            "about": { "name": "b", "version": "0", "pid": 7, "mountpoint": "/mnt", "source": "/b", "cores": 2,
                       "uptime_s": 61.0, "silent_cores": [1] },
            "tables": { "nodes": 3 },
            "layers": [{ "name": "top", "type": "debug/io-stats", "subvolumes": ["p"],
                         "options": [{ "key": "a", "value": "1", "set": true }, { "key": "bb", "value": "2", "set": false }] }],
            "cores": [{ "core": 0, "load": 4, "layers": [{ "name": "p", "state": { "open": 1 } }],
                        "calls": [{ "fop": "fsync", "age_us": 1500, "holder": "p", "subject": "0-1", "uid": 1, "gid": 2,
                                    "pid": 3, "client": 4, "unique": 5 }] }],
        }))
        .unwrap();
        assert_eq!(
            render(&dump),
            "b: /b on /mnt, 2 cores, process 7, up 1m 1s\n\
             cores that did not answer in time, and are missing below: 1\n\n\
             Tables of the mount\n  nodes: 3\n\n\
             Core 0, 4 waiting\n  \
               fop       age  held by  object  uid  gid  pid  client  request\n  \
               fsync  1.50ms        p     0-1    1    2    3       4        5\n  \
               p\n    open: 1\n\n\
             top (debug/io-stats) on p\n  a   1\n  bb  2  (default)\n"
        );
    }
}
