"""What a script leaves behind: results.json, and report.html made of it.

results.json has, next to what the machine is:

    kiln_perf   1, the version of the form
    script, title, about, command, where, notes
    sections    what the page shows, in order; each has `kind` and `title`, perhaps `text`, and
                targets: rows       name, what, unit, form, against, stock, kiln, ratio, target, met, note, missing
                table:   head, rows
                bars:    groups, unit, own_scale       (plots.bars)
                lines:   series, x, y                  (plots.lines)
                pre:     content
    runs        each measurement: row, side, round, dropped, command, result (what `kiln load --json` or fio printed)
"""

import json
import pathlib
import shlex
import sys
import time

import machine as machines
import page
import table

FORM = 1


class Results:
    """Of one script. It is written as it grows, so that what was measured before a failure is there."""

    def __init__(self, script, title, about, kiln=None, where=None, programs=("glusterfsd", "fio")):
        self.data = {
            "kiln_perf": FORM,
            "script": script,
            "title": title,
            "about": about,
            "command": shlex.join([f"perf-scripts/{script}.sh", *sys.argv[1:]]),
            "machine": machines.describe(kiln, programs),
            "where": where,
            "notes": [],
            "sections": [],
            "runs": [],
        }
        for line in machines.lines(self.data["machine"], where):
            print(line, flush=True)

    def note(self, words):
        """Something to be told above the tables."""
        self.data["notes"].append(words)

    def run(self, row, side, turn, command, result, dropped=False):
        """Keeps a measurement."""
        words = shlex.join(map(str, command)) if command else None
        kept = {"row": row, "side": side, "round": turn, "dropped": dropped, "command": words, "result": result}
        self.data["runs"].append(kept)

    def section(self, kind, title, **content):
        """Adds to the page."""
        self.data["sections"].append({"kind": kind, "title": title, **content})

    def write(self, directory):
        """Writes both files; where they are."""
        directory = pathlib.Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        raw, shown = directory / "results.json", directory / "report.html"
        raw.write_text(json.dumps(self.data, ensure_ascii=False, indent=1) + "\n")
        shown.write_text(page.render([self.data]))
        return raw, shown


def read(path):
    """A results.json of earlier."""
    data = json.loads(pathlib.Path(path).read_text())
    if data.get("kiln_perf") != FORM:
        raise SystemExit(f"{path} is not the results.json of one of these scripts, or of another version of them")
    return data


def default_directory(script):
    """Where results go when nobody says where."""
    return pathlib.Path("perf-results") / f"{script}-{time.strftime('%Y%m%d-%H%M%S')}"


def print_tables(data, markdown=False):
    """The tables of the page, for a terminal or for a README."""
    write = table.markdown if markdown else table.plain
    for section in data["sections"]:
        if section["kind"] not in ("targets", "table"):
            continue
        if section["kind"] == "targets":
            head, rows = table.HEAD, [table.cells(row) for row in section["rows"]]
        else:
            head, rows = section["head"], section["rows"]
        print(f"\n{section['title']}\n\n{write(head, rows)}" if not markdown else f"\n{write(head, rows)}")
        for row in section["rows"] if section["kind"] == "targets" and not markdown else ():
            if row.get("note"):
                print(f"  {row['name']}: {row['note']}")
