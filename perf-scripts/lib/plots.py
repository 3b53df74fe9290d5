"""Plots as SVG text: bars with error marks, and lines. Colours are classes, which the page gives a light and a dark form.

A writer of our own and not a library: bars and lines are all that is needed, text stays text, a page follows the reader's
light or dark setting, and a machine that measures needs no more than Python.
"""

import html
import math

from figures import quantity, significant

WIDTH = 720
TEXT = 13
# Colours of those who are compared; series of neither get the rest in turn.
SIDES = ("kiln", "stock", "bare", "raw", "peer")

STYLE = """
.plot { --kiln: #0b7a4b; --stock: #b0562b; --bare: #4565b0; --raw: #8a55a5; --peer: #7a7f87; --ink: #1d2329; --soft: #626b75;
  --grid: #dfe3e7; }
@media (prefers-color-scheme: dark) {
  .plot { --kiln: #45c98d; --stock: #ec9264; --bare: #86a5f2; --raw: #cb9ae0; --peer: #a3a9b1; --ink: #e6e9ec; --soft: #9ba5af;
    --grid: #343b42; }
}
.plot text { font: 13px system-ui, sans-serif; fill: var(--ink); }
.plot .soft { fill: var(--soft); } .plot .bold { font-weight: 600; }
.plot .grid { stroke: var(--grid); fill: none; } .plot .error { stroke: var(--ink); fill: none; stroke-width: 1.3; }
.plot .mark { stroke: var(--ink); fill: none; stroke-width: 2; stroke-dasharray: 2 2; }
.plot .line { fill: none; stroke-width: 2.2; stroke-linejoin: round; }
.plot .dash1 { stroke-dasharray: 7 4; } .plot .dash2 { stroke-dasharray: 2 4; } .plot .dash3 { stroke-dasharray: 9 3 2 3; }
""" + "".join(
    f".plot .fill-{side} {{ fill: var(--{side}); }} .plot .line-{side} {{ stroke: var(--{side}); }}\n" for side in SIDES
)


def text(x, y, words, kind="", anchor="start"):
    """A piece of text."""
    where = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{where}{_kind(kind)}>{html.escape(str(words))}</text>'


def _kind(kind):
    return f' class="{kind}"' if kind else ""


def svg(height, parts, label):
    """The whole picture."""
    return (
        f'<svg class="plot" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
        f'aria-label="{html.escape(label, quote=True)}">\n' + "\n".join(parts) + "\n</svg>\n"
    )


def standalone(picture):
    """A picture that is a file of its own."""
    ground = "<style>svg { background: #fff } @media (prefers-color-scheme: dark) { svg { background: #16191d } }"
    at = picture.index("\n") + 1
    return f"{picture[:at]}{ground}{STYLE}</style>\n{picture[at:]}"


def legend(y, items, parts, left=0):
    """Who is who, in one row or more: (side or None for a mark, label, dash or None for a box). The height of it."""
    x, rows = left, 1
    for side, label, dash in items:
        width = 34 + 7.2 * len(label)
        if x + width > WIDTH and x > left:
            x, rows = left, rows + 1
        at = y + (rows - 1) * 20
        if side is None:
            parts.append(f'<path class="mark" d="M{x + 6:.1f} {at - 12:.1f}v16"/>' + text(x + 18, at, label))
        elif dash is None:
            parts.append(f'<rect class="fill-{side}" x="{x:.1f}" y="{at - 10:.1f}" width="12" height="12" rx="2"/>')
            parts.append(text(x + 18, at, label))
        else:
            parts.append(f'<path class="line line-{side} dash{dash}" d="M{x:.1f} {at - 4:.1f}h22"/>')
            parts.append(text(x + 28, at, label))
        x += width + 10
    return rows * 20


def _steps(most, want=5):
    """Round numbers from zero to at least `most`."""
    if most <= 0:
        return [0, 1]
    raw = most / want
    size = 10 ** math.floor(math.log10(raw))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= raw * 0.999)
    return [step * number for number in range(math.ceil(most / step - 1e-9) + 1)]


