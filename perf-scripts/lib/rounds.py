"""Rounds: every side measured once in each, in an order that changes; the first round warms up and is dropped."""

import sys
import time


def order(sides, turn):
    """The sides of one round: forwards and backwards by turns, so that none is always the one that comes after another."""
    return list(sides) if turn % 2 == 0 else list(sides)[::-1]


def alternate(sides, rounds, measure):
    """Calls `measure(side, turn, dropped)` for each side of each round, and of one more before them. What it returned, by side,
    without the first round."""
    results = {side: [] for side in sides}
    for turn in range(rounds + 1):
        for side in order(sides, turn):
            results[side].append(measure(side, turn, turn == 0))
    return {side: values[1:] for side, values in results.items()}


class Progress:
    """How far a script has come: one line that changes in a terminal, a line for each part elsewhere."""

    def __init__(self, steps, out=sys.stderr):
        self.steps, self.done, self.out = max(steps, 1), 0, out
        self.began = time.monotonic()
        self.live = out.isatty()
        self.part = None

    def step(self, part, detail=""):
        """The next measurement begins."""
        passed = time.monotonic() - self.began
        share = self.done / self.steps
        self.done += 1
        if self.live:
            bar = ("█" * round(share * 24)).ljust(24, "░")
            left = f", about {_clock(passed / share * (1 - share))} left" if share > 0.03 else ""
            self.out.write(f"\r\033[K{bar} {share:4.0%}  {_clock(passed)}{left}  {part} {detail}"[:150])
        elif part != self.part:
            self.out.write(f"[{_clock(passed)}] {share:4.0%}  {part}\n")
        self.part = part
        self.out.flush()

    def skip(self):
        """One measurement that need not be."""
        self.steps = max(self.steps - 1, 1)

    def clear(self):
        """Makes room for other text."""
        if self.live:
            self.out.write("\r\033[K")
            self.out.flush()

    def end(self):
        """The last line."""
        self.clear()
        self.out.write(f"[{_clock(time.monotonic() - self.began)}] measured\n")
        self.out.flush()


def _clock(seconds):
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
