"""Tables for the terminal and in Markdown, and what the cells of the table of targets say."""

import unicodedata

from figures import Spread, Target, multiple, quantity, with_spread

HEAD = ("workload", "glusterfsd", "Kiln", "ratio", "target", "met")


def cells(row):
    """A row of targets (see `targets.py`) as text: workload, glusterfsd, Kiln, ratio, target, met."""
    unit, form = row["unit"], row["form"]
    write = {side: Spread.parse(row[side]) for side in ("stock", "kiln", "ratio")}
    target = Target(**row["target"]) if row["target"] else None
    named = f"{row['name']}: {row['what']}"
    if row.get("missing"):
        return [named, "–", "–", row["missing"], target.text(form) if target else "", "–"]
    against = f" of {row['against']}" if row["against"] != "glusterfsd" else ""
    return [
        named,
        quantity(write["stock"].median, unit) if write["stock"] else "–",
        quantity(write["kiln"].median, unit) if write["kiln"] else "–",
        with_spread(write["ratio"], lambda value: multiple(value, form)),
        target.text(form) + against if target else "",
        {True: "yes", False: "no", None: "–"}[row["met"]] if target else "",
    ]


def width(words):
    """Columns that a text takes in a terminal."""
    return sum(0 if unicodedata.combining(letter) else 1 for letter in words)


def plain(head, rows):
    """Columns that stand below each other, the first to the left, the others to the right."""
    rows = [list(map(str, row)) for row in rows]
    widths = [max(width(row[at]) for row in [list(head), *rows]) for at in range(len(head))]
    out = []
    for number, row in enumerate([list(head), *rows]):
        pads = [" " * (wide - width(cell)) for wide, cell in zip(widths, row)]
        line = "  ".join(cell + pad if at == 0 else pad + cell for at, (cell, pad) in enumerate(zip(row, pads)))
        out.append(line.rstrip())
        if number == 0:
            out.append("  ".join("─" * wide for wide in widths))
    return "\n".join(out)


def markdown(head, rows):
    """The same for a README."""
    out = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    out += ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(out)
