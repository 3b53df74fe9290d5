"""A flame graph of a brick under a load of `kiln load`."""

import argparse
import pathlib
import subprocess
import time

import load
import targets
from rig import Failed, Rig
from script import run

WORKLOADS = {workload.key: workload for workload in targets.WORKLOADS}


def tool(words, out, **more):
    """Runs a program with its output in a file."""
    with pathlib.Path(out).open("w") as file:
        done = subprocess.run(words, stdout=file, stderr=subprocess.PIPE, text=True, check=False, **more)
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, words))}: {done.stderr[-2000:]}")


def main():
    parse = argparse.ArgumentParser(
        prog="perf-scripts/flame.sh",
        description="Records where a brick's CPU time goes under a workload: a flame graph as SVG, by perf and inferno.",
        allow_abbrev=False,
    )
    parse.add_argument("workload", choices=WORKLOADS, metavar="WORKLOAD", help=", ".join(WORKLOADS))
    parse.add_argument("--stock", action="store_true", help="of glusterfsd instead of Kiln")
    parse.add_argument("--seconds", type=float, default=4, metavar="S", help="how long [default: 4]")
    parse.add_argument("--frequency", type=int, default=499, metavar="HZ", help="samples per second and CPU [default: 499]")
    parse.add_argument("--dir", type=pathlib.Path, help="where the brick is [default: a tmpfs made for the run]")
    parse.add_argument("--out", type=pathlib.Path, metavar="FILE", help="[default: docs/flame/WORKLOAD.svg]")
    parse.add_argument("--folded", type=pathlib.Path, metavar="FILE", help="keep the folded stacks, too")
    args = parse.parse_args()
    side = "stock" if args.stock else "kiln"
    name = args.workload + ("-glusterfsd" if args.stock else "")
    out = args.out or pathlib.Path(__file__).resolve().parents[2] / "docs/flame" / f"{name}.svg"
    workload = WORKLOADS[args.workload]
    with Rig(args.dir) as rig, getattr(rig, side)() as brick:
        options = {"reuse": True} | workload.options
        # The files are made before anything is recorded.
        load.run(load.command(brick.target, workload.load, **options, seconds=0.5, warmup=0), brick.pid)
        words = load.command(brick.target, workload.load, **options, seconds=args.seconds + 1.5, warmup=0.5)
        data, script, folded = rig.dir / "perf.data", rig.dir / "perf.script", args.folded or rig.dir / "folded"
        with rig.process("load", *words, "--no-progress") as (loading, log):
            # Files of the load are there by now; what is left of its preparation is over in a moment.
            time.sleep(1)
            # By DWARF, as the release build keeps no frame pointers; a clock, as virtual machines have no cycle counter.
            record = ["perf", "record", "-q", "-e", "cpu-clock", "-F", str(args.frequency), "--call-graph", "dwarf,16384"]
            tool([*record, "-p", str(brick.pid), "-o", data, "--", "sleep", str(args.seconds)], rig.dir / "perf.log")
            loading.wait(60)
            if loading.returncode:
                raise Failed(log.read_text())
        tool(["perf", "script", "--no-inline", "-i", data], script)
        with script.open() as text:
            tool(["inferno-collapse-perf"], folded, stdin=text)
        out.parent.mkdir(parents=True, exist_ok=True)
        title = f"{targets.LABELS[side]}: {workload.name}"
        with folded.open() as text:
            tool(["inferno-flamegraph", "--title", title, "--hash", "--minwidth", "0.2"], out, stdin=text)
    print(out)


if __name__ == "__main__":
    run(main)
