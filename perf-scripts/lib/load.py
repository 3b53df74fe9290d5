"""`kiln load`: its command line, and the figures in its JSON (whose form docs/load.md describes)."""

import json
import pathlib
import subprocess
import tempfile

import hdr
from rig import KILN, Failed


def command(target, workload, **options):
    """The command line: `block="4k"` is `--block 4k`, `keep=True` is `--keep`."""
    words = [KILN, "load", target, "--workload", workload]
    for name, value in options.items():
        if value is None or value is False:
            continue
        words.append("--" + name.replace("_", "-"))
        if value is not True:
            words.append(str(value))
    return words


def run(words, pid=None, percentiles=False, limit=900):
    """Runs it: its JSON. With `percentiles`, the curve of the latencies comes in it as `curve`."""
    with tempfile.TemporaryDirectory(prefix="kiln-load-") as place:
        report, log = pathlib.Path(place, "load.json"), pathlib.Path(place, "load.hdr")
        words = [*words, "--no-progress", "--json", report]
        words += ["--pid", str(pid)] if pid else []
        words += ["--hdr", log] if percentiles else []
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=limit, check=False)
        except subprocess.TimeoutExpired as expired:
            raise Failed(f"{' '.join(map(str, words))}: no end after {limit} s") from expired
        if done.returncode != 0 or not report.exists():
            raise Failed(f"{' '.join(map(str, words))}: exit status {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        result = json.loads(report.read_text())
        if not result["total"]["count"]:
            raise Failed(f"{' '.join(map(str, words))}: no operation ended in {result['seconds']:.1f} s")
        if percentiles:
            result["curve"] = hdr.curve(log.read_text(), result["workload"]["name"])
    return result


def cpu_per_op(result):
    """Nanoseconds of the brick's CPU time per operation."""
    return result["brick"]["cpu_seconds"] * 1e9 / result["total"]["count"]


def cpu_per_entry(result):
    """The same per name that a directory's listing brought."""
    return result["brick"]["cpu_seconds"] * 1e9 / result["total"]["entries"]


def bytes_per_cpu_second(result):
    """How much was read or written for a second of the brick's CPU time."""
    return result["total"]["bytes"] / result["brick"]["cpu_seconds"]


def rate(result):
    """Operations per second."""
    return result["total"]["rate"]


def latency(percentile):
    """Of whole operations, in nanoseconds: `p50`, `p99`, `p99_9` …"""

    def figure(result):
        name = result["workload"]["name"]
        operations = {operation["name"]: operation for operation in result["operations"]}
        of = operations.get(name) or result["operations"][0]
        return of["latency_ns"][percentile]

    return figure
