"""What `kiln load --json` says, made up."""


def load(name="read", count=1000, cpu=0.004, rate=100_000.0, p50=50_000, p99=120_000, rss=1 << 26, entries=0):
    """One result."""
    percentiles = {"min": 1, "mean": p50, "p50": p50, "p90": p99, "p99": p99, "p99_9": p99, "p99_99": p99, "max": p99}
    operation = {"name": name, "count": count, "errors": 0, "bytes": count * 4096, "rate": rate, "latency_ns": percentiles}
    return {
        "kiln_load": 1,
        "workload": {"name": name},
        "operations": [{**operation, "name": "OTHER"}, operation],
        "total": {"count": count, "errors": 0, "bytes": count * 4096, "rate": rate, "entries": entries},
        "brick": {"pid": 1, "cpu_seconds": cpu, "rss_bytes": rss},
        "self": {"cpu_seconds": 0.001, "cpu_ns_per_op": 1000},
        "curve": [[0.0, 1000], [0.5, p50], [0.99, p99]],
    }


MACHINE = {
    "kernel": "Linux 6.18",
    "cpu": "A <CPU>",
    "cores": 2,
    "memory_bytes": 8 << 30,
    "virtual": True,
    "governor": None,
    "congestion_control": "cubic",
    "load_average": 0.1,
    "date": "2026-11-23 12:00 UTC",
    "programs": {"kiln": "kiln 0.1.0"},
}


def results(sections, runs=()):
    """A results.json."""
    return {
        "kiln_perf": 1,
        "script": "compare",
        "title": "A & B",
        "about": "Of `kiln load`.",
        "command": "perf-scripts/compare.sh --quick",
        "where": "bricks on tmpfs",
        "machine": MACHINE,
        "notes": [],
        "sections": sections,
        "runs": list(runs),
    }
