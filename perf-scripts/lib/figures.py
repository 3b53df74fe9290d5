"""Numbers: medians with their spread, ratios round by round, targets, and how all of them are written."""

import dataclasses
import math
import statistics


@dataclasses.dataclass(frozen=True)
class Spread:
    """Several measurements of one thing."""

    median: float
    least: float
    most: float
    count: int

    @classmethod
    def of(cls, values):
        """Of the values that are there; None if there is none."""
        values = [value for value in values if value is not None]
        if not values:
            return None
        return cls(statistics.median(values), min(values), max(values), len(values))

    def json(self):
        """For results.json."""
        return dataclasses.asdict(self)

    @classmethod
    def parse(cls, value):
        """What `json` made."""
        return None if value is None else cls(**value)


def ratios(ours, theirs):
    """Ours over theirs, each round by itself: what slows a whole round down is in both."""
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} rounds of one side, {len(theirs)} of the other")
    pairs = zip(ours, theirs)
    return Spread.of([a / b if a is not None and b else None for a, b in pairs])


@dataclasses.dataclass(frozen=True)
class Target:
    """What a ratio, Kiln over the other, has to be: at most or at least so much."""

    limit: float
    most: bool

    def met(self, ratio):
        """Whether the median of a ratio is there; None if nothing was measured."""
        if ratio is None:
            return None
        return ratio.median <= self.limit if self.most else ratio.median >= self.limit

    def text(self, form):
        """As the table has it."""
        return f"{'≤' if self.most else '≥'} {multiple(self.limit, form, trim=True)}"


def multiple(value, form, trim=False):
    """A ratio: `fraction` writes what is below one as 1/N, `times` as N×."""
    if form == "fraction" and 0 < value < 1:
        return f"1/{significant(1 / value, 2, trim)}"
    return f"{significant(value, 2, trim)}×"


def significant(value, digits=2, trim=True):
    """A number with so many digits that count, and no exponent; `trim` takes zeros off the end of a fraction."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "∞"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{places}f}"
    return text.rstrip("0").rstrip(".") if trim and "." in text else text


# Unit: what one of its steps is called and how much it is, greatest first.
UNITS = {
    "ns": ((1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1, "ns")),
    "per_s": ((1e6, "M/s"), (1e3, "k/s"), (1, "/s")),
    "bytes": ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B")),
    "bytes_per_s": ((1e9, "GB/s"), (1e6, "MB/s"), (1e3, "kB/s"), (1, "B/s")),
    "bytes_per_cpu_s": ((1e9, "GB/CPU s"), (1e6, "MB/CPU s"), (1e3, "kB/CPU s"), (1, "B/CPU s")),
    "count": ((1e6, "M"), (1e3, "k"), (1, "")),
    "share": ((0.01, "%"),),
}


def quantity(value, unit, digits=3, trim=False):
    """A number with its unit: 4.31 µs, 56.6 k/s."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    steps = UNITS[unit]
    size, name = next((step for step in steps if abs(value) >= step[0]), steps[-1])
    gap = "" if name in ("", "M", "k", "%") else " "
    return f"{significant(value / size, digits, trim)}{gap}{name}"


def with_spread(spread, write):
    """`median [least..most]`, each as `write` writes it."""
    if spread is None:
        return "–"
    if spread.count == 1:
        return write(spread.median)
    return f"{write(spread.median)} [{write(spread.least).removesuffix('×')}..{write(spread.most).removesuffix('×')}]"
