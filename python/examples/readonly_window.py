"""Keeps the volume from changes during a part of each day, such as while a backup runs.

    option option.from 22:00
    option option.until 06:00

Within the window every fop that changes something ends with EROFS, also on files that were opened for writing before.
What the volume does for itself (self-heal, rebalance) goes on, unless `option.internal` is off.
"""

import errno
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from kiln import FOPS, Context, Dict, Failure, Fd, Loc, Option, Options, Translator

WRITING = os.O_WRONLY | os.O_RDWR | os.O_TRUNC | os.O_APPEND
REFUSED = Failure(errno.EROFS)


def minutes(text: str) -> int:
    """Minutes since midnight of ``HH:MM``."""
    hours, _, rest = text.partition(":")
    if not (hours.isdecimal() and rest.isdecimal() and int(hours) < 24 and int(rest) < 60):
        raise ValueError(f"{text!r} is not a time of day such as 22:00")
    return int(hours) * 60 + int(rest)


class ReadonlyWindow(Translator):
    options = Options(
        Option("from", str, default="00:00", description="First minute of the window (HH:MM)", reconfigurable=True),
        Option("until", str, default="00:00", description="First minute after it (HH:MM)", reconfigurable=True),
        Option("zone", str, default="local", choices=("local", "utc"), description="Whose clock", reconfigurable=True),
        Option("internal", bool, default=True, description="Let the volume's own changes through", reconfigurable=True),
    )

    clock: Callable[[], float] = staticmethod(time.time)

    def init(self) -> None:
        self.reconfigure(self.options)

    def reconfigure(self, options: Mapping[str, Any]) -> None:
        window = minutes(options["from"]), minutes(options["until"])
        self._from, self._until = window
        self._zone = time.gmtime if options["zone"] == "utc" else time.localtime
        self._internal = options["internal"]

    def is_closed(self) -> bool:
        """Whether it is within the window. An empty window is never, one past midnight has two parts."""
        now = self._zone(self.clock())
        minute = now.tm_hour * 60 + now.tm_min
        if self._from <= self._until:
            return self._from <= minute < self._until
        return minute >= self._from or minute < self._until

    def _judge(self, ctx: Context) -> Failure | None:
        if not self.is_closed() or (self._internal and ctx.caller.is_internal):
            return None
        self.counter("refused").add()
        return REFUSED

    def open(self, ctx: Context, loc: Loc, flags: int, fd: Fd, xdata: Dict) -> Failure | None:
        return self._judge(ctx) if flags & WRITING else None

    def statedump(self) -> Mapping[str, object]:
        return {"closed": self.is_closed()}


def _refuse(self: ReadonlyWindow, ctx: Context, *arguments: Any) -> Failure | None:
    return self._judge(ctx)


for _row in FOPS:
    if _row[5] == "Change":
        setattr(ReadonlyWindow, _row[0], _refuse)
