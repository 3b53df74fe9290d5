"""A brick's memory while a million names are looked up, and afterwards."""

import threading
import time

import load
import rig as rigs
from figures import quantity
from results import Results
from rig import KILN, Rig
from rounds import Progress
from script import finish, parser, place, run, settle
from targets import LABELS

ABOUT = """Resident memory of Kiln and of glusterfsd while a client looks up every name of a directory once, and after it has gone. Both
serve the same directory, one after the other, each in a new process; its names were made before. What a brick keeps of files
that nobody uses is bounded by a limit of its own (inode-lru-limit), so memory need not grow with the number of names."""


class Watch:
    """Samples the memory of a process until it is told to end."""

    def __init__(self, pid, every=0.1):
        self.samples, self._end = [], threading.Event()
        self._thread = threading.Thread(target=self._run, args=(pid, every))

    def _run(self, pid, every):
        began = time.monotonic()
        while True:
            self.samples.append([time.monotonic() - began, rigs.memory(pid)[0]])
            if self._end.wait(every):
                return

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()


def thinned(samples, most=200):
    """At most so many samples, the last one among them."""
    step = max(1, -(-len(samples) // most))
    return samples[::step] + ([] if (len(samples) - 1) % step == 0 else samples[-1:])


def measure(rig, names, results, progress, settle_seconds=1.0):
    """Both bricks over the same names: memory before lookups, after them, at most, and after the client has gone; and samples."""
    options = {"entries": names, "depth": 32, "reuse": True}
    name = f"memory, {names:,} names"
    progress.step(name, "making them")
    with rig.kiln("names") as brick:
        load.run(load.command(brick.target, "lookup", **options, count=1, warmup=0), brick.pid, limit=3600)
    figures = {}
    for side in ("stock", "kiln"):
        progress.step(name, side)
        with getattr(rig, side)("names") as brick, Watch(brick.pid) as watch:
            before, _ = rigs.memory(brick.pid)
            words = load.command(brick.target, "lookup", **options, count=names, warmup=0, distribution="sequential")
            result = load.run(words, brick.pid, limit=3600)
            # When it gives memory back is the brick's own business: this is how it is left, with a moment to tidy up.
            time.sleep(settle_seconds)
            released, peak = rigs.memory(brick.pid)
            after = result["brick"]["rss_bytes"]
            figures[side] = {"before": before, "after": after, "peak": peak, "released": released, "rate": load.rate(result)}
            figures[side]["anonymous"] = rigs.anonymous(brick.pid)
            figures[side]["samples"] = watch.samples
            results.run("memory", side, 0, words, result | {"memory": figures[side] | {"samples": thinned(watch.samples)}})
    return figures


def main():
    parse = parser("memory", ABOUT, rounds=1)
    parse.add_argument("--names", type=int, metavar="N", help="how many [default: 1,000,000; quick: 100,000]")
    args = settle(parse.parse_args(), (1, 1), (1, 1))
    args.names = args.names or (100_000 if args.quick else 1_000_000)
    results = Results("memory", "Memory after lookups", ABOUT.replace("\n", " "), KILN, place(args))
    progress = Progress(3)
    with Rig(args.dir) as rig:
        figures = measure(rig, args.names, results, progress, 5.0)
    progress.end()
    names = ("before", "after", "peak", "released", "anonymous")
    rows = [[LABELS[side], *(quantity(one[name], "bytes") for name in names), quantity(one["rate"], "per_s")] for side, one in figures.items()]
    ratio = [f"{figures['kiln'][name] / figures['stock'][name]:.2f}×" for name in (*names, "rate")]
    head = ["side", "before", f"after {args.names:,} lookups", "at most", "client gone for 5 s", "of that not of files", "lookups per second"]
    results.section("table", "Resident memory", head=head, rows=[*rows, ["Kiln over glusterfsd", *ratio]])
    results.section(
        "lines",
        "Resident memory over time",
        text="From before the client connects until five seconds after it has gone.",
        series=[{"label": LABELS[side], "side": side, "points": thinned(one["samples"])} for side, one in figures.items()],
        x={"label": "seconds", "unit": "count"},
        y={"label": "resident memory", "unit": "bytes"},
    )
    finish(results, args)


if __name__ == "__main__":
    run(main)
