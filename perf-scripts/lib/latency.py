"""Curves of latency by load: operations begun at a fixed rate, whether others have ended or not."""

import load
from figures import quantity
from results import Results
from rig import KILN, Rig
from rounds import Progress
from script import finish, parser, place, run, settle
from targets import LABELS, NAMES, SMALL

ABOUT = """How long an operation takes at rising rates, on Kiln and on glusterfsd. `kiln load` begins operations at a fixed rate, whether
others have ended or not, and counts the time of each from when it was due: a server that falls behind shows it. First the most that
each side can do is measured (32 requests at once); then both get the same rates, up to what each can do."""

WORKLOADS = {
    "read": ("4 KiB random read", SMALL),
    "write": ("4 KiB random write", SMALL),
    "lookup": ("lookup of a present name", NAMES),
    "stat": ("stat", NAMES),
}
SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)
# A side that does less than this share of what is asked has been left behind.
KEPT_UP = 0.97
PERCENTILES = (("p50", "p50"), ("p99", "p99"), ("p99_9", "p99.9"))
# What is called quick, for the table, in nanoseconds.
QUICK = 1_000_000


def rates(most):
    """The rates for both sides: shares of what each can do, without those that are nearly the same."""
    wanted = sorted(share * one for one in most.values() for share in SHARES)
    out = []
    for rate in wanted:
        if not out or rate > out[-1] * 1.15:
            out.append(rate)
    return out


def held(points, limit=QUICK):
    """The highest rate up to which p99 stayed below the limit; None if it never did. `points`: rate and latencies."""
    best = None
    for point in sorted(points, key=lambda point: point["asked"]):
        if point["latency_ns"]["p99"] > limit or point["rate"] < KEPT_UP * point["asked"]:
            break
        best = point["rate"]
    return best


def measure(name, args, bricks, results, progress):
    """All rates of one workload: the points of each side."""
    about, options = WORKLOADS[name]
    options = options | {"reuse": True, "direct": args.direct and "block" in options}

    def one(side, detail, **more):
        progress.step(about, f"{side}, {detail}")
        words = load.command(bricks[side].target, name, **(options | {"seconds": args.seconds, "warmup": args.warmup} | more))
        result = load.run(words, bricks[side].pid)
        results.run(f"latency-{name}", side, 0, words, result)
        return result

    most = {side: load.rate(one(side, "the most it can do")) for side in bricks}
    points = {side: [] for side in bricks}
    for turn, rate in enumerate(rates(most)):
        for side in list(bricks)[:: 1 if turn % 2 else -1]:
            if rate > most[side] * 0.95:
                progress.skip()
                continue
            result = one(side, quantity(rate, "per_s"), rate=round(rate), depth=512)
            latencies = {key: load.latency(key)(result) for key, _ in PERCENTILES}
            points[side].append({"asked": rate, "rate": load.rate(result), "latency_ns": latencies})
    return most, points


def show(results, name, most, points):
    """The plot and the table of one workload."""
    about, _ = WORKLOADS[name]
    series = []
    for side in points:
        for dash, (key, told) in enumerate(PERCENTILES):
            places = [[point["rate"], point["latency_ns"][key]] for point in points[side]]
            series.append({"label": f"{LABELS[side]}, {told}", "side": side, "dash": dash, "points": places})
    results.section(
        "lines",
        about,
        text="Lower, and further to the right, is better.",
        series=series,
        x={"label": "operations per second", "unit": "per_s"},
        y={"label": "latency", "unit": "ns", "scale": "log"},
    )
    rows = [[LABELS[side], quantity(most[side], "per_s"), quantity(held(points[side]), "per_s")] for side in points]
    head = ["side", "the most, 32 at once", f"highest rate with p99 below {quantity(QUICK, 'ns', trim=True)}"]
    results.section("table", f"{about}: rates", head=head, rows=rows)
    rows = []
    for side in points:
        for point in points[side]:
            latencies = [quantity(point["latency_ns"][key], "ns") for key, _ in PERCENTILES]
            rows.append([LABELS[side], quantity(point["asked"], "per_s"), quantity(point["rate"], "per_s"), *latencies])
    head = ["side", "asked for", "done", *(told for _, told in PERCENTILES)]
    results.section("table", f"{about}: latencies", head=head, rows=rows)


def main():
    parse = parser("latency", ABOUT, rounds=1)
    parse.add_argument("--only", action="append", choices=WORKLOADS, metavar="W", help="this workload: " + ", ".join(WORKLOADS))
    args = settle(parse.parse_args(), (1, 5.0), (1, 1.0))
    args.warmup = 0.3 if args.quick else 1.0
    chosen = args.only or (["read", "lookup"] if args.quick else list(WORKLOADS))
    results = Results("latency", "Latency by load", ABOUT.replace("\n", " "), KILN, place(args))
    progress = Progress(len(chosen) * (2 + 2 * 2 * len(SHARES)))
    with Rig(args.dir) as rig, rig.kiln() as kiln, rig.stock() as stock:
        for name in chosen:
            most, points = measure(name, args, {"stock": stock, "kiln": kiln}, results, progress)
            show(results, name, most, points)
    progress.end()
    finish(results, args)


if __name__ == "__main__":
    run(main)
