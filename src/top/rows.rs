//! A view as lines and grids, for the terminal and for text alike.

use std::cmp::Ordering;
use std::time::Duration;

use super::args::{FopOrder, HotOrder};
use super::brick::Brick;
use super::grid::{Grid, clean, number, rest, word};
use super::latency::Percentiles;
use super::view::{HotObject, View};
use crate::units;

/// What an absent value shows.
const NONE: &str = "-";

fn time(latency: Option<Percentiles>, pick: fn(&Percentiles) -> u64) -> String {
    latency.as_ref().map_or_else(|| NONE.into(), |latency| units::nanos(pick(latency)))
}

fn share(of_one: f64) -> String {
    format!("{:.0}%", of_one * 100.0)
}

fn per_second(bytes: f64) -> String {
    format!("{}/s", units::bytes(bytes as u64))
}

/// Who it is, in one line.
pub fn title(brick: &Brick) -> String {
    let name = clean(&brick.name);
    match &brick.view {
        Some(view) => format!(
            "{name}: {}, {} core{}, process {}, up {}, Kiln {}",
            clean(&view.source),
            view.cores.len(),
            if view.cores.len() == 1 { "" } else { "s" },
            view.pid,
            units::long(Duration::try_from_secs_f64(view.uptime_s).unwrap_or_default()),
            clean(&view.version),
        ),
        None => name,
    }
}

/// What is the matter with it, if something is.
pub fn trouble(brick: &Brick) -> Option<String> {
    if let Some(reason) = &brick.gone {
        let figures = if brick.view.is_some() { "; what follows is what it told last" } else { "" };
        return Some(format!("GONE: {}{figures}", clean(reason)));
    }
    let Some(view) = &brick.view else { return Some("waiting for the first interval to end".into()) };
    if !view.silent_cores.is_empty() {
        let cores: Vec<String> = view.silent_cores.iter().map(ToString::to_string).collect();
        return Some(format!("cores that do not answer, and are missing below: {}", cores.join(", ")));
    }
    if !view.counted {
        return Some(
            "operations are not counted: set count-fop-hits and latency-measurement of debug/io-stats".into(),
        );
    }
    None
}

/// The sums, in a few short lines.
pub fn summary(view: &View) -> Vec<String> {
    let mut lines = vec![
        format!(
            "{} fops/s   {} errors/s   {} in flight   p50 {}  p90 {}  p99 {}  p99.9 {}",
            units::rate(view.fops_per_s),
            units::rate(view.errors_per_s),
            view.in_flight,
            time(view.latency, |latency| latency.p50),
            time(view.latency, |latency| latency.p90),
            time(view.latency, |latency| latency.p99),
            time(view.latency, |latency| latency.p999),
        ),
        format!(
            "read {}   written {}   {} open files   memory {}   cpu {}   {} descriptors",
            per_second(view.bytes_read_per_s),
            per_second(view.bytes_written_per_s),
            view.open_files.map_or_else(|| NONE.into(), |open| open.to_string()),
            view.resident_bytes.map_or_else(|| NONE.into(), units::bytes),
            share(view.cpus),
            view.open_fds.map_or_else(|| NONE.into(), |open| open.to_string()),
        ),
    ];
    if let Some(clients) = &view.clients {
        lines.push(format!(
            "{} clients on {} connections   {} requests/s   in {}   out {}   {} in flight   {} held   {} locks waiting",
            clients.clients,
            clients.connections,
            units::rate(clients.requests_per_s),
            per_second(clients.received_bytes_per_s),
            per_second(clients.sent_bytes_per_s),
            clients.in_flight,
            units::bytes(clients.held_bytes),
            clients.waiting_locks,
        ));
    }
    for python in &view.python {
        lines.push(format!(
            "python {}: {} waiting   {} calls/s   {} batches/s   {} troubles{}",
            clean(&python.layer),
            python.waiting,
            units::rate(python.calls_per_s),
            units::rate(python.batches_per_s),
            python.troubles,
            if python.disabled { "   DISABLED" } else { "" },
        ));
    }
    lines
}

/// Descending by a figure, then ascending by name.
fn by(a: f64, b: f64, names: Ordering) -> Ordering {
    b.total_cmp(&a).then(names)
}

