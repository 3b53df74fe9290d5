"""Which halves of which fops a class handles, and whether they fit."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from ._names import suggestion
from ._native import FOPS
from .errors import LoadError
from .translator import Translator

ARGUMENTS: Final[dict[str, tuple[str, ...]]] = {row[0]: (*(name for name, _ in row[2]), "xdata") for row in FOPS}
"""The arguments of each fop after the context."""

_SUFFIXES: Final = ("_reply_batch", "_batch", "_reply")
_HALVES: Final = {"": "fop", "_reply": "reply", "_batch": "batch", "_reply_batch": "reply_batch"}


class Handler(NamedTuple):
    """The halves of one fop that a translator defines."""

    fop: Callable[..., Any] | None = None
    reply: Callable[..., Any] | None = None
    batch: Callable[..., Any] | None = None
    reply_batch: Callable[..., Any] | None = None
    generator: bool = False


def find_handlers(instance: Translator) -> dict[str, Handler]:
    """All handlers of a translator; LoadError for a name, a signature or a combination that cannot work."""
    cls = type(instance)
    halves: dict[str, dict[str, Callable[..., Any]]] = {}
    for name in dir(cls):
        if name.startswith("_") or hasattr(Translator, name):
            continue
        fop, suffix = split(name)
        if fop not in ARGUMENTS:
            _refuse_misspelt(cls, name, suffix)
            continue
        method = getattr(instance, name)
        if not callable(method):
            raise LoadError(f"`{cls.__name__}.{name}` is the name of a fop's handler, but it is not callable")
        _check_signature(cls, name, fop, suffix, method)
        halves.setdefault(fop, {})[_HALVES[suffix]] = method
    return {fop: _combine(cls, fop, methods) for fop, methods in halves.items()}


def split(name: str) -> tuple[str, str]:
    """The fop and the suffix of a method's name: ``lookup_reply`` is ``("lookup", "_reply")``."""
    for suffix in _SUFFIXES:
        if name.endswith(suffix):
            return name[: -len(suffix)], suffix
    return name, ""


def _refuse_misspelt(cls: type, name: str, suffix: str) -> None:
    method = inspect.getattr_static(cls, name)
    if not inspect.isfunction(method):
        return
    parameters = list(inspect.signature(method).parameters)
    if not suffix and parameters[1:2] != ["ctx"]:
        return
    known = [fop + half for fop in ARGUMENTS for half in _HALVES]
    hint = suggestion(name, known) or "; start the names of your own methods with `_`"
    raise LoadError(f"`{cls.__name__}.{name}`: unknown fop `{name.removesuffix(suffix)}`{hint}")


def _check_signature(cls: type, name: str, fop: str, suffix: str, method: Callable[..., Any]) -> None:
    if inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method):
        raise LoadError(f"`{cls.__name__}.{name}` is a coroutine: write a generator that yields requests instead")
    wanted = {
        "": ("ctx", *ARGUMENTS[fop]),
        "_reply": ("ctx", "reply"),
        "_batch": ("requests",),
        "_reply_batch": ("requests", "replies"),
    }[suffix]
    try:
        signature = inspect.signature(method)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*wanted)
    except TypeError as error:
        raise LoadError(f"`{cls.__name__}.{name}{signature}` must take (self, {', '.join(wanted)}): {error}") from None


def _combine(cls: type, fop: str, methods: dict[str, Callable[..., Any]]) -> Handler:
    where = f"`{cls.__name__}`"
    if "fop" in methods and "batch" in methods:
        raise LoadError(f"{where} defines both `{fop}` and `{fop}_batch`: keep one")
    if "reply" in methods and "reply_batch" in methods:
        raise LoadError(f"{where} defines both `{fop}_reply` and `{fop}_reply_batch`: keep one")
    for half, method in methods.items():
        if half != "fop" and inspect.isgeneratorfunction(method):
            raise LoadError(f"{where}: only `{fop}` itself can be a generator, not its `{half}` half")
    generator = inspect.isgeneratorfunction(methods.get("fop"))
    if generator and ("reply" in methods or "reply_batch" in methods):
        raise LoadError(f"{where}: `{fop}` is a generator and sees its own replies: it can have no reply half")
    return Handler(generator=generator, **methods)
