"""Runs the benches and compares medians; see benches.sh."""

import argparse
import datetime
import json
import os
import pathlib
import platform
import subprocess
import sys

BENCHES = ["ring", "codec", "io_stats", "graph", "locks", "nl_cache", "python_queue", "convert", "posix"]
PACKAGES = ["kiln", "kiln-python"]
QUICK = ["--warm-up-time", "0.2", "--measurement-time", "0.6", "--sample-size", "20", "--noplot"]
BASELINE = pathlib.Path("benches/baseline.json")
# Beyond this the change is told in words; below it, machines differ from themselves.
NOTICED = 1.15


def executables(benches):
    """Builds the benches; their programs by name."""
    command = ["cargo", "bench", "--no-run", "--message-format=json"]
    for package in PACKAGES:
        command += ["-p", package]
    for bench in benches:
        command += ["--bench", bench]
    built = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if built.returncode:
        sys.exit("the benches do not build")
    found = {}
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message.get("reason") == "compiler-artifact" and "bench" in message["target"]["kind"]:
            found[message["target"]["name"]] = message["executable"]
    return found


def run(args, home):
    options = list(QUICK)
    if args.save:
        options += ["--save-baseline", args.save]
    if args.against:
        options += ["--baseline", args.against]
    # Without a look into it, criterion's output is what it says of its own comparison.
    quiet = not args.against
    programs = executables(args.only)
    for bench in args.only:
        print(f"== {bench}", flush=True)
        done = subprocess.run(
            [programs[bench], "--bench", *options],
            env={**os.environ, "CRITERION_HOME": str(home)},
            stdout=subprocess.PIPE if quiet else None,
            stderr=subprocess.STDOUT if quiet else None,
            text=True,
        )
        if done.returncode:
            sys.exit(f"{bench} failed\n{done.stdout or ''}")


def medians(home, since):
    """Nanoseconds by the benches' names, of those that ran after `since`."""
    found = {}
    for estimates in sorted(home.glob("**/new/estimates.json")):
        if estimates.stat().st_mtime < since:
            continue
        name = json.loads((estimates.parent / "benchmark.json").read_text())["full_id"]
        found[name] = json.loads(estimates.read_text())["median"]["point_estimate"]
    return found


def machine():
    model = "unknown CPU"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return f"{os.cpu_count()} x {model}, Linux {platform.release()}"


def lto():
    """How the benches are linked: as the profile says unless the environment does."""
    return os.environ.get("CARGO_PROFILE_BENCH_LTO", "thin").replace("off", "no")


def show(ns):
    for size, unit in [(1e9, "s"), (1e6, "ms"), (1e3, "µs")]:
        if ns >= size:
            return f"{ns / size:.2f} {unit}"
    return f"{ns:.1f} ns"


def compare(now, baseline):
    then = baseline.get("median_ns", {})
    width = max(map(len, now), default=0)
    print(f"\nbaseline: {baseline.get('date', 'none')}, {baseline.get('machine', '')}, {baseline.get('lto', '')} LTO")
    print(f"here:     {machine()}, {lto()} LTO\n")
    print(f"{'':{width}} {'baseline':>11} {'now':>11} {'ratio':>6}")
    for name, ns in now.items():
        old = then.get(name)
        ratio = ns / old if old else None
        words = ""
        if ratio and ratio > NOTICED:
            words = "  slower"
        elif ratio and ratio < 1 / NOTICED:
            words = "  faster"
        print(
            f"{name:{width}} {show(old) if old else '-':>11} {show(ns):>11} "
            f"{f'{ratio:.2f}' if ratio else 'new':>6}{words}"
        )


def main():
    parser = argparse.ArgumentParser(description="Runs the criterion benches and compares their medians.")
    parser.add_argument("--save", metavar="NAME", help="keep the results as criterion's baseline NAME")
    parser.add_argument("--against", metavar="NAME", help="compare with criterion's baseline NAME")
    parser.add_argument("--update", action="store_true", help=f"write {BASELINE} anew")
    parser.add_argument("--only", metavar="LIST", help="benches with commas between them")
    parser.add_argument("--results", metavar="DIR", type=pathlib.Path, help="read what is there instead of running")
    args = parser.parse_args()
    if args.save and args.against:
        parser.error("--save and --against are two runs")
    default = [bench for bench in BENCHES if bench != "posix" or os.geteuid() == 0]
    args.only = args.only.split(",") if args.only else default
    strangers = [bench for bench in args.only if bench not in BENCHES]
    if strangers:
        parser.error(f"no such bench: {', '.join(strangers)}; there are {', '.join(BENCHES)}")
    since = 0.0
    home = args.results
    if home is None:
        home = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", "target")).resolve() / "criterion"
        since = datetime.datetime.now().timestamp()
        run(args, home)
    now = medians(home, since)
    if not now:
        sys.exit(f"no results in {home}")
    baseline = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    compare(now, baseline)
    if args.update:
        # What did not run keeps its figures.
        kept = {**baseline.get("median_ns", {}), **{name: round(ns, 1) for name, ns in now.items()}}
        today = datetime.date.today().isoformat()
        table = {"date": today, "machine": machine(), "lto": lto(), "median_ns": dict(sorted(kept.items()))}
        BASELINE.write_text(json.dumps(table, indent=2, ensure_ascii=False) + "\n")
        print(f"\nwrote {BASELINE}")


main()
