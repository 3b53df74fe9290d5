"""Lets each client do `option.rate` operations a second; what comes faster waits.

A client may save up `option.burst` operations while it is idle. A request that would wait longer than `option.longest`
ends with EBUSY. Requests that wait are finished by a thread, so they hold nobody else up; the layer's `time-limit` must
be longer than `option.longest`.
"""

import errno
import heapq
import itertools
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from kiln import LATER, PASS, Context, Failure, Option, Options, Translator

LIMITED = ("lookup", "open", "opendir", "readdirp", "create", "mknod", "mkdir", "unlink", "rename", "readv", "writev")
CLIENTS = 10_000
NOT_WORTH_IT = 0.001
"""Seconds of waiting that are not worth the trouble; they count all the same."""


class RateLimiter(Translator):
    options = Options(
        Option("rate", float, default=1000.0, minimum=0.001, description="Operations a second", reconfigurable=True),
        Option("burst", int, default=100, minimum=1, description="Operations saved up", reconfigurable=True),
        Option("longest", "time", default="500ms", description="Longest wait", reconfigurable=True),
    )

    def init(self) -> None:
        self._configure(self.options)
        # When each client's next operation is due if it never pauses, oldest use first.
        self._due: OrderedDict[int, float] = OrderedDict()
        self._waiting: list[tuple[float, int, Context]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._release, name=f"rate limiter {self.name}", daemon=True)
        self._thread.start()

    def reconfigure(self, options: Mapping[str, Any]) -> None:
        self._configure(options)

    def _configure(self, options: Mapping[str, Any]) -> None:
        self._interval: float = 1 / options["rate"]
        self._credit: float = options["burst"] * self._interval
        self._longest: float = options["longest"]

    def delay(self, client: int, now: float) -> float | None:
        """How long the client's next operation has to wait; None when that is too long, and it does not count."""
        due = max(self._due.get(client, 0.0), now - self._credit + self._interval)
        wait = max(0.0, due - now)
        if wait > self._longest:
            return None
        self._due[client] = due + self._interval
        self._due.move_to_end(client)
        if len(self._due) > CLIENTS:
            self._due.popitem(last=False)
        return wait

    def _limit(self, ctx: Context) -> Any:
        now = time.monotonic()
        wait = self.delay(ctx.caller.client, now)
        if wait is None:
            self.counter("refused").add()
            return Failure(errno.EBUSY)
        if wait < NOT_WORTH_IT:
            return PASS
        self.counter("delayed").add()
        with self._changed:
            heapq.heappush(self._waiting, (now + wait, next(self._order), ctx))
            self._changed.notify()
        return LATER

    def _release(self) -> None:
        with self._changed:
            while not self._stopping:
                now = time.monotonic()
                while self._waiting and self._waiting[0][0] <= now:
                    self._finish(heapq.heappop(self._waiting)[2])
                self._changed.wait(self._waiting[0][0] - now if self._waiting else None)
            while self._waiting:
                self._finish(heapq.heappop(self._waiting)[2])

    def _finish(self, ctx: Context) -> None:
        try:
            ctx.finish(PASS)
        except RuntimeError:
            self.log.debug("request %d was given up before its turn", ctx.unique)

    def fini(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    def statedump(self) -> Mapping[str, object]:
        return {"clients": len(self._due), "waiting": len(self._waiting)}


def _handler(self: RateLimiter, ctx: Context, *arguments: Any) -> Any:
    return self._limit(ctx)


for _fop in LIMITED:
    setattr(RateLimiter, _fop, _handler)
