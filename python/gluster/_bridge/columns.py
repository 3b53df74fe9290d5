"""Between a request or reply of Kiln and the arguments of glupy's handlers."""

from __future__ import annotations

import errno
from functools import lru_cache
from typing import Any, Final

from kiln import Dict, Failure, Iatt

from .frames import Frame
from .operations import OPERATIONS, Column, Operation
from .places import inode_pointer
from .values import Giver, Taker

Converters = dict[str, tuple[Giver, Taker]]

_NULL_ON_FAILURE: Final = {"count": 0}


@lru_cache(maxsize=None)
def _labels(name: str, half: str) -> tuple[str, ...]:
    """How errors call the arguments of a half's wind or unwind."""
    call, first = (f"dl.wind_{name}", 3) if half == "fop" else (f"dl.unwind_{name}", 6)
    columns = OPERATIONS[name].columns(half)
    return tuple(f"{call}: argument {position} ({column.name})" for position, column in enumerate(columns, first))


def give_request(operation: Operation, arguments: tuple[Any, ...], kinds: Converters) -> list[Any]:
    """What ``X_fop`` gets after frame and this."""
    by_name = dict(zip(operation.arguments, arguments, strict=True))
    given: list[Any] = []
    for name, kind, source in operation.fop:
        if source is not None:
            given.append(kinds[kind][0](by_name[source]))
        else:
            given.append(1 if name == "count" else kinds[kind][0](None))
    return given


def take_request(
    operation: Operation, values: tuple[Any, ...], before: tuple[Any, ...], kinds: Converters, call: str
) -> Any:
    """What ``wind_X`` was given, as a request of Kiln; None when nothing is changed."""
    by_name = dict(zip(operation.arguments, before, strict=True))
    changed = False
    for (name, kind, source), what, value in zip(operation.fop, _labels(operation.name, "fop"), values, strict=True):
        taken = kinds[kind][1](value, what)
        if name == "count":
            _check_count(taken, call)
        if source is None:
            continue
        if taken is None and name != "name":
            raise TypeError(f"{what} must not be NULL")
        old = by_name[source]
        if taken is not old and (kind == "iovec" or taken != old):
            by_name[source] = taken
            changed = True
    return operation.request(**by_name) if changed else None


def _check_count(count: int, call: str) -> None:
    if count not in (0, 1):
        raise TypeError(f"{call}: the vector has one element, not {count}")


def give_reply(
    operation: Operation, reply: Any, fd: Any, kinds: Converters, values: dict[str, Any]
) -> tuple[int, int, list[Any]]:
    """What ``X_cbk`` gets: op_ret, op_errno and the rest.

    `fd` is the request's; `values` gets the parts of the reply that the pointers stand for.
    """
    if isinstance(reply, Failure):
        return -1, reply.errno, [_give_failed(column, reply, kinds) for column in operation.cbk]
    given: list[Any] = []
    for name, kind, source in operation.cbk:
        if source is not None:
            values[source] = value = getattr(reply, source)
            given.append(kinds[kind][0](value))
        elif name == "count":
            given.append(1)
        elif name == "inode":
            given.append(inode_pointer(reply.iatt.gfid, reply.iatt.type))
        elif name == "fd":
            given.append(None if fd is None else kinds["fd"][0](fd))
        else:
            given.append(kinds[kind][0](None))
    return _result(operation.name, reply), _notice(reply), given


def _give_failed(column: Column, failure: Failure, kinds: Converters) -> Any:
    if column.name == "xdata" and failure.xdata is not None:
        return kinds["dict"][0](failure.xdata)
    if column.name == "postparent" and failure.postparent is not None:
        return kinds["iatt"][0](failure.postparent)
    return _NULL_ON_FAILURE.get(column.name)


def _result(name: str, reply: Any) -> int:
    if name == "readv":
        return len(reply.data)
    if name in ("readdir", "readdirp"):
        return len(reply.entries)
    if name == "writev":
        return int(reply.count)
    return len(reply.target) if name == "readlink" else 0


def _notice(reply: Any) -> int:
    """The end of a file or directory is told as ENOENT beside a success."""
    return errno.ENOENT if getattr(reply, "eof", False) else 0


def take_reply(
    operation: Operation,
    op_ret: int,
    op_errno: int,
    values: tuple[Any, ...],
    frame: Frame,
    kinds: Converters,
    call: str,
) -> Any:
    """What ``unwind_X`` was given, as a reply of Kiln: the child's own when nothing is changed."""
    taken: dict[str, Any] = {}
    for (name, kind, source), what, value in zip(operation.cbk, _labels(operation.name, "cbk"), values, strict=True):
        converted = kinds[kind][1](value, what)
        if name == "count":
            _check_count(converted, call)
        if source is not None:
            taken[source] = converted
    if op_ret < 0:
        return _take_failure(op_errno, taken, frame.reply, call)
    for name, _, source in operation.cbk:
        if source is not None and taken[source] is None:
            if name in ("buf", "stbuf", "path"):
                raise TypeError(f"{call}: {name} must not be NULL when the operation succeeds")
            taken[source] = Iatt()
    _take_result(operation.name, op_ret, op_errno, taken, call)
    if isinstance(frame.reply, operation.reply) and _unchanged(taken, frame):
        return frame.reply
    return operation.reply(**taken)


def _unchanged(taken: dict[str, Any], frame: Frame) -> bool:
    for source, new in taken.items():
        old = frame.values[source] if source in frame.values else getattr(frame.reply, source)
        same = new is old or (isinstance(new, (int, bytes, Iatt, Dict)) and new == old)
        if not same:
            return False
    return True


def _take_failure(op_errno: int, taken: dict[str, Any], before: Any, call: str) -> Any:
    if op_errno <= 0:
        raise TypeError(f"{call}: a failure (op_ret below 0) needs a positive op_errno, not {op_errno}")
    postparent = taken.get("postparent")
    if isinstance(before, Failure) and before.errno == op_errno:
        same = postparent is before.postparent or postparent == before.postparent
        if same and (taken["xdata"] or {}) == (before.xdata or {}):
            return before
    return Failure(op_errno, taken["xdata"] or None, postparent)


def _take_result(name: str, op_ret: int, op_errno: int, taken: dict[str, Any], call: str) -> None:
    if name == "writev":
        taken["count"] = op_ret
    if name in ("readv", "readdir", "readdirp"):
        taken["eof"] = op_errno == errno.ENOENT
    if name == "readv" and op_ret != len(taken["data"]):
        if op_ret > len(taken["data"]):
            raise TypeError(f"{call}: op_ret is {op_ret}, but the vector has {len(taken['data'])} bytes")
        taken["data"] = memoryview(taken["data"])[:op_ret]
