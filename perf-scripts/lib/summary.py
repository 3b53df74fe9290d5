"""What compare.sh shows of its rounds: the table of targets first, then plots, then what else was seen."""

import load
import targets
from figures import Spread, multiple, quantity, ratios, with_spread

PERCENT = {"label": "percentile of operations", "scale": "percentile"}


def add(results, rows, seen, gfapi):
    """Adds the sections. `seen`: workloads and their runs by side."""
    if rows:
        results.section(
            "targets",
            "Targets",
            text="Medians of the rounds; the ratio is Kiln over the other, median [least..most] of the rounds.",
            rows=rows,
        )
    shares = targets.share_bars(rows)
    if shares:
        results.section(
            "bars",
            "Cost, as a share of glusterfsd's",
            text="Less is better. The dashed line is the target; the thin line with ends is the spread over the rounds.",
            groups=shares,
            unit="share",
            axis="share of what glusterfsd takes",
        )
    for unit, title, text in (
        ("bytes_per_cpu_s", "Throughput per CPU second", "More is better."),
        ("per_s", "Operations per second", "More is better."),
    ):
        groups = targets.value_bars([row for row in rows if row["unit"] == unit and row["kiln"]])
        if groups:
            results.section("bars", title, text=text, groups=groups, unit=unit)
    bare = [row for row in rows if row["peer"] and row["against"] == targets.BARE.against]
    if bare:
        results.section(
            "bars",
            "A read, beside the least that it can cost",
            text="CPU per 4 KiB read. The bare server does recv, pread and send over io_uring and nothing else: no graph of "
            "translators, no locks, no ACLs, no times.",
            groups=targets.value_bars(bare),
            unit="ns",
        )
    for workload, runs in seen:
        if workload.percentiles:
            _curve(results, workload, runs)
    if seen:
        _rates(results, seen)
    if gfapi:
        results.section(
            "table",
            "fio through gfapi",
            text="The stock client's library, libgfapi, drives the bricks; CPU of the brick per operation that fio counts. "
            "By glusterd: glusterfsd with the layers that glusterd gives the brick of a new volume. Same layers: with the volfile that "
            "Kiln has. On few cores the client's own CPU limits the rates.",
            head=gfapi["head"],
            rows=gfapi["rows"],
        )
        results.section("bars", "CPU per operation under gfapi", groups=gfapi["groups"], unit="ns", own_scale=True)


def middle_run(runs):
    """Of the rounds, the one whose p99 is the median."""
    ordered = sorted(runs, key=load.latency("p99"))
    return ordered[len(ordered) // 2]


def _curve(results, workload, runs):
    series = [
        {"label": targets.LABELS[side], "side": side, "points": middle_run(runs[side]).get("curve", [])}
        for side in ("stock", "kiln")
        if side in runs
    ]
    if any(one["points"] for one in series):
        results.section(
            "lines",
            f"Latency: {workload.name}",
            text="Every percentile of the round whose p99 is the median. Lower is better.",
            series=series,
            x=PERCENT,
            y={"label": "latency", "unit": "ns", "scale": "log"},
        )


def _rates(results, seen):
    rows = []
    for workload, runs in seen:
        if "stock" not in runs or "kiln" not in runs:
            continue
        rate = {side: [load.rate(result) for result in runs[side]] for side in runs}
        client = Spread.of([result["self"]["cpu_ns_per_op"] for result in runs["kiln"]])
        rows.append(
            [
                workload.name,
                *(quantity(Spread.of(rate[side]).median, "per_s") for side in ("stock", "kiln")),
                with_spread(ratios(rate["kiln"], rate["stock"]), lambda value: multiple(value, "times")),
                *(quantity(Spread.of([load.latency("p99")(one) for one in runs[side]]).median, "ns") for side in ("stock", "kiln")),
                quantity(client.median, "ns"),
            ]
        )
    head = ["workload", "rate, glusterfsd", "rate, Kiln", "ratio", "p99, glusterfsd", "p99, Kiln", "client's CPU"]
    results.section(
        "table",
        "What the client saw",
        text="Operations per second and latencies. Client and brick share the machine's cores, so a rate is limited by both; "
        "client's CPU is what an operation costs kiln load itself.",
        head=head,
        rows=rows,
    )
