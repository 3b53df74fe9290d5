"""Tries a translator against recorded operations: ``kiln python run MODULE --replay FILE``.

The translator stands over a layer that answers each operation as it was answered when it was recorded. What the
translator answers itself, changes, or does on its own shows in the report.
"""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from . import _native
from ._codec import Decoder, Encoder
from ._handlers import ARGUMENTS
from ._native import Context, Failure, request
from .testing import Stack
from .translator import Translator

EIO = 5


class Line(NamedTuple):
    """One recorded operation."""

    number: int
    caller: Mapping[str, int]
    asked: request.Request
    key: str
    answer: Any
    encoded: Any


class Report(NamedTuple):
    """What a replay has shown."""

    operations: int
    same: int
    changed: list[str]
    """Operations that were answered otherwise than when they were recorded."""
    spared: int
    """Operations that did not reach the layer below."""
    added: Counter[str]
    """Operations of the translator's own."""
    seconds: float
    stats: dict[str, Any]


class _Recorded(Translator):
    """Answers as it was recorded."""

    answers: defaultdict[str, deque[Any]]
    added: Counter[str]
    reached: int = 0

    def _answer(self, asked: request.Request) -> Any:
        waiting = self.answers.get(_key(asked))
        if not waiting:
            self.added[type(asked).__name__] += 1
            return Failure(EIO)
        type(self).reached += 1
        return waiting.popleft()


def _key(asked: request.Request) -> str:
    return json.dumps(Encoder().message(asked), sort_keys=True)


def _handler(fop: str) -> Any:
    kind = getattr(request, "".join(word.capitalize() for word in fop.split("_")))

    def handle(self: _Recorded, ctx: Context, *arguments: Any) -> Any:
        return self._answer(kind(*arguments))

    return handle


for _fop in ARGUMENTS:
    setattr(_Recorded, _fop, _handler(_fop))


def read(path: Path) -> list[Line]:
    """The operations of a recording; ValueError with the line that is none."""
    lines, decoder = [], Decoder()
    with path.open(encoding="utf-8") as file:
        for number, text in enumerate(file, 1):
            try:
                line = json.loads(text)
                asked, answer = decoder.request(line["request"]), decoder.answer(line["answer"])
                lines.append(Line(number, line["caller"], asked, _key(asked), answer, line["answer"]))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ValueError(f"{path}, line {number}: {error}") from error
    return lines


def replay(
    module: str, path: Path, *, class_name: str | None = None, search_path: str = "", options: Mapping[str, str] = {}
) -> Report:
    """Plays a recording."""
    lines = read(path)
    below = type("Recorded", (_Recorded,), {"answers": defaultdict(deque), "added": Counter(), "reached": 0})
    for line in lines:
        below.answers[line.key].append(line.answer)
    layer_options = {"search-path": search_path} if search_path else {}
    if class_name:
        layer_options["class-name"] = class_name
    same, changed, encode = 0, [], Encoder()
    began = time.perf_counter()
    with Stack(module, options=options, layer_options=layer_options, below=[below_layer(below)]) as stack:
        for line in lines:
            caller = {name: int(line.caller[name]) for name in ("uid", "gid", "client")}
            (answer,) = stack.gather([line.asked], **caller)
            if encode.message(answer) == line.encoded:
                same += 1
            else:
                changed.append(f"line {line.number}: {line.asked!r}\n    was {line.answer!r}\n    is  {answer!r}")
        stats = stack.stats()
    took = time.perf_counter() - began
    return Report(len(lines), same, changed, len(lines) - below.reached, below.added, took, stats)


def below_layer(cls: type[Translator]) -> tuple[str, dict[str, str]]:
    """A layer of a Python class, for :class:`Stack`."""
    from .testing import _module_of

    return "features/glupy", _module_of(cls)


def main(module: str, path: str, class_name: str | None, search_path: str, options: Mapping[str, str]) -> int:
    """For the command line: plays, reports, and answers the exit status."""
    try:
        report = replay(module, Path(path), class_name=class_name, search_path=search_path, options=options)
    except (OSError, ValueError) as error:
        print(f"kiln: {error}")
        return 1
    for text in report.changed[:20]:
        print(text)
    if len(report.changed) > 20:
        print(f"… and {len(report.changed) - 20} more")
    print(
        f"{report.operations} operations in {report.seconds:.3f} s: {report.same} answered as recorded, "
        f"{len(report.changed)} otherwise, {report.spared} not passed on"
    )
    for name, times in sorted(report.added.items()):
        print(f"{times} × {name} of the translator's own")
    for name, value in sorted(report.stats["counters"].items()):
        print(f"counter {name}: {value}")
    for fault, times in report.stats["faults"].items():
        print(f"fault, {times} times: {fault}")
    return 2 if report.stats["faults"] else 0


_ = _native