/// The fops of the interval.
pub fn fops(view: &View, order: FopOrder) -> Grid {
    let mut fops: Vec<_> = view.fops.iter().collect();
    fops.sort_by(|a, b| {
        let names = a.fop.cmp(&b.fop);
        let p99 = |latency: Option<Percentiles>| latency.map_or(0.0, |latency| latency.p99 as f64);
        match order {
            FopOrder::Rate => by(a.per_s, b.per_s, names),
            FopOrder::P99 => by(p99(a.latency), p99(b.latency), names),
            FopOrder::Errors => by(a.errors_per_s, b.errors_per_s, names),
            FopOrder::Name => names,
        }
    });
    let mut grid = Grid::new(&[
        word("fop"),
        number("per s", 0),
        number("p50", 2),
        number("p90", 4),
        number("p99", 1),
        number("p99.9", 4),
        number("err/s", 3),
        number("flying", 3),
    ]);
    for fop in fops {
        grid.row(vec![
            clean(&fop.fop),
            units::rate(fop.per_s),
            time(fop.latency, |latency| latency.p50),
            time(fop.latency, |latency| latency.p90),
            time(fop.latency, |latency| latency.p99),
            time(fop.latency, |latency| latency.p999),
            units::rate(fop.errors_per_s),
            fop.in_flight.to_string(),
        ]);
    }
    grid
}

/// The cores.
pub fn cores(view: &View) -> Grid {
    let mut grid = Grid::new(&[
        number("core", 0),
        number("cpu", 0),
        number("load", 0),
        number("calls", 2),
        number("kernel", 3),
        number("turns/s", 4),
        number("sleeps/s", 1),
        number("polls/s", 5),
    ]);
    for core in &view.cores {
        grid.row(vec![
            core.core.to_string(),
            share(core.cpu),
            core.load.to_string(),
            core.calls.to_string(),
            core.operations.to_string(),
            units::rate(core.turns_per_s),
            units::rate(core.sleeps_per_s),
            units::rate(core.polls_per_s),
        ]);
    }
    grid
}

fn sorted(objects: &[HotObject], order: HotOrder) -> Vec<&HotObject> {
    let mut sorted: Vec<_> = objects.iter().collect();
    let key = |object: &HotObject| match order {
        HotOrder::Uses => object.per_s,
        HotOrder::Reads => object.read_per_s + object.list_per_s,
        HotOrder::Writes => object.write_per_s + object.change_per_s,
        HotOrder::Bytes => object.bytes_read_per_s + object.bytes_written_per_s,
    };
    sorted.sort_by(|a, b| by(key(a), key(b), a.gfid.cmp(&b.gfid)));
    sorted
}

fn path(object: &HotObject) -> String {
    object.path.as_ref().map_or_else(|| format!("<gfid:{}>", clean(&object.gfid)), |path| clean(path))
}

/// The hottest files.
pub fn files(view: &View, order: HotOrder) -> Grid {
    let mut grid = Grid::new(&[
        number("~per s", 0),
        number("reads", 2),
        number("writes", 2),
        number("opens", 4),
        number("looks", 5),
        number("read", 1),
        number("written", 1),
        rest("hottest files"),
    ]);
    for file in sorted(&view.files, order) {
        grid.row(vec![
            units::rate(file.per_s),
            units::rate(file.read_per_s),
            units::rate(file.write_per_s),
            units::rate(file.open_per_s),
            units::rate(file.look_per_s),
            per_second(file.bytes_read_per_s),
            per_second(file.bytes_written_per_s),
            path(file),
        ]);
    }
    grid
}

/// The hottest directories.
pub fn directories(view: &View, order: HotOrder) -> Grid {
    let mut grid = Grid::new(&[
        number("~per s", 0),
        number("looks", 3),
        number("lists", 2),
        number("changes", 1),
        rest("hottest directories"),
    ]);
    for directory in sorted(&view.directories, order) {
        grid.row(vec![
            units::rate(directory.per_s),
            units::rate(directory.look_per_s),
            units::rate(directory.list_per_s),
            units::rate(directory.change_per_s),
            path(directory),
        ]);
    }
    grid
}

/// All bricks, one in a line. They keep their places, so that the eye finds them again.
pub fn overview(bricks: &[Brick]) -> Grid {
    let mut grid = Grid::new(&[
        word("brick"),
        number("fops/s", 0),
        number("p50", 3),
        number("p99", 1),
        number("err/s", 4),
        number("read", 2),
        number("written", 2),
        number("clients", 3),
        number("cpu", 1),
        number("memory", 4),
    ]);
    for brick in bricks {
        let name = clean(&brick.name);
        let Some(view) = brick.view.as_ref().filter(|_| brick.gone.is_none()) else {
            let state = if brick.gone.is_some() { "gone" } else { "…" };
            let mut cells = vec![name, state.to_owned()];
            cells.resize(10, NONE.into());
            grid.row(cells);
            continue;
        };
        grid.row(vec![
            name,
            units::rate(view.fops_per_s),
            time(view.latency, |latency| latency.p50),
            time(view.latency, |latency| latency.p99),
            units::rate(view.errors_per_s),
            per_second(view.bytes_read_per_s),
            per_second(view.bytes_written_per_s),
            view.clients.as_ref().map_or_else(|| NONE.into(), |clients| clients.clients.to_string()),
            share(view.cpus),
            view.resident_bytes.map_or_else(|| NONE.into(), units::bytes),
        ]);
    }
    grid
}
