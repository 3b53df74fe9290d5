"""Logs every request and its answer, or those of the fops that `option.fops` names."""

from collections.abc import Callable, Mapping
from typing import Any

from kiln import FOPS, Context, Failure, Option, Options, Translator


class Trace(Translator):
    options = Options(
        Option("fops", str, default="all", description="Fops to log, separated by commas", reconfigurable=True),
        Option("replies", bool, default=True, description="Whether to log answers, too", reconfigurable=True),
    )

    def init(self) -> None:
        self._configure(self.options)

    def reconfigure(self, options: Mapping[str, Any]) -> None:
        self._configure(options)

    def _configure(self, options: Mapping[str, Any]) -> None:
        known = {row[0] for row in FOPS}
        wanted = options["fops"]
        chosen = known if wanted == "all" else {fop.strip() for fop in wanted.split(",") if fop.strip()}
        if chosen - known:
            raise ValueError(f"there are no such fops: {', '.join(sorted(chosen - known))}")
        self._chosen, self._replies = chosen, options["replies"]

    def _request(self, fop: str, names: list[str], ctx: Context, arguments: tuple[object, ...]) -> None:
        if fop in self._chosen:
            shown = ", ".join(f"{name}={_short(value)}" for name, value in zip(names, arguments, strict=True))
            self.log.info("%d: %s(%s) of uid %d", ctx.unique, fop, shown, ctx.caller.uid)

    def _reply(self, fop: str, ctx: Context, answer: object) -> None:
        if fop in self._chosen and self._replies:
            if isinstance(answer, Failure):
                self.log.info("%d: %s failed: errno %d", ctx.unique, fop, answer.errno)
            else:
                self.log.info("%d: %s: %s", ctx.unique, fop, _short(answer))


def _short(value: object) -> str:
    if isinstance(value, memoryview):
        return f"<{value.nbytes} bytes>"
    text = repr(value)
    return text if len(text) <= 300 else text[:300] + "…"


def _handlers(fop: str, names: list[str]) -> tuple[Callable[..., None], Callable[..., None]]:
    def request(self: Trace, ctx: Context, *arguments: Any) -> None:
        self._request(fop, names, ctx, arguments)

    def reply(self: Trace, ctx: Context, answer: Any) -> None:
        self._reply(fop, ctx, answer)

    return request, reply


for _row in FOPS:
    _names = [*(name for name, _ in _row[2]), "xdata"]
    for _suffix, _handler in zip(("", "_reply"), _handlers(_row[0], _names), strict=True):
        setattr(Trace, _row[0] + _suffix, _handler)
