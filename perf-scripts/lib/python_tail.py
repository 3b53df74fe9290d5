#!/usr/bin/env python3
"""The rounds of python-tail.sh."""

import argparse
import array
import contextlib
import errno
import json
import multiprocessing
import os
import pathlib
import random
import statistics
import time

import machine
from rig import Rig, cpu_ns
from volfile import cached_brick, volume

LIMIT = 0.5
SIZE, BLOCK = 64 << 20, 4096
MODES = {"no Python": None, "sleeps": "sleep", "loops": "loop"}

TRANSLATOR = '''
import time
import kiln

class Slow(kiln.Translator):
    """Does not return from lookups in the directory `slow`."""

    options = (kiln.Option("how", str, choices=("sleep", "loop")),)
    directory = None

    def lookup(self, ctx, loc, xdata):
        if loc.parent == self.directory:
            if self.options["how"] == "sleep":
                time.sleep(1)
            while self.options["how"] == "loop":
                pass
        ctx.local = (loc.parent, loc.name) == (kiln.ROOT, b"slow")

    def lookup_reply(self, ctx, reply):
        if ctx.local and not isinstance(reply, kiln.Failure):
            self.directory = reply.iatt.gfid
'''


def read(path, seconds, ready, results):
    """The reader: the time of each read, in nanoseconds."""
    chance, clock, took = random.Random(4), time.perf_counter_ns, array.array("Q")
    file = os.open(path, os.O_RDONLY)
    ready.wait()
    end = clock() + int(seconds * 1e9)
    while (before := clock()) < end:
        if len(os.pread(file, BLOCK, chance.randrange(SIZE // BLOCK) * BLOCK)) != BLOCK:
            raise SystemExit("a read was short")
        took.append(clock() - before)
    os.close(file)
    results.send_bytes(took.tobytes())


def look_up(directory, ready, stop, results):
    """The other client: how long each lookup took, and its errno."""
    ended = []
    # One path's lookup is one request then: not one for the directory, too.
    inside = os.open(directory, os.O_PATH)
    ready.wait()
    while not stop.is_set():
        before = time.perf_counter()
        try:
            os.stat(f"name-{len(ended)}", dir_fd=inside)
            number = 0
        except OSError as error:
            number = error.errno
        ended.append((time.perf_counter() - before, number))
        # As often when each lookup is answered at once.
        stop.wait(max(0.0, LIMIT - ended[-1][0]))
    os.close(inside)
    results.send(ended)


def run(rig, mode, seconds):
    """One run: its figures."""
    cache = ""
    if MODES[mode]:
        options = {"module_name": "slow", "search_path": rig.dir, "time_limit": f"{LIMIT * 1000:.0f}ms"}
        cache = volume("cache", "features/glupy", "posix", **options, **{"option.how": MODES[mode]})
    path = rig.dir / "brick.vol"
    path.write_text(cached_brick(rig.data / "brick", cache, True))
    with contextlib.ExitStack() as stack:
        pid = stack.enter_context(rig.kiln_serve("--volfile", path))
        reads = stack.enter_context(rig.stock_mount("--direct-io-mode=enable"))
        looks = stack.enter_context(rig.stock_mount("--attribute-timeout=600"))
        ready, stop = multiprocessing.Barrier(3), multiprocessing.Event()
        (taken, took), (ended, end) = (multiprocessing.Pipe(duplex=False) for _ in range(2))
        os.stat(looks / "slow")
        processes = [
            multiprocessing.Process(target=read, args=(reads / "file", seconds, ready, took)),
            multiprocessing.Process(target=look_up, args=(looks / "slow", ready, stop, end)),
        ]
        for process in processes:
            process.start()
        # The first lookup is under way, and its handler is as stuck as it gets, before reads count.
        used = cpu_ns(pid)
        ready.wait()
        times = array.array("Q")
        times.frombytes(taken.recv_bytes())
        spent = [after - before for before, after in zip(used, cpu_ns(pid))]
        stop.set()
        lookups = ended.recv()
        for process in processes:
            process.join()
    ordered = sorted(times)
    return {
        "reads/s": len(ordered) / seconds,
        "p50": ordered[len(ordered) // 2] / 1000,
        "p99": ordered[len(ordered) * 99 // 100] / 1000,
        "p99.9": ordered[len(ordered) * 999 // 1000] / 1000,
        "python": spent[1] / 1e9 / seconds,
        "lookups": lookups,
    }


def show(saved):
    """The table."""
    print(saved["about"])
    runs = saved["runs"]
    rounds = len(runs["no Python"])
    print(f"\nmedians of {rounds} rounds, [least..most]; ratios to the run without Python of the same round")
    print(f"{'':<12}{'reads/s':>9}{'p50 µs':>9}{'p99 µs':>22}{'p99, ratio':>21}{'p99.9 µs':>10}{'Python, CPUs':>14}")
    for mode, of_mode in runs.items():
        middle = {key: statistics.median(run[key] for run in of_mode) for key in of_mode[0] if key != "lookups"}
        p99 = [run["p99"] for run in of_mode]
        ratios = [mine / bare["p99"] for mine, bare in zip(p99, runs["no Python"])]
        spread = f"{middle['p99']:.0f} [{min(p99):.0f}..{max(p99):.0f}]"
        ratio = f"{statistics.median(ratios):.2f} [{min(ratios):.2f}..{max(ratios):.2f}]"
        print(
            f"{mode:<12}{middle['reads/s']:>9.0f}{middle['p50']:>9.0f}{spread:>22}{ratio:>21}"
            f"{middle['p99.9']:>10.0f}{middle['python']:>14.2f}"
        )
    print(f"\nlookups in the directory, with a time limit of {LIMIT * 1000:.0f} ms:")
    for mode, of_mode in runs.items():
        lookups = [lookup for run in of_mode for lookup in run["lookups"]]
        times = [took * 1000 for took, _ in lookups]
        names = sorted({errno.errorcode.get(number, "found") for _, number in lookups})
        print(f"{mode:<12}{len(lookups):>5} lookups, {min(times):.1f} to {max(times):.1f} ms, all {' and '.join(names)}")


def main():
    parse = argparse.ArgumentParser()
    parse.add_argument("--rounds", type=int, default=5)
    parse.add_argument("--seconds", type=float, default=3)
    parse.add_argument("--save", type=pathlib.Path)
    parse.add_argument("--show", type=pathlib.Path)
    args = parse.parse_args()
    if args.show:
        show(json.loads(args.show.read_text()))
        return
    saved = {"about": f"{machine.one_line(machine.describe(programs=()))}, tmpfs; {args.seconds} s a run", "runs": {mode: [] for mode in MODES}}
    if args.save and args.save.exists():
        saved = json.loads(args.save.read_text())
    with Rig() as rig:
        (rig.dir / "slow.py").write_text(TRANSLATOR)
        with rig.kiln_mount("--brick", rig.data / "brick") as (mount, _):
            (mount / "slow").mkdir()
            (mount / "file").write_bytes(random.Random(1).randbytes(SIZE))
        for turn in range(args.rounds):
            for mode in list(MODES)[:: 1 if turn % 2 else -1]:
                saved["runs"][mode].append(run(rig, mode, args.seconds))
    if args.save:
        args.save.write_text(json.dumps(saved))
    show(saved)


if __name__ == "__main__":
    main()
