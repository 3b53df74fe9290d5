"""Mounts: Kiln's own beside a classic FUSE file system, and the stock client's on Kiln and on glusterfsd."""

import argparse
import contextlib
import os
import pathlib
import shlex

import load
from figures import Spread, multiple, quantity, ratios, with_spread
from results import Results
from rig import KILN, STOCK_PORT, Rig
from rounds import Progress, alternate
from script import finish, parser, place, run, settle
from targets import bar

ABOUT = """What applications see of a mount, one request at a time, and what it costs who serves it. Attributes and names are not kept by the
kernel, so that each stat is one; reads and writes go past the page cache. First Kiln's mount beside a FUSE file system that passes
everything on to a directory (on the same tmpfs), once through /dev/fuse and once over io_uring where the kernel has that; then
the stock client's mounts of a Kiln brick and of a glusterfsd brick."""

MORE = """The peer of the first part is Debian's bindfs, or what the variable PEER names: a command that mounts {source} at {target} and stays
in the foreground, such as

  PEER='./passthrough -f -o default_permissions,allow_other -o modules=subdir,subdir={source} {target}'

for the example of libfuse (package libfuse3-dev, /usr/share/doc/libfuse3-dev/examples, which says in its first lines how it is
compiled). Both sides keep no attributes and names, and let the kernel check permissions: with other options the kernel asks
one of them more often than the other. For io_uring, /sys/module/fuse/parameters/enable_uring is set to Y during the run."""

SWITCH = pathlib.Path("/sys/module/fuse/parameters/enable_uring")
PEER = os.environ.get("PEER", "bindfs -f -o default_permissions,allow_other,attr_timeout=0,entry_timeout=0 {source} {target}")

WORKLOADS = {
    "stat": ("stat", "stat", {"entries": 1000}),
    "read": ("4 KiB random read", "read", {"block": "4k", "files": 1, "file_size": "64M", "direct": True}),
    "write": ("4 KiB random write", "write", {"block": "4k", "files": 1, "file_size": "64M", "direct": True}),
    "create-unlink": ("create + 4 KiB write + close + unlink", "create-unlink", {}),
}
LABELS = {"kiln": "Kiln", "peer": PEER.split()[0].rpartition("/")[2], "stock": "glusterfsd"}


def measure(title, text, mounts, args, results, progress):
    """The rounds of one pair of mounts: a table and two plots. `mounts`: by side, Kiln first, the directory and the process."""
    rows, cpu_bars, rate_bars = [], [], []
    ours, theirs = mounts
    for key, (name, workload, options) in WORKLOADS.items():
        if args.only and key not in args.only:
            continue

        def one(side, turn, dropped, name=name, workload=workload, options=options, key=key):
            progress.step(f"{title}: {name}", side)
            directory, pid = mounts[side]
            more = {"seconds": args.seconds, "warmup": 0.2, "reuse": True, "depth": 1, "threads": 1}
            words = load.command(directory, workload, **options, **more)
            result = load.run(words, pid)
            results.run(f"{title}: {key}", side, turn, words, result, dropped)
            return result

        runs = alternate(mounts, args.rounds, one)
        rate = {side: [load.rate(result) for result in runs[side]] for side in mounts}
        cpu = {side: [load.cpu_per_op(result) for result in runs[side]] for side in mounts}
        rows.append(
            [
                name,
                *(quantity(Spread.of(rate[side]).median, "per_s") for side in mounts),
                with_spread(ratios(rate[ours], rate[theirs]), lambda value: multiple(value, "times")),
                *(quantity(Spread.of(cpu[side]).median, "ns") for side in mounts),
                with_spread(ratios(cpu[ours], cpu[theirs]), lambda value: multiple(value, "times")),
            ]
        )
        for bars, values in ((cpu_bars, cpu), (rate_bars, rate)):
            spreads = {side: Spread.of(values[side]) for side in mounts}
            group = [bar(side, of.median, of.least, of.most, label=LABELS[side]) for side, of in spreads.items()]
            bars.append({"label": name, "bars": group})
    head = ["workload", *(f"rate, {LABELS[side]}" for side in mounts), "ratio", *(f"CPU, {LABELS[side]}" for side in mounts), "ratio"]
    results.section("table", title, text=text, head=head, rows=rows)
    results.section("bars", f"{title}: operations per second", text="More is better.", groups=rate_bars, unit="per_s")
    results.section("bars", f"{title}: CPU of the server per operation", text="Less is better.", groups=cpu_bars, unit="ns")


