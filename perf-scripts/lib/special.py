"""Rows of the table that need more than a workload on two running bricks: O_DIRECT on a disk beside fio, memory after lookups,
and many connections."""

import contextlib
import os
import pathlib
import subprocess
import tempfile

import fio
import load
import memory
import targets
from figures import Spread, Target, quantity, ratios, significant
from rig import Failed, Rig
from rounds import alternate

DIRECT = targets.Figure(
    "operations per second", "per_s", load.rate, Target(0.9, False), "fio's", "raw", "times"
)
MEMORY = targets.Figure("resident memory", "bytes", None, Target(1 / 3, True))
CROWD = targets.Figure(
    "operations per second", "per_s", load.rate, Target(0.7, False), "1 connection's", "few", "times"
)
CONNECTIONS = 1000


def steps(name, args):
    """How many measurements the progress is to count."""
    return {"direct": 3, "connections": 4}.get(name, 0) * (args.rounds + 1) or 3


def measure(name, rig, args, results, progress):
    """The rows."""
    return {"direct": _direct, "memory": _memory, "connections": _connections}[name](rig, args, results, progress)


@contextlib.contextmanager
def disk(directory, spare):
    """A directory on a file system that has O_DIRECT, and what it is called: below the one given if that is ext4 or xfs, otherwise
    on an ext4 with a journal in a loop image there."""
    kind = subprocess.run(["stat", "-f", "-c", "%T", directory], capture_output=True, text=True, check=True).stdout.strip()
    if kind in ("ext2/ext3", "xfs"):
        found = subprocess.run(["findmnt", "-n", "-o", "FSTYPE", "-T", directory], capture_output=True, text=True, check=False)
        yield pathlib.Path(directory), f"{found.stdout.strip() or kind} at {directory}"
        return
    with tempfile.NamedTemporaryFile(prefix="kiln-perf-", dir=directory) as image:
        os.truncate(image.name, 2 << 30)
        subprocess.run(["mkfs.ext4", "-q", "-E", "lazy_itable_init=0", image.name], check=True)
        point = spare / "image"
        point.mkdir()
        made = subprocess.run(["losetup", "--find", "--show", "--direct-io=on", image.name], capture_output=True, text=True, check=False)
        if made.returncode != 0:
            raise Failed(f"{directory} is {kind}, which has no O_DIRECT, and no loop image can be made there: {made.stderr}")
        loop = made.stdout.strip()
        try:
            subprocess.run(["mount", loop, point], check=True)
            yield point, f"ext4 in a loop image at {directory} ({kind})"
        finally:
            subprocess.run(["umount", point], check=False)
            subprocess.run(["losetup", "--detach", loop], check=False)


def _direct(rig, args, results, progress):
    """4 KiB random reads past the page cache."""
    name = "4 KiB random read, O_DIRECT, depth 32"
    options = {"block": "4k", "depth": 32, "files": 1, "file_size": "256M", "direct": True, "warmup": args.warmup, "reuse": True}
    with contextlib.ExitStack() as stack:
        directory, where = stack.enter_context(disk(args.disk or "/var/tmp", rig.dir))
        slow = stack.enter_context(Rig(directory))
        kiln = stack.enter_context(slow.kiln(o_direct="on"))
        stock = stack.enter_context(slow.stock(o_direct="on"))

        def one(side, turn, dropped):
            progress.step(name, side)
            if side == "raw":
                words = fio.raw(largest(kiln.directory), args.seconds)
                result = fio.run(words)
            else:
                brick = {"kiln": kiln, "stock": stock}[side]
                words = load.command(brick.target, "read", seconds=args.seconds, **options)
                result = load.run(words, brick.pid)
            results.run("direct", side, turn, words, result, dropped)
            return result

        # Kiln comes first: fio reads the file that its client made.
        runs = alternate(["kiln", "raw", "stock"], args.rounds, one)
    values = {side: [load.rate(result) for result in runs[side]] for side in ("kiln", "stock")}
    values["raw"] = [fio.rate(result) for result in runs["raw"]]
    cpu = {side: Spread.of([load.cpu_per_op(result) for result in runs[side]]).median for side in ("kiln", "stock")}
    note = (
        f"{where}; fio --ioengine=io_uring on the same file {quantity(Spread.of(values['raw']).median, 'per_s')}; CPU of the brick per read: "
        f"Kiln {quantity(cpu['kiln'], 'ns')}, glusterfsd {quantity(cpu['stock'], 'ns')}"
    )
    return [targets.row(name, DIRECT, values, note)]


def largest(directory):
    """The largest file of a brick, by its name and not by its handle."""
    found = [path for path in pathlib.Path(directory).rglob("*") if ".glusterfs" not in path.parts and path.is_file()]
    if not found:
        raise Failed(f"no file in {directory}")
    return max(found, key=lambda path: path.stat().st_size)


def _memory(rig, args, results, progress):
    """A brick of many names, served first by the one and then by the other; each looks every name up once."""
    name = f"{args.names:,} names looked up"
    figures = memory.measure(rig, args.names, results, progress)
    values = {side: [figures[side]["after"]] for side in figures}
    told = ", ".join(
        f"{targets.LABELS[side]} {quantity(one['before'], 'bytes')} before, {quantity(one['released'], 'bytes')} a second "
        f"after its client had gone ({quantity(one['anonymous'], 'bytes')} of it not of files)"
        for side, one in figures.items()
    )
    note = f"one run; {told}"
    if args.names < 1_000_000:
        note = f"{args.names:,} names instead of a million (quick mode); {note}"
    return [targets.row(name, MEMORY, values, note)]


def _connections(rig, args, results, progress):
    """Many connections with one request each, beside one connection with 32."""
    name = f"4 KiB random read, {CONNECTIONS:,} connections, 1 request each"
    sides = {
        "kiln": ("kiln", {"connections": CONNECTIONS, "depth": 1}),
        "few": ("kiln", {"connections": 1, "depth": 32}),
        "stock": ("stock", {"connections": CONNECTIONS, "depth": 1}),
        "stock few": ("stock", {"connections": 1, "depth": 32}),
    }
    with rig.kiln() as kiln, rig.stock() as stock:
        bricks = {"kiln": kiln, "stock": stock}

        def one(side, turn, dropped):
            progress.step(name, side)
            brick, crowd = sides[side]
            # One file: each connection opens all there are.
            options = targets.SMALL | {"files": 1, "file_size": "64M"} | crowd | {"seconds": args.seconds, "warmup": args.warmup, "reuse": True}
            words = load.command(bricks[brick].target, "read", **options)
            result = load.run(words, bricks[brick].pid)
            results.run("connections", side, turn, words, result, dropped)
            return result

        runs = alternate(sides, args.rounds, one)
    values = {side: [load.rate(result) for result in runs[side]] for side in sides}
    of_stock = ratios(values["stock"], values["stock few"])
    note = (
        f"with 1 connection and 32 requests: Kiln {quantity(Spread.of(values['few']).median, 'per_s')}, "
        f"glusterfsd {quantity(Spread.of(values['stock few']).median, 'per_s')} (its own ratio {significant(of_stock.median)}×)"
    )
    return [targets.row(name, CROWD, values, note)]
