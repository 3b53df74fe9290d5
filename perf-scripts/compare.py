#!/usr/bin/env python3
"""The rounds of compare.sh: fio on Kiln and on glusterfsd, alternately, and what the brick's threads spent."""

import argparse
import json
import pathlib
import statistics
import subprocess
import time

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


def command(volume, engine, pattern, block, *more):
    depth = "32" if block == "4k" else "4"
    return [
        "fio", "--name=job", "--output-format=json", f"--ioengine={engine}", f"--volume={volume}",
        "--brick=127.0.0.1", f"--rw={pattern}", f"--bs={block}", f"--size={SIZE}", "--filename=data",
        f"--iodepth={depth}", "--norandommap", *more,
    ]


def result(fio, pattern):
    out, err = fio.communicate()
    if fio.returncode != 0:
        raise SystemExit(f"{' '.join(fio.args)}\n{out}{err}")
    job = json.loads(out[out.index("{") :])["jobs"][0]
    side = job["read" if "read" in pattern else "write"]
    return side["total_ios"], side["iops"]


def start(directory, *arguments):
    pipe = subprocess.PIPE
    return subprocess.Popen(command(*arguments), cwd=directory, stdout=pipe, stderr=pipe, text=True)


def run(directory, side, pid, kind, seconds):
    """One measurement. libgfapi takes ten idle seconds to end, for which the next one need not wait."""
    before = cpu_ns(pid)
    fio = start(directory, side, *kind, "--time_based", f"--runtime={seconds}")
    time.sleep(seconds)
    used = cpu_ns(pid)
    while True:
        time.sleep(0.4)
        now = cpu_ns(pid)
        if fio.poll() is not None or (now - used < 2_000_000 and used > before + 10_000_000):
            return fio, now - before
        used = now


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
        result(start(args.dir, side, "gfapi", "write", "1m"), "write")
    print(f"{'':<16}{'kiln':>22}{'glusterfsd':>22}   {'CPU, glusterfsd/kiln':<24} rate, kiln/glusterfsd")
    for name, kind in WORKLOADS.items():
        if args.only not in (None, name):
            continue
        runs = {side: [] for side in sides}
        for turn in range(args.rounds + 1):
            for side in list(sides)[:: 1 if turn % 2 else -1]:
                runs[side].append(run(args.dir, side, sides[side], kind, args.seconds))
        results = {}
        for side in sides:
            results[side] = []
            for fio, used in runs[side][1:]:
                count, rate = result(fio, kind[1])
                results[side].append((used / 1000 / count, rate))
            result(runs[side][0][0], kind[1])
        cpu = [stock[0] / kiln[0] for kiln, stock in zip(results["kiln"], results["stock"])]
        rate = [kiln[1] / stock[1] for kiln, stock in zip(results["kiln"], results["stock"])]
        shown = [
            f"{statistics.median(c for c, _ in results[side]):.1f} µs {statistics.median(r for _, r in results[side]):.0f}/s"
            for side in sides
        ]
        print(f"{name:<16}{shown[0]:>22}{shown[1]:>22}   {spread(cpu):<24} {spread(rate)}", flush=True)


main()
