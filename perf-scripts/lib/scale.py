"""How a brick scales: with cores, and with connections."""

import os
import resource

import load
from figures import Spread, quantity, ratios, significant, with_spread
from results import Results
from rig import KILN, Failed, Rig
from rounds import Progress, alternate
from script import finish, parser, place, run, settle
from targets import LABELS, SMALL

ABOUT = """Kiln and glusterfsd with more of two things: 4 KiB random reads with 1 core to all of the machine's for the brick, and stats over 1
to 10,000 connections, 32 requests in all at once at first, and one on each connection from 100 on.
The brick of the first part is held on its cores (taskset; Kiln gets --cores, too), the client may run anywhere; where there are no
cores beside the brick's, both share them, and the CPU per operation tells more than the rate."""

CROWDS = (1, 10, 100, 1000, 10_000)
IN_FLIGHT = 32


def core_counts(cores):
    """1, 2, 4 … and all of them."""
    counts = [1]
    while counts[-1] * 2 < cores:
        counts.append(counts[-1] * 2)
    return counts + ([cores] if cores > 1 else [])


def crowds(limit, wanted=CROWDS):
    """The numbers of connections for which one process may have enough descriptors, and those for which not."""
    room = limit - 200
    return [count for count in wanted if count <= room], [count for count in wanted if count > room]


def cores(rig, args, results, progress):
    """Rates and CPU by cores."""
    mine = sorted(os.sched_getaffinity(0))
    points = {"stock": [], "kiln": []}
    for count in core_counts(len(mine)):
        threads = max(1, len(mine) - count)
        options = SMALL | {"threads": threads, "connections": max(threads, 4 * count), "seconds": args.seconds}
        options |= {"warmup": args.warmup, "reuse": True, "direct": args.direct}
        with rig.kiln("kiln", "--cores", str(count), cpus=mine[:count]) as kiln, rig.stock(cpus=mine[:count]) as stock:
            bricks = {"kiln": kiln, "stock": stock}
            take(bricks, f"{count} cores", "read", options, args, results, progress, points, count)
    return points


def take(bricks, name, workload, options, args, results, progress, points, count):
    """The rounds of one number of cores or connections; adds to the points of each side."""

    def one(side, turn, dropped):
        progress.step(name, side)
        words = load.command(bricks[side].target, workload, **options)
        result = load.run(words, bricks[side].pid)
        results.run(name, side, turn, words, result, dropped)
        return result

    runs = alternate(bricks, args.rounds, one)
    for side, of_side in runs.items():
        figures = {
            "rate": [load.rate(result) for result in of_side],
            "cpu": [load.cpu_per_op(result) for result in of_side],
            "p99": [load.latency("p99")(result) for result in of_side],
            "memory": [result["brick"]["rss_bytes"] for result in of_side],
        }
        points[side].append((count, figures))


def connections(rig, args, results, progress, counts, points):
    """Rates, CPU and memory by connections; adds to the points of each side."""
    for count in counts:
        # Not reads: they would take a descriptor for each connection once more, on the brick, too.
        options = {"entries": 1000, "connections": count, "depth": max(1, IN_FLIGHT // count)}
        options |= {"seconds": args.seconds, "warmup": args.warmup, "reuse": True}
        # New processes, so that the memory is that of these connections.
        with rig.kiln() as kiln, rig.stock() as stock:
            name = f"{count:,} connections"
            take({"kiln": kiln, "stock": stock}, name, "stat", options, args, results, progress, points, count)


def show(results, what, points):
    """Plots and a table."""

    def plot(figure, title, unit, words):
        series = []
        for side, of_side in points.items():
            spreads = [(count, Spread.of(figures[figure])) for count, figures in of_side]
            places = [[count, of.median, of.least, of.most] for count, of in spreads]
            series.append({"label": LABELS[side], "side": side, "points": places})
        marks = [count for count, _ in points["kiln"]]
        x = {"label": what, "unit": "count", "scale": "log", "marks": marks}
        y = {"label": title, "unit": unit}
        results.section("lines", f"{title} by {what}", text=words, series=series, x=x, y=y)

    plot("rate", "Operations per second", "per_s", "More is better.")
    plot("cpu", "CPU per operation", "ns", "Less is better.")
    if what == "connections":
        plot("memory", "Resident memory", "bytes", "Less is better.")
    rows = []
    for (count, stock), (_, kiln) in zip(points["stock"], points["kiln"]):
        row = [f"{count:,}"]
        for figure, unit in (("rate", "per_s"), ("cpu", "ns"), ("p99", "ns"), ("memory", "bytes")):
            row += [quantity(Spread.of(of[figure]).median, unit) for of in (stock, kiln)]
        rows.append([*row, with_spread(ratios(kiln["rate"], stock["rate"]), lambda value: f"{significant(value, 2, False)}×")])
    head = [what] + [f"{name}, {side}" for name in ("rate", "CPU", "p99", "memory") for side in ("glusterfsd", "Kiln")]
    results.section("table", f"By {what}", head=[*head, "rate, ratio"], rows=rows)


def main():
    parse = parser("scale", ABOUT, rounds=3)
    parse.add_argument("--only", choices=("cores", "connections"), help="only this half")
    parse.add_argument("--most", type=int, default=CROWDS[-1], metavar="N", help="connections at most [default: 10,000]")
    args = settle(parse.parse_args(), (3, 3.0), (1, 1.0))
    args.warmup = 0.3 if args.quick else 1.0
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    counts, too_many = crowds(limit, [count for count in CROWDS if count <= args.most])
    results = Results("scale", "Scaling", ABOUT.replace("\n", " "), KILN, place(args))
    if too_many:
        told = ", ".join(f"{count:,}" for count in too_many)
        results.note(f"Not measured: {told} connections, as a process may have {limit:,} open files here (ulimit -Hn).")
    halves = 2 * (args.rounds + 1)
    steps = (len(core_counts(len(os.sched_getaffinity(0)))) if args.only != "connections" else 0) * halves
    progress = Progress(steps + (len(counts) * halves if args.only != "cores" else 0))
    with Rig(args.dir) as rig:
        if args.only != "connections":
            show(results, "cores of the brick", cores(rig, args, results, progress))
        if args.only != "cores":
            points = {"stock": [], "kiln": []}
            try:
                connections(rig, args, results, progress, counts, points)
            except Failed as failed:
                results.note(f"The half with connections ended early: {str(failed).splitlines()[0]}")
                progress.clear()
                print(failed)
            if points["kiln"]:
                show(results, "connections", points)
    progress.end()
    finish(results, args)


if __name__ == "__main__":
    run(main)
