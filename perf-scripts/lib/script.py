"""What the scripts have in common: options, and the way they end."""

import argparse
import pathlib
import signal
import subprocess
import sys

from results import default_directory, print_tables
from rig import Failed


def parser(name, about, rounds=5, seconds=2.0):
    """The options that all of them have."""
    parse = argparse.ArgumentParser(prog=f"perf-scripts/{name}.sh", description=about, allow_abbrev=False)
    parse.add_argument("--rounds", type=int, metavar="N", help=f"rounds that count; one more warms up [default: {rounds}]")
    parse.add_argument("--seconds", type=float, metavar="S", help=f"length of one measurement [default: {seconds:g}]")
    parse.add_argument("--quick", action="store_true", help="fewer and shorter rounds: for a first look")
    parse.add_argument("--dir", type=pathlib.Path, help="where the bricks are [default: a tmpfs made for the run]")
    parse.add_argument("--direct", action="store_true", help="read and write files past the page cache (with --dir, on a disk)")
    parse.add_argument("--out", type=pathlib.Path, metavar="DIR", help="where results.json and report.html go [default: perf-results/…]")
    parse.add_argument("--markdown", action="store_true", help="print the tables as Markdown")
    return parse


def settle(args, normal, quick):
    """Fills in rounds and seconds: (rounds, seconds) in the normal and in the quick mode."""
    rounds, seconds = quick if args.quick else normal
    args.rounds = args.rounds or rounds
    args.seconds = args.seconds or seconds
    if args.rounds < 1 or args.seconds <= 0:
        raise SystemExit("--rounds and --seconds have to be more than nothing")
    if args.dir and not args.dir.is_dir():
        raise SystemExit(f"{args.dir} is no directory")
    return args


def place(args):
    """Where the bricks are, for people."""
    if not args.dir:
        return "bricks on tmpfs"
    found = subprocess.run(["findmnt", "-n", "-o", "FSTYPE,SOURCE", "-T", args.dir], capture_output=True, text=True, check=False)
    direct = ", files read and written past the page cache" if args.direct else ""
    return f"bricks in {args.dir} ({' '.join(found.stdout.split()) or 'unknown file system'}){direct}"


def finish(results, args):
    """Prints the tables and writes the files."""
    print_tables(results.data, args.markdown)
    raw, shown = results.write(args.out or default_directory(results.data["script"]))
    print(f"\nreport: {shown}\nraw data: {raw}", file=sys.stderr)


def run(main):
    """Runs a script: what failed is told without Python's traceback, and a signal ends all that was started."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        main()
    except Failed as failed:
        raise SystemExit(f"\n{failed}") from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
