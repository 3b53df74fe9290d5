"""A translator that writes down what passes, for ``kiln python run MODULE --replay FILE``.

::

    volume record
        type features/glupy
        option module-name kiln.record
        option option.file /var/tmp/trace.jsonl
        subvolumes posix
    end-volume

Each line of the file is one operation: when it came (seconds since the start), who asked, the request, and the answer.
File data is written down, too: do not record what must stay secret.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, TextIO

from ._codec import Encoder
from ._handlers import ARGUMENTS
from ._native import Context, request
from .options import Option, Options
from .translator import Translator


class Record(Translator):
    """Records every fop."""

    options = Options(Option("file", str, description="Where the operations are written; an old file is replaced."))

    def init(self) -> None:
        """Opens the file."""
        self._file: TextIO = open(self.options["file"], "w", encoding="utf-8", buffering=1 << 16)
        self._encode = Encoder()
        self._began = time.monotonic()

    def _begin(self, ctx: Context, asked: request.Request) -> None:
        # Encoded now: data may be gone when the reply comes.
        ctx.local = (time.monotonic() - self._began, self._encode.message(asked))

    def _end(self, ctx: Context, answer: Any) -> None:
        at, asked = ctx.local
        caller = {"uid": ctx.caller.uid, "gid": ctx.caller.gid, "client": ctx.caller.client}
        line = {"at": round(at, 6), "caller": caller, "request": asked, "answer": self._encode.message(answer)}
        self._file.write(json.dumps(line, separators=(",", ":")) + "\n")
        self.counter("recorded").add()

    def statedump(self) -> dict[str, object]:
        """Writes out what waits in memory, too."""
        self._file.flush()
        return {"file": self._file.name}

    def fini(self) -> None:
        """Closes the file."""
        self._file.close()


def _halves(fop: str) -> tuple[Callable[..., None], Callable[..., None]]:
    kind = getattr(request, "".join(word.capitalize() for word in fop.split("_")))

    def begin(self: Record, ctx: Context, *arguments: Any) -> None:
        self._begin(ctx, kind(*arguments))

    def end(self: Record, ctx: Context, reply: Any) -> None:
        self._end(ctx, reply)

    return begin, end


for _fop in ARGUMENTS:
    for _name, _half in zip((_fop, _fop + "_reply"), _halves(_fop), strict=True):
        setattr(Record, _name, _half)