@contextlib.contextmanager
def passthrough(rig):
    """The peer's mount."""
    source = rig.data / "source"
    source.mkdir(exist_ok=True)
    words = shlex.split(PEER.replace("{source}", str(source)).replace("{target}", ""))
    if not PEER.rstrip().endswith("{target}"):
        raise SystemExit("PEER has to end with {target}")
    with rig.mounted("peer", words) as both:
        yield both


@contextlib.contextmanager
def over_uring():
    """FUSE over io_uring allowed for as long; False where the kernel does not have it."""
    if not os.access(SWITCH, os.W_OK):
        yield False
        return
    before = SWITCH.read_text()
    SWITCH.write_text("Y")
    try:
        yield True
    finally:
        SWITCH.write_text(before)


def own(rig, transport, args, results, progress):
    """Kiln's mount beside the peer's."""
    timeouts = ("--attr-timeout", "0", "--entry-timeout", "0")
    way = {"device": "through /dev/fuse", "io-uring": "over io_uring"}[transport]
    with (
        passthrough(rig) as peer,
        rig.kiln_mount("--brick", rig.data / "brick", "--transport", transport, *timeouts) as kiln,
    ):
        title = f"Kiln's mount {way}, beside {LABELS['peer']}"
        measure(title, "CPU is that of the process that serves the mount.", {"kiln": kiln, "peer": peer}, args, results, progress)


def client(rig, args, results, progress):
    """The stock client's mounts of both bricks."""
    options = ("--attribute-timeout=0", "--direct-io-mode=enable")
    with (
        rig.kiln() as kiln,
        rig.stock() as stock,
        rig.stock_mount(*options) as of_kiln,
        rig.stock_mount(*options, port=STOCK_PORT) as of_stock,
    ):
        mounts = {"kiln": (of_kiln, kiln.pid), "stock": (of_stock, stock.pid)}
        text = "The same client program mounts both; CPU is that of the brick, the client's own comes on top."
        measure("The stock client's mount", text, mounts, args, results, progress)


def main():
    parse = parser("mount", ABOUT, rounds=5)
    parse.formatter_class = argparse.RawDescriptionHelpFormatter
    parse.epilog = MORE
    parse.add_argument("--only", action="append", choices=WORKLOADS, metavar="W", help="this workload: " + ", ".join(WORKLOADS))
    parse.add_argument("--part", choices=("own", "client"), help="only Kiln's own mount, or only the stock client's")
    args = settle(parse.parse_args(), (5, 1.5), (3, 0.6))
    results = Results("mount", "Mounts", ABOUT.replace("\n", " "), KILN, place(args))
    each = len(args.only or WORKLOADS) * 2 * (args.rounds + 1)
    progress = Progress(each * (2 * (args.part != "client") + (args.part != "own")))
    with Rig(args.dir) as rig:
        if args.part != "client":
            own(rig, "device", args, results, progress)
            with over_uring() as allowed:
                if allowed:
                    own(rig, "io-uring", args, results, progress)
                else:
                    results.note(f"FUSE over io_uring is not measured: {SWITCH} is not there (Linux 6.14) or not ours to set.")
        if args.part != "own":
            client(rig, args, results, progress)
    progress.end()
    finish(results, args)


if __name__ == "__main__":
    run(main)
