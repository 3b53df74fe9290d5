"""Strategies for hypothesis: sequences of operations on a small tree, and a check that two stacks behave alike.

::

    @given(operations())
    def test_it_changes_nothing(sequence: list[Operation]) -> None:
        with Stack() as bare, Stack(MyTranslator) as stack:
            assert_alike(bare, stack, sequence)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hypothesis import strategies as st

from ..errors import FopError
from . import Stack

__all__ = ["KINDS", "Operation", "assert_alike", "operations", "play"]

_FARTHEST: Final = 10_000


@dataclass(frozen=True)
class Operation:
    """One operation by path; `other` is the second path of those that have two."""

    kind: str
    path: str
    other: str = ""
    data: bytes = b""
    """What is written; for `truncate`, its length counts, too."""
    offset: int = 0
    """Where it is written, or read from."""


KINDS: Final = (
    "exists", "create", "mkdir", "symlink", "unlink", "rmdir", "rename", "link", "listdir", "attributes",
    "write", "read", "read_file", "truncate",
)  # fmt: skip
"""What :class:`Operation` knows."""


def operations(
    directories: tuple[str, ...] = ("/", "/d/"),
    names: tuple[str, ...] = ("a", "b", "d"),
    most: int = 20,
    kinds: Sequence[str] = KINDS,
) -> st.SearchStrategy[list[Operation]]:
    """Sequences of operations on few names, so that they meet."""
    path = st.builds(lambda directory, name: directory + name, st.sampled_from(directories), st.sampled_from(names))
    data, offset = st.binary(max_size=40), st.one_of(st.integers(0, 64), st.integers(0, _FARTHEST))
    return st.lists(st.builds(Operation, st.sampled_from(kinds), path, path, data, offset), max_size=most)


def play(stack: Stack, operation: Operation) -> object:
    """Performs one: what it answered, or the number of its error. Equal on two stacks that behave alike."""
    try:
        return _play(stack, operation)
    except FopError as error:
        return ("failed", error.errno)


def _play(stack: Stack, operation: Operation) -> object:
    path, other = operation.path, operation.other
    match operation.kind:
        case "create":
            stack.release(stack.create(path))
        case "rename" | "link":
            getattr(stack, operation.kind)(path, other)
        case "symlink":
            stack.symlink(other, path)
        case "write" | "read":
            fd = stack.open(path)
            try:
                if operation.kind == "read":
                    return stack.read(fd, 1 + len(operation.data), operation.offset)
                return stack.write(fd, operation.data, operation.offset)
            finally:
                stack.release(fd)
        case "truncate":
            stack.truncate(path, operation.offset + len(operation.data))
        case "attributes":
            found = stack.lookup(path)
            return (found.type, found.prot, found.nlink, found.size, found.gfid)
        case kind:
            answer: object = getattr(stack, kind)(path)
            return answer
    return None


def assert_alike(one: Stack, other: Stack, sequence: Sequence[Operation]) -> None:
    """Performs the operations on both, and fails where their answers differ."""
    for number, operation in enumerate(sequence):
        expected, found = play(one, operation), play(other, operation)
        assert found == expected, f"operation {number}, {operation}: {found!r} instead of {expected!r}"