def bars(section):
    """Bars from left to right. `groups`: a label and its bars (side, label, value, least, most, text), perhaps a `mark`, such as
    a target; `unit` of the values; `own_scale` if each group has a scale of its own and no axis is drawn."""
    groups, unit = section["groups"], section["unit"]
    left, right, thick, gap = 196, WIDTH - 118, 16, 5
    parts = []
    sides = {bar["side"]: bar["label"] for group in groups for bar in group["bars"]}
    items = [(side, label, None) for side, label in sides.items()]
    if any(group.get("mark") is not None for group in groups):
        items.append((None, section.get("mark_label", "target"), None))
    y = 14 + legend(14, items, parts) + 6

    def reach(group):
        ends = [bar.get("most") or bar["value"] for bar in group["bars"]]
        return max([*ends, group.get("mark") or 0, 1e-12])

    top, scale_for_all = y, _steps(max(map(reach, groups)), 3 if unit == "bytes_per_cpu_s" else 5)
    own = section.get("own_scale", False)
    body = []
    for group in groups:
        full = reach(group) if own else scale_for_all[-1]
        scale = (right - left) / full
        height = len(group["bars"]) * (thick + gap)
        label_y = y + height / 2 + 2
        words = _wrapped(group["label"], 25)
        for number, line in enumerate(words):
            body.append(text(left - 10, label_y + (number - (len(words) - 1) / 2) * 15, line, anchor="end"))
        for number, bar in enumerate(group["bars"]):
            at, length = y + number * (thick + gap), bar["value"] * scale
            least, most = bar.get("least", bar["value"]), bar.get("most", bar["value"])
            told = f"{bar['label']}: {quantity(bar['value'], unit)} [{quantity(least, unit)}..{quantity(most, unit)}]"
            body.append(
                f'<rect class="fill-{bar["side"]}" x="{left}" y="{at:.1f}" width="{max(length, 1):.1f}" height="{thick}" rx="2">'
                f"<title>{html.escape(group['label'])}, {html.escape(told)}</title></rect>"
            )
            end = length
            if most > least:
                middle, end = at + thick / 2, max(length, most * scale)
                body.append(
                    f'<path class="error" d="M{left + least * scale:.1f} {middle:.1f}H{left + most * scale:.1f}'
                    f'M{left + least * scale:.1f} {middle - 4:.1f}v8M{left + most * scale:.1f} {middle - 4:.1f}v8"/>'
                )
            mark = (group.get("mark") or 0) * scale
            if end < mark + 3 and mark < end + 72:
                end = mark
            body.append(text(left + end + 7, at + thick - 3.5, bar.get("text") or quantity(bar["value"], unit)))
        if group.get("mark") is not None:
            x = left + group["mark"] * scale
            body.append(f'<path class="mark" d="M{x:.1f} {y - 4:.1f}v{height + 3:.1f}"/>')
        y += height + 12
    if not own:
        for step in scale_for_all:
            x = left + step / scale_for_all[-1] * (right - left)
            parts.append(f'<path class="grid" d="M{x:.1f} {top - 6:.1f}V{y - 4:.1f}"/>')
            parts.append(text(x, y + 12, quantity(step, unit, trim=True), "soft", "middle"))
        y += 22
        if section.get("axis"):
            parts.append(text((left + right) / 2, y + 8, section["axis"], "soft", "middle"))
            y += 16
    return svg(y, parts + body, section["title"])


def _wrapped(words, width):
    """Words in lines of about so many letters."""
    lines = [""]
    for word in words.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


