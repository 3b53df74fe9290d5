#!/usr/bin/env python3
"""The rounds of compare.sh: fio on Kiln and on glusterfsd, alternately, and what the brick's threads spent."""

import argparse
import json
import pathlib
import statistics
import subprocess

SIZE = "256m"
WORKLOADS = {
    "randread": ("gfapi_async", "randread", "4k"),
    "randwrite": ("gfapi_async", "randwrite", "4k"),
    "sync-randread": ("gfapi", "randread", "4k"),
    "sync-randwrite": ("gfapi", "randwrite", "4k"),
    "read-1m": ("gfapi_async", "read", "1m"),
    "write-1m": ("gfapi_async", "write", "1m"),
}


def cpu_ns(pid):
    total = 0
    for path in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            total += int(path.read_text().split()[0])
        except OSError:
            pass
    return total


def fio(directory, volume, engine, pattern, block, *more):
    depth = "32" if block == "4k" else "4"
    command = [
        "fio", "--name=job", "--output-format=json", f"--ioengine={engine}", f"--volume={volume}",
        "--brick=127.0.0.1", f"--rw={pattern}", f"--bs={block}", f"--size={SIZE}", "--filename=data",
        f"--iodepth={depth}", "--invalidate=0", "--randrepeat=1", "--norandommap", "--fsync_on_close=0", *more,
    ]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    job = json.loads(done.stdout[done.stdout.index("{") :])["jobs"][0]
    side = job["read" if "read" in pattern else "write"]
    return side["total_ios"], side["iops"]


def spread(values):
    return f"{statistics.median(values):.2f} [{min(values):.2f}..{max(values):.2f}]"


def main():
    parse = argparse.ArgumentParser()
    parse.add_argument("--rounds", type=int, required=True)
    parse.add_argument("--seconds", type=float, required=True)
    parse.add_argument("--only")
    parse.add_argument("--dir", required=True)
    parse.add_argument("--kiln", type=int, required=True)
    parse.add_argument("--stock", type=int, required=True)
    args = parse.parse_args()
    sides = {"kiln": args.kiln, "stock": args.stock}
    for side in sides:
        fio(args.dir, side, "gfapi", "write", "1m")
    print(f"{'':<16}{'kiln':>22}{'glusterfsd':>22}   {'CPU, glusterfsd/kiln':<24} rate, kiln/glusterfsd")
    for name, (engine, pattern, block) in WORKLOADS.items():
        if args.only not in (None, name):
            continue
        results = {side: [] for side in sides}
        for turn in range(args.rounds + 1):
            for side in list(sides)[:: 1 if turn % 2 else -1]:
                before = cpu_ns(sides[side])
                count, rate = fio(
                    args.dir, side, engine, pattern, block, "--time_based", f"--runtime={args.seconds}"
                )
                cost = (cpu_ns(sides[side]) - before) / 1000 / max(count, 1)
                if turn > 0:
                    results[side].append((cost, rate))
        cpu = [stock[0] / kiln[0] for kiln, stock in zip(results["kiln"], results["stock"])]
        rate = [kiln[1] / stock[1] for kiln, stock in zip(results["kiln"], results["stock"])]
        shown = [
            f"{statistics.median(c for c, _ in results[side]):.1f} µs {statistics.median(r for _, r in results[side]):.0f}/s"
            for side in sides
        ]
        print(f"{name:<16}{shown[0]:>22}{shown[1]:>22}   {spread(cpu):<24} {spread(rate)}", flush=True)


main()
