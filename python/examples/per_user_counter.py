"""Counts what each user does: operations by kind, and bytes read and written. `kiln dump` shows the table.

At most `option.users` users are kept; of the others, the sums are kept under `others`.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from kiln import FOPS, Context, Failure, Option, Options, Translator, reply


class PerUserCounter(Translator):
    options = Options(
        Option("users", int, default=1000, minimum=1, description="Users to keep at most", reconfigurable=True),
    )

    def init(self) -> None:
        self._limit = self.options["users"]
        self._users: dict[int, Counter[str]] = {}
        self._others: Counter[str] = Counter()

    def reconfigure(self, options: Mapping[str, Any]) -> None:
        self._limit = options["users"]

    def of_user(self, uid: int) -> Counter[str]:
        """The counts of a user."""
        counts = self._users.get(uid)
        if counts is None:
            if len(self._users) >= self._limit:
                return self._others
            counts = self._users[uid] = Counter()
        return counts

    def readv_reply(self, ctx: Context, reply: reply.Readv | Failure) -> None:
        if not isinstance(reply, Failure):
            self.of_user(ctx.caller.uid)["bytes-read"] += len(reply.data)

    def writev_reply(self, ctx: Context, reply: reply.Writev | Failure) -> None:
        if not isinstance(reply, Failure):
            self.of_user(ctx.caller.uid)["bytes-written"] += reply.count

    def statedump(self) -> Mapping[str, object]:
        table: dict[str, object] = {str(uid): dict(counts) for uid, counts in sorted(self._users.items())}
        return {"users": table, "others": dict(self._others)}


def _count(fop: str) -> Callable[..., None]:
    def handler(self: PerUserCounter, ctx: Context, *arguments: Any) -> None:
        self.of_user(ctx.caller.uid)[fop] += 1

    return handler


for _row in FOPS:
    setattr(PerUserCounter, _row[0], _count(_row[0]))