class Axis:
    """From values to places: `linear` from zero, `log`, or `percentile`, where each further nine takes the same room; `marks` are
    chosen unless they are given."""

    def __init__(self, about, values, start, end):
        self.kind, self.unit = about.get("scale", "linear"), about.get("unit", "count")
        self.start, self.end = start, end
        values = [value for value in values if self.kind != "log" or value > 0] or [1]
        if self.kind == "log":
            self.low = math.floor(math.log10(min(values)) * 3) / 3
            self.high = max(math.ceil(math.log10(max(values)) * 3) / 3, self.low + 1 / 3)
            marks = [base * 10**power for power in range(-3, 13) for base in (1, 2, 5)]
            wide = self.high - self.low > 3.2
            self.marks = [
                mark
                for mark in marks
                if self.low - 1e-9 <= math.log10(mark) <= self.high + 1e-9 and (not wide or f"{mark:e}"[0] == "1")
            ]
        elif self.kind == "percentile":
            nines = [value for value in (0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999) if value <= max(values)]
            self.low, self.high, self.marks = 0, max(self._turn(max(values)), 1), nines
        else:
            # Round numbers of MiB, where it is bytes.
            unit = 1 << 20 if self.unit == "bytes" else 1
            self.marks = [mark * unit for mark in _steps(max(values) / unit)]
            self.low, self.high = 0, self.marks[-1]
        self.marks = about.get("marks", self.marks)

    def _turn(self, value):
        if self.kind == "log":
            return math.log10(max(value, 1e-9))
        return -math.log10(1 - min(value, 1 - 1e-9)) if self.kind == "percentile" else value

    def at(self, value):
        """The place of a value."""
        share = (self._turn(value) - self.low) / (self.high - self.low)
        return self.start + min(max(share, 0), 1) * (self.end - self.start)

    def words(self, mark):
        """What stands at a mark."""
        return f"{significant(mark * 100, 7)} %" if self.kind == "percentile" else quantity(mark, self.unit, trim=True)


def lines(section):
    """Curves. `series`: label, side, dash (0 to 3), points as [x, y] or [x, y, least, most]; `x` and `y`: label, unit, scale."""
    series = [one for one in section["series"] if one["points"]]
    parts = []
    items = [(one["side"], one["label"], one.get("dash", 0)) for one in series]
    top = 16 + legend(14, items, parts) + 24
    bottom, left, right = top + 300, 78, WIDTH - 24
    x = Axis(section["x"], [point[0] for one in series for point in one["points"]], left, right)
    y = Axis(section["y"], [value for one in series for point in one["points"] for value in point[1:]], bottom, top)
    for mark in y.marks:
        parts.append(f'<path class="grid" d="M{left} {y.at(mark):.1f}H{right}"/>')
        parts.append(text(left - 8, y.at(mark) + 4, y.words(mark), "soft", "end"))
    for mark in x.marks:
        parts.append(f'<path class="grid" d="M{x.at(mark):.1f} {top}V{bottom}"/>')
        parts.append(text(x.at(mark), bottom + 18, x.words(mark), "soft", "middle"))
    parts.append(text((left + right) / 2, bottom + 40, section["x"]["label"], "soft", "middle"))
    parts.append(text(left - 70, top - 16, section["y"]["label"], "soft"))
    for one in series:
        side = one["side"]
        places = [(x.at(point[0]), y.at(point[1])) for point in one["points"]]
        path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in places)
        parts.append(f'<path class="line line-{side} dash{one.get("dash", 0)}" d="{path}"/>')
        for point, (a, b) in zip(one["points"], places):
            if len(point) == 4 and point[3] > point[2]:
                parts.append(f'<path class="error" d="M{a:.1f} {y.at(point[2]):.1f}V{y.at(point[3]):.1f}"/>')
            if len(places) <= 16:
                told = f"{one['label']}: {x.words(point[0])}, {y.words(point[1])}"
                parts.append(
                    f'<circle class="fill-{side}" cx="{a:.1f}" cy="{b:.1f}" r="3.2"><title>{html.escape(told)}</title></circle>'
                )
    return svg(bottom + 52, parts, section["title"])
