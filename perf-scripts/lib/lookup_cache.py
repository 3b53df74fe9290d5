#!/usr/bin/env python3
"""The rounds of lookup-cache.sh, its table and its plots."""

import argparse
import array
import itertools
import json
import multiprocessing
import os
import pathlib
import random
import statistics
import time

import machine
import page
from rig import Rig, cpu_ns
from volfile import cached_brick, volume

FILES, DIRECTORIES, SEARCHES = 1000, 10, 10_000
EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "python" / "examples"

PYTHON = {"search_path": EXAMPLES, "option.limit": 100_000}
CACHES = {
    "no cache": "",
    "nl-cache": volume("cache", "performance/nl-cache", "posix"),
    "Python": volume("cache", "features/glupy", "posix", module_name="negative", **PYTHON),
    "Python batch": volume("cache", "features/glupy", "posix", module_name="negative_batch", **PYTHON),
}
WAYS = {"mount": "kiln mount", "stock": "stock client"}
FIGURES = {
    "searches/s": ("searches per second", "{:.0f}"),
    "lookups/s": ("lookups per second", "{:.0f}"),
    "cpu": ("CPU of the brick per lookup, µs", "{:.1f}"),
    "python": ("of that, the Python thread's, µs", "{:.1f}"),
    "p50": ("latency of a lookup, p50, µs", "{:.0f}"),
    "p99": ("latency of a lookup, p99, µs", "{:.0f}"),
    "hits": ("lookups that the cache answered", "{:.1%}"),
    "batch": ("requests per call of a batch handler", "{:.2f}"),
}


def places():
    """The directory of each file."""
    chance = random.Random(2012)
    return [chance.randrange(DIRECTORIES) for _ in range(FILES)]


def searches(searcher, searchers):
    """What one searcher searches: 80 % of it among the first tenth of the files."""
    chance = random.Random(1000 + searcher)
    popular = FILES // 10
    count = SEARCHES // searchers + (searcher < SEARCHES % searchers)
    return [
        chance.randrange(popular) if chance.random() < 0.8 else chance.randrange(popular, FILES) for _ in range(count)
    ]


def search(mount, wanted, start, results):
    """One searcher: the time of each lookup, in nanoseconds."""
    directories = [os.open(mount / f"dir{number}", os.O_PATH) for number in range(DIRECTORIES)]
    names = [f"include-{number:04}.h" for number in range(FILES)]
    clock, exists, took = time.perf_counter_ns, os.access, array.array("Q")
    start.wait()
    for number in wanted:
        name = names[number]
        for directory in directories:
            before = clock()
            found = exists(name, os.F_OK, dir_fd=directory)
            took.append(clock() - before)
            if found:
                break
        else:
            raise SystemExit(f"{name} was not found")
    # Whatever stays open keeps the mount from going.
    for directory in directories:
        os.close(directory)
    results.send_bytes(took.tobytes())


def answered(rig, cache):
    """Lookups that the running brick's cache has answered, and requests per call of its batch handlers."""
    if cache == "no cache":
        return 0, None
    stats = rig.layer("cache")
    if cache == "nl-cache":
        return stats["negative_lookup_hit_count"], None
    requests = stats["requests"]
    batches = requests["batches"]
    return requests["failed"], (requests["calls"] + requests["replies"]) / batches if batches else None


