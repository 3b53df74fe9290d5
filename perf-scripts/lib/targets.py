"""The workloads that Kiln is held against glusterfsd by, and what is wanted of each."""

import dataclasses
from collections.abc import Callable

import load
import plots
from figures import Spread, Target, quantity, ratios


@dataclasses.dataclass(frozen=True)
class Figure:
    """One row of the table: what of a run is compared, and with whom."""

    what: str
    unit: str
    of: Callable
    target: Target | None
    against: str = "glusterfsd"
    # The side whose runs the ratio is to.
    peer: str = "stock"
    form: str = "fraction"


@dataclasses.dataclass(frozen=True)
class Workload:
    """One thing that `kiln load` does to both bricks."""

    key: str
    name: str
    load: str
    options: dict
    figures: tuple
    sides: tuple = ("stock", "kiln")
    percentiles: bool = False


SMALL = {"block": "4k", "depth": 32, "files": 16, "file_size": "16M"}
LARGE = {"block": "1M", "depth": 4, "files": 4, "file_size": "64M", "distribution": "sequential"}
NAMES = {"depth": 32, "entries": 4000}


def _cpu(what, part, **more):
    return Figure(what, "ns", load.cpu_per_op, Target(1 / part, True), **more)


def _latency(percentile):
    name = {"p50": "p50", "p99": "p99"}[percentile]
    return Figure(f"latency {name}", "ns", load.latency(percentile), Target(0.7, True), form="times")


THROUGHPUT = Figure(
    "throughput per CPU second", "bytes_per_cpu_s", load.bytes_per_cpu_second, Target(2, False), form="times"
)
BARE = Figure(
    "CPU per read", "ns", load.cpu_per_op, Target(2, True), against="the bare server's", peer="bare", form="times"
)

WORKLOADS = (
    Workload(
        "randread", "4 KiB random read, depth 32", "read", SMALL, (_cpu("CPU per read", 9), BARE), ("stock", "kiln", "bare")
    ),
    Workload("randwrite", "4 KiB random write, depth 32", "write", SMALL, (_cpu("CPU per write", 8),)),
    Workload("lookup", "lookup of a present name, depth 32", "lookup", NAMES, (_cpu("CPU per lookup", 8),)),
    Workload("lookup-miss", "lookup of an absent name, depth 32", "lookup-miss", NAMES, (_cpu("CPU per lookup", 8),)),
    Workload("stat", "stat, depth 32", "stat", NAMES, (_cpu("CPU per stat", 10),)),
    Workload(
        "create-unlink",
        "create + 4 KiB write + close + unlink, depth 32",
        "create-unlink",
        {"depth": 32},
        (_cpu("CPU for all four", 4),),
    ),
    Workload(
        "readdirp",
        "readdirp, 1,000 entries, depth 4",
        "readdirp",
        # A directory of its own each time: the one that is kept has the names of the lookups.
        {"depth": 4, "entries": 1000, "reuse": False},
        (Figure("CPU per entry", "ns", load.cpu_per_entry, Target(1 / 4, True)),),
    ),
    Workload("read-1m", "1 MiB sequential read, depth 4", "read", LARGE, (THROUGHPUT,)),
    Workload("write-1m", "1 MiB sequential write, depth 4", "write", LARGE, (THROUGHPUT,)),
    Workload(
        "latency-read",
        "4 KiB read, one at a time",
        "read",
        SMALL | {"depth": 1},
        (_latency("p50"), _latency("p99")),
        percentiles=True,
    ),
    Workload(
        "latency-lookup",
        "lookup, one at a time",
        "lookup",
        NAMES | {"depth": 1},
        (_latency("p50"), _latency("p99")),
        percentiles=True,
    ),
)


def row(name, figure, values, note=None):
    """A row of the table of the figures of each side's rounds. `values` has the sides kiln, perhaps stock, and the peer's."""
    ratio = ratios(values["kiln"], values[figure.peer])
    made = empty_row(name, figure, note=note)
    made.update(
        stock=_json(Spread.of(values.get("stock", []))),
        kiln=_json(Spread.of(values["kiln"])),
        peer=_json(Spread.of(values[figure.peer])),
        ratio=_json(ratio),
        met=figure.target.met(ratio) if figure.target else None,
    )
    return made


def empty_row(name, figure, missing=None, note=None):
    """A row of which nothing could be measured, and why."""
    return {
        "name": name,
        "what": figure.what,
        "unit": figure.unit,
        "form": figure.form,
        "against": figure.against,
        "side": figure.peer,
        "stock": None,
        "kiln": None,
        "peer": None,
        "ratio": None,
        "target": dataclasses.asdict(figure.target) if figure.target else None,
        "met": None,
        "note": note,
        "missing": missing,
    }


def short(one):
    """The name of a row without its details."""
    return one["name"].split(", ")[0]


def _json(spread):
    return spread.json() if spread else None


def share_bars(rows):
    """The rows as bars in shares of what they are compared with, with the targets as marks, for those where less is better."""
    groups = []
    for one in rows:
        if one["ratio"] is None or one["form"] != "fraction":
            continue
        kiln = one["ratio"]
        groups.append(
            {
                "label": f"{short(one)}: {one['what']}",
                "bars": [
                    bar("stock", 1, text=_told(one, "stock")),
                    bar("kiln", kiln["median"], kiln["least"], kiln["most"], _told(one, "kiln")),
                ],
                "mark": one["target"]["limit"] if one["target"] else None,
            }
        )
    return groups


def value_bars(rows):
    """The rows as bars of their values, all of one unit."""
    groups = []
    for one in rows:
        bars = []
        for side in ("stock", "kiln"):
            if one[side]:
                bars.append(bar(side, one[side]["median"], one[side]["least"], one[side]["most"]))
        if one["peer"] and one["side"] != "stock":
            side = one["side"] if one["side"] in plots.SIDES else "peer"
            bars.append(bar(side, one["peer"]["median"], one["peer"]["least"], one["peer"]["most"], label=LABELS[one["side"]]))
        groups.append({"label": one["name"], "bars": bars})
    return groups


LABELS = {
    "stock": "glusterfsd",
    "glusterd": "glusterfsd, by glusterd",
    "kiln": "Kiln",
    "bare": "bare io_uring server",
    "raw": "fio on the file",
    "few": "Kiln, 1 connection",
}


def bar(side, value, least=None, most=None, text=None, label=None):
    """One bar of a plot."""
    made = {"side": side, "label": label or LABELS[side], "value": value}
    made["least"], made["most"] = (value, value) if least is None else (least, most)
    return made | ({"text": text} if text else {})


def _told(one, side):
    return quantity(one[side]["median"], one["unit"])
