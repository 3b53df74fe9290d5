"""fio through libgfapi: the stock client's own library, on Kiln and on glusterfsd, the latter with the layers that Kiln has,
and as glusterd starts it for a volume."""

import contextlib
import time

import fio
import targets
from figures import Spread, multiple, quantity, ratios, with_spread
from rig import cpu_ns
from rounds import alternate

JOBS = {
    "randread": "4 KiB random read, depth 32",
    "randwrite": "4 KiB random write, depth 32",
    "sync-randread": "4 KiB random read, one at a time",
    "sync-randwrite": "4 KiB random write, one at a time",
    "read-1m": "1 MiB sequential read, depth 4",
    "write-1m": "1 MiB sequential write, depth 4",
}
# What `--only` may name: all rows, or one of them.
ALL = "gfapi"
ROWS = {f"{ALL}-{section}": section for section in JOBS}
SIDES = ("glusterd", "stock", "kiln")
COLOURS = {"glusterd": "peer"}


def chosen(wanted):
    """The rows of the table that are among these names."""
    return [section for row, section in ROWS.items() if row in wanted or ALL in wanted]


def steps(args, sections):
    """How many measurements the progress is to count."""
    return len(sections) * len(SIDES) * (args.rounds + 1)


def _until_quiet(process, pid, before):
    """Waits until fio's requests are over. libgfapi takes ten idle seconds to end, for which the next one need not wait."""
    used = cpu_ns(pid)[0]
    while True:
        time.sleep(0.4)
        now = cpu_ns(pid)[0]
        if process.poll() is not None or (now - used < 2_000_000 and used > before + 10_000_000):
            return now - before
        used = now


def measure(rig, args, sections, results, progress):
    """The rows of the table and what else is to be shown."""
    seconds = max(args.seconds, 1)
    rows, bars = [], []
    bricks = {}
    with contextlib.ExitStack() as stack:
        bricks["glusterd"] = stack.enter_context(rig.stock_of_volume("gfapi-volume"))
        bricks["stock"] = stack.enter_context(rig.stock("gfapi-stock"))
        bricks["kiln"] = stack.enter_context(rig.kiln("gfapi-kiln"))
        stack.enter_context(rig.gfapi_volumes(*bricks.values()))

        def words(section, side):
            return fio.job("gfapi.fio", section, HOST="127.0.0.1", VOLUME=side, TIME=f"{seconds * 1000:.0f}ms")

        for side in bricks:
            fio.run(words("lay-out", side), rig.dir)
        for section in sections:
            name = JOBS[section]
            warmed = []

            def one(side, _turn, dropped, section=section, name=name, warmed=warmed):
                progress.step(f"fio through gfapi: {name}", side)
                before = cpu_ns(bricks[side].pid)[0]
                process = fio.start(words(section, side), rig.dir)
                if dropped:
                    warmed.append(process)
                time.sleep(seconds)
                return process, _until_quiet(process, bricks[side].pid, before)

            runs = alternate(bricks, args.rounds, one)
            for process in warmed:
                fio.result(process)
            cpu, rate = {}, {}
            for side, ended in runs.items():
                done = [(fio.result(process), used) for process, used in ended]
                for turn, (job, used) in enumerate(done, 1):
                    results.run(f"gfapi-{section}", side, turn, words(section, side), {"fio": job, "cpu_ns": used})
                cpu[side] = [used / fio.count(job) for job, used in done]
                rate[side] = [fio.rate(job) for job, _ in done]
            shares = [with_spread(ratios(cpu["kiln"], cpu[side]), _fraction) for side in SIDES[:2]]
            rows.append(
                [
                    name,
                    *(quantity(Spread.of(cpu[side]).median, "ns") for side in SIDES),
                    *shares,
                    *(quantity(Spread.of(rate[side]).median, "per_s") for side in SIDES),
                ]
            )
            spreads = {side: Spread.of(cpu[side]) for side in SIDES}
            group = [
                targets.bar(COLOURS.get(side, side), of.median, of.least, of.most, label=targets.LABELS[side])
                for side, of in spreads.items()
            ]
            bars.append({"label": name, "bars": group})
    head = ["workload", "CPU, by glusterd", "CPU, same layers", "CPU, Kiln", "Kiln / by glusterd", "Kiln / same layers"]
    head += ["rate, by glusterd", "rate, same layers", "rate, Kiln"]
    return {"head": head, "rows": rows, "groups": bars}


def _fraction(value):
    return multiple(value, "fraction")