def run(rig, mount, pid, cache, searchers):
    """One run: its figures."""
    start = multiprocessing.Barrier(searchers + 1)
    readers, processes = [], []
    for searcher in range(searchers):
        reader, writer = multiprocessing.Pipe(duplex=False)
        arguments = (mount, searches(searcher, searchers), start, writer)
        process = multiprocessing.Process(target=search, args=arguments)
        process.start()
        writer.close()
        readers.append(reader)
        processes.append(process)
    hits, _ = answered(rig, cache)
    used = cpu_ns(pid)
    start.wait()
    began = time.perf_counter()
    took = array.array("Q")
    for reader in readers:
        took.frombytes(reader.recv_bytes())
    seconds = time.perf_counter() - began
    spent = [after - before for before, after in zip(used, cpu_ns(pid))]
    for process in processes:
        process.join()
    hits, (now, batch) = -hits, answered(rig, cache)
    hits += now
    lookups = len(took)
    ordered = sorted(took)
    return {
        "searches/s": SEARCHES / seconds,
        "lookups/s": lookups / seconds,
        "cpu": spent[0] / lookups / 1000,
        "python": spent[1] / lookups / 1000 if cache.startswith("Python") else None,
        "p50": ordered[lookups // 2] / 1000,
        "p99": ordered[lookups * 99 // 100] / 1000,
        "hits": hits / lookups if cache != "no cache" else None,
        "batch": batch,
    }


def measure(rig, way, cache, searchers, late):
    """One run with a brick process of its own."""
    path = rig.dir / "brick.vol"
    path.write_text(cached_brick(rig.data / "brick", CACHES[cache], way == "stock", late))
    if way == "mount":
        # Attributes are kept for a second: the permission to search a directory is no lookup.
        timeouts = ("--entry-timeout", "0", "--negative-timeout", "0", "--attr-timeout", "1")
        with rig.kiln_mount("--volfile", path, *timeouts) as (mount, pid):
            return run(rig, mount, pid, cache, searchers)
    with rig.kiln_serve("--volfile", path) as pid, rig.stock_mount("--attribute-timeout=1") as mount:
        return run(rig, mount, pid, cache, searchers)


def populate(rig):
    """The files, made through Kiln."""
    with rig.kiln_mount("--brick", rig.data / "brick") as (mount, _):
        for number in range(DIRECTORIES):
            (mount / f"dir{number}").mkdir()
        for number, place in enumerate(places()):
            (mount / f"dir{place}" / f"include-{number:04}.h").write_text("#pragma once\n")


def medians(runs):
    """Of each figure: the median, the least and the most."""
    shown = {}
    for figure in FIGURES:
        values = [run[figure] for run in runs if run[figure] is not None]
        shown[figure] = (statistics.median(values), min(values), max(values)) if values else None
    return shown


def table(results):
    """The table of one way and number of searchers."""
    summary = {cache: medians(runs) for cache, runs in results.items()}
    print(f"{'':<38}" + "".join(f"{cache:>24}" for cache in summary))
    for figure, (about, form) in FIGURES.items():
        cells = []
        for cache in summary:
            value = summary[cache][figure]
            cells.append("–" if value is None else "{} [{}..{}]".format(*(form.format(part) for part in value)))
        print(f"{about:<38}" + "".join(f"{cell:>24}" for cell in cells))
    return summary


def bars(summary):
    """Bars in the terminal."""
    for figure in ("lookups/s", "cpu"):
        about, form = FIGURES[figure]
        most = max(values[figure][0] for values in summary.values())
        print(f"  {about}")
        for cache, values in summary.items():
            value = values[figure][0]
            eighths = round(value / most * 40 * 8)
            bar = "█" * (eighths // 8) + ("", *"▏▎▍▌▋▊▉")[eighths % 8]
            print(f"  {cache:<14}{bar} {form.format(value)}")


SIDES = dict(zip(CACHES, ("stock", "kiln", "bare", "raw")))


def bars_of(about, summary, figure):
    """The same bars for a page."""
    return {
        "label": about,
        "bars": [
            {"side": SIDES[cache], "label": cache, "value": value[0], "least": value[1], "most": value[2]}
            for cache, value in ((cache, values[figure]) for cache, values in summary.items())
        ],
    }


def show(saved, html):
    """All tables, and the page if it is wanted."""
    print(saved["about"])
    groups = []
    for key, results in saved["groups"].items():
        way, searchers, late = key.split()
        rounds = min(len(runs) for runs in results.values())
        about = f"{WAYS[way]}, {searchers} searcher{'s' if searchers != '1' else ''}"
        about += f", storage that takes {late} µs longer" if late != "0" else ""
        print(f"\n-- {about}; medians of {rounds} rounds, [least..most]")
        groups.append((about, table(results)))
        bars(groups[-1][1])
    if html:
        html.write_text(page.render([as_results(saved, groups)]))


def as_results(saved, groups):
    """The form of results that pages are made of."""
    sections = []
    for figure, unit, factor in (("lookups/s", "per_s", 1), ("cpu", "ns", 1000)):
        scaled = [(about, {cache: {figure: [part * factor for part in values[figure]]} for cache, values in of.items()}) for about, of in groups]
        bars_here = [bars_of(about, of, figure) for about, of in scaled]
        sections.append({"kind": "bars", "title": FIGURES[figure][0].removesuffix(", µs"), "groups": bars_here, "unit": unit, "own_scale": True})
    for about, of in groups:
        rows = [
            [told, *("–" if of[cache][figure] is None else "{} [{}..{}]".format(*map(form.format, of[cache][figure])) for cache in of)]
            for figure, (told, form) in FIGURES.items()
        ]
        sections.append({"kind": "table", "title": about, "head": ["", *of], "rows": rows})
    return {
        "script": "lookup-cache",
        "title": "Caches of absent names",
        "about": saved["about"],
        "command": "perf-scripts/lookup-cache.sh",
        "machine": saved["machine"],
        "notes": ["A search tries ten directories in order; most lookups are in vain."],
        "sections": sections,
        "runs": [{"row": key, "result": results} for key, results in saved["groups"].items()],
    }


def main():
    parse = argparse.ArgumentParser()
    parse.add_argument("--rounds", type=int, default=5)
    parse.add_argument("--way", choices=WAYS, action="append")
    parse.add_argument("--searchers", type=int, action="append")
    parse.add_argument("--late", type=int, action="append")
    parse.add_argument("--html", type=pathlib.Path)
    parse.add_argument("--save", type=pathlib.Path)
    parse.add_argument("--show", type=pathlib.Path)
    args = parse.parse_args()
    if args.show:
        show(json.loads(args.show.read_text()), args.html)
        return
    here = machine.describe()
    about = f"{machine.one_line(here)}, tmpfs; {SEARCHES} searches for {FILES} files in {DIRECTORIES} directories"
    saved = {"about": about, "machine": here, "groups": {}}
    if args.save and args.save.exists():
        saved = json.loads(args.save.read_text())
    with Rig() as rig:
        populate(rig)
        for way, late, searchers in itertools.product(args.way or WAYS, args.late or (0, 200), args.searchers or (8, 1)):
            results = saved["groups"].setdefault(f"{way} {searchers} {late}", {cache: [] for cache in CACHES})
            for turn in range(args.rounds):
                for cache in list(CACHES)[:: 1 if turn % 2 else -1]:
                    results[cache].append(measure(rig, way, cache, searchers, late))
    if args.save:
        args.save.write_text(json.dumps(saved))
    show(saved, args.html)


if __name__ == "__main__":
    main()
