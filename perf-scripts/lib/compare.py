"""Kiln and glusterfsd beside each other: the table of targets."""

import contextlib
import os

import gfapi
import load
import special
import summary
import targets
from results import Results
from rig import BARE_PORT, KILN, Brick, Failed, Rig, listens, wait_for
from rounds import Progress, alternate
from script import finish, parser, place, run, settle

ABOUT = """Measures Kiln and a stock glusterfsd alternately: both serve the same volfile, each a directory of its own on one tmpfs,
with the same files made by the same client, `kiln load`. A round is one measurement of each, the order changes from round to
round, and the first round is dropped. Ratios are taken within a round; the table has their median [least..most]. CPU is that of
all threads of the brick."""

SPECIAL = {"direct": "O_DIRECT on a disk", "memory": "memory after lookups", "connections": "1,000 connections"}


@contextlib.contextmanager
def bare_server(rig):
    """The bare io_uring server of benches/bare.rs: recv, pread, send. None where it was not built."""
    binary = os.environ.get("KILN_BENCH_BARE")
    if not binary:
        yield None
        return
    path = rig.data / "bare"
    command = (binary, "--bench", "--listen", f"127.0.0.1:{BARE_PORT}", "--file", path)
    with rig.process("bare", *command) as (process, log):
        wait_for("the bare server", lambda: listens(BARE_PORT), process, log)
        yield Brick("bare", process.pid, BARE_PORT, path)


def measure(workload, bricks, args, results, progress):
    """The rounds of one workload: its rows."""
    sides = [side for side in workload.sides if bricks.get(side)]

    def one(side, turn, dropped):
        progress.step(workload.name, side)
        brick = bricks[side]
        options = {"seconds": args.seconds, "warmup": args.warmup, "reuse": True} | workload.options
        options["direct"] = args.direct and "block" in options
        words = load.command(brick.target, workload.load, **options)
        result = load.run(words, brick.pid, workload.percentiles and not dropped)
        results.run(workload.key, side, turn, words, result, dropped)
        return result

    runs = alternate(sides, args.rounds, one)
    rows = []
    for figure in workload.figures:
        if figure.peer not in runs:
            rows.append(targets.empty_row(workload.name, figure, f"no {targets.LABELS[figure.peer]}"))
            continue
        values = {side: [figure.of(result) for result in runs[side]] for side in runs}
        rows.append(targets.row(workload.name, figure, values))
    return rows, runs


def main():
    parse = parser("compare", ABOUT)
    quick = [workload.key for workload in targets.WORKLOADS] + list(SPECIAL)
    names = [*quick, gfapi.ALL, *gfapi.ROWS]
    parse.add_argument("--only", action="append", metavar="W", choices=names, help="only this one, as often as you like: " + ", ".join(names))
    parse.add_argument("--names", type=int, metavar="N", help="names looked up for the memory row [default: 1,000,000; quick: 100,000]")
    parse.add_argument("--disk", metavar="DIR", help="where the O_DIRECT row works [default: /var/tmp]")
    args = settle(parse.parse_args(), (5, 2.0), (3, 0.7))
    args.warmup = 0.2 if args.quick else 0.5
    args.names = args.names or (100_000 if args.quick else 1_000_000)
    wanted = args.only or (quick if args.quick else [*quick, gfapi.ALL])

    results = Results("compare", "Kiln beside glusterfsd", ABOUT.replace("\n", " "), KILN, place(args))
    results.note(f"{args.rounds} rounds of {args.seconds:g} s each.")
    if args.quick:
        results.note("Quick mode: short rounds, so more noise than a whole run has, and no rows of fio through gfapi.")
    chosen = [workload for workload in targets.WORKLOADS if workload.key in wanted]
    steps = sum(len(workload.sides) for workload in chosen) * (args.rounds + 1)
    steps += sum(special.steps(name, args) for name in SPECIAL if name in wanted)
    by_gfapi = gfapi.chosen(wanted)
    steps += gfapi.steps(args, by_gfapi)
    progress = Progress(steps)
    rows, seen = [], []
    try:
        with Rig(args.dir) as rig:
            if chosen:
                with rig.kiln() as kiln, rig.stock() as stock, bare_server(rig) as bare:
                    bricks = {"kiln": kiln, "stock": stock, "bare": bare}
                    for workload in chosen:
                        new, runs = measure(workload, bricks, args, results, progress)
                        rows += new
                        seen.append((workload, runs))
            for name in SPECIAL:
                if name in wanted:
                    rows += special.measure(name, rig, args, results, progress)
            more = gfapi.measure(rig, args, by_gfapi, results, progress) if by_gfapi else None
        progress.end()
    except (Failed, KeyboardInterrupt):
        progress.clear()
        results.note("This run ended early: rows are missing.")
        summary.add(results, rows, seen, None)
        finish(results, args)
        raise
    summary.add(results, rows, seen, more)
    finish(results, args)


if __name__ == "__main__":
    run(main)
