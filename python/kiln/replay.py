"""Tries a translator against recorded operations: ``kiln python run MODULE --replay FILE``.

The translator stands over a layer that answers each operation as it was answered when it was recorded. What the
translator answers itself, changes, or does on its own shows in the report.
"""

from __future__ import annotations

import json
import os
import sys
import time
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple

from ._codec import Decoder, Encoder
from ._handlers import ARGUMENTS
from ._native import Context, Failure, request
from .testing import Layer, Stack, python_layer
from .translator import Translator

__all__ = ["RecordingError", "Report", "replay", "run"]

EIO: Final = 5
_SHOWN: Final = 20


class RecordingError(ValueError):
    """The recording cannot be read."""


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

    @property
    def faults(self) -> int:
        """How often a handler raised or answered nonsense."""
        return sum(self.stats["faults"].values())

    def __str__(self) -> str:
        """For people."""
        text = self.changed[:_SHOWN]
        if len(self.changed) > _SHOWN:
            text.append(f"… and {len(self.changed) - _SHOWN} more")
        text.append(
            f"{self.operations} operations in {self.seconds:.3f} s: {self.same} answered as recorded, "
            f"{len(self.changed)} otherwise, {self.spared} not passed on"
        )
        text += [f"{times} × {name} of the translator's own" for name, times in sorted(self.added.items())]
        text += [f"counter {name}: {value}" for name, value in sorted(self.stats["counters"].items())]
        text += [f"fault, {times} times: {fault}" for fault, times in self.stats["faults"].items()]
        return "\n".join(text) + "\n"


class _Recorded(Translator):
    """Answers as it was recorded."""

    answers: ClassVar[Mapping[str, tuple[Sequence[int], Sequence[Any]]]]
    """By request: in which lines it stands, and how it was answered there."""
    added: ClassVar[Counter[str]]
    now: ClassVar[Line]
    """What is being played."""
    reached: ClassVar[set[int]]

    def _answer(self, asked: request.Request) -> Any:
        played, key = type(self), _key(asked)
        if key == played.now.key and played.now.number not in played.reached:
            played.reached.add(played.now.number)
            return played.now.answer
        played.added[type(asked).__name__] += 1
        lines, answers = played.answers.get(key, ((), ()))
        # What was true last, or else first: nobody knows the truth in between.
        return answers[max(bisect_right(lines, played.now.number) - 1, 0)] if answers else Failure(EIO)


def _key(asked: request.Request) -> str:
    return json.dumps(Encoder().message(asked), sort_keys=True)


def _told(encoded: Any) -> Any:
    """What counts: the attributes of the parent that some failures carry are a favour."""
    return encoded["Failure"][:2] if "Failure" in encoded else encoded


def _handler(fop: str) -> Any:
    kind = getattr(request, "".join(word.capitalize() for word in fop.split("_")))

    def handle(self: _Recorded, ctx: Context, *arguments: Any) -> Any:
        return self._answer(kind(*arguments))

    return handle


for _fop in ARGUMENTS:
    setattr(_Recorded, _fop, _handler(_fop))


def read(path: Path) -> list[Line]:
    """The operations of a recording; RecordingError with the line that is none."""
    lines, decoder, number = [], Decoder(), 0
    try:
        with path.open(encoding="utf-8") as file:
            for number, text in enumerate(file, 1):
                line = json.loads(text)
                asked, answer = decoder.request(line["request"]), decoder.answer(line["answer"])
                caller = {name: int(line["caller"][name]) for name in ("uid", "gid", "client")}
                lines.append(Line(number, caller, asked, _key(asked), answer, line["answer"]))
    except OSError as error:
        raise RecordingError(str(error)) from error
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise RecordingError(f"{path}, line {number}: {type(error).__name__}: {error}") from error
    if not lines:
        raise RecordingError(f"{path} holds no operations")
    return lines


def replay(
    module: str, path: Path, *, class_name: str | None = None, search_path: str = "", options: Mapping[str, str] = {}
) -> Report:
    """Plays a recording. `module` is a name, or the path of a file that ends with `.py`."""
    lines = read(path)
    answers: defaultdict[str, tuple[list[int], list[Any]]] = defaultdict(lambda: ([], []))
    for line in lines:
        for known, new in zip(answers[line.key], (line.number, line.answer), strict=True):
            known.append(new)

    class Played(_Recorded):
        """This recording."""

    Played.answers, Played.added, Played.reached = answers, Counter(), set()
    if module.endswith(".py"):
        directory, file = os.path.split(os.path.abspath(module))
        module, search_path = file.removesuffix(".py"), ":".join(filter(None, (directory, search_path)))
    layer_options = {"search-path": search_path, "class-name": class_name or ""}
    given = {name: value for name, value in layer_options.items() if value}
    below: Layer = python_layer(Played)
    same, changed, encode = 0, [], Encoder()
    with Stack(module, options=options, layer_options=given, below=[below]) as stack:
        began = time.perf_counter()
        for line in lines:
            Played.now = line
            (answer,) = stack.gather([line.asked], **line.caller)
            if _told(encode.message(answer)) == _told(line.encoded):
                same += 1
            else:
                changed.append(f"line {line.number}: {line.asked!r}\n    was {line.answer!r}\n    is  {answer!r}")
        took = time.perf_counter() - began
        stats = stack.stats()
    return Report(len(lines), same, changed, len(lines) - len(Played.reached), Played.added, took, stats)


def run(
    module: str, path: Path, *, class_name: str | None, search_path: str, options: Mapping[str, str]
) -> tuple[str, int]:
    """For the command line: the report and the number of faults."""
    try:
        report = replay(module, path, class_name=class_name, search_path=search_path, options=options)
    finally:
        # What the module prints.
        sys.stdout.flush()
        sys.stderr.flush()
    return str(report), report.faults
