"""Strategies for hypothesis: sequences of operations on a small tree."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from ..errors import FopError
from . import Stack

__all__ = ["Operation", "operations", "play"]


@dataclass(frozen=True)
class Operation:
    """One operation by path; `other` is the second path of those that have two."""

    kind: str
    path: str
    other: str = ""


KINDS = ("exists", "create", "mkdir", "unlink", "rmdir", "rename", "link", "listdir")


def operations(
    directories: tuple[str, ...] = ("/", "/d/"), names: tuple[str, ...] = ("a", "b", "d"), most: int = 20
) -> st.SearchStrategy[list[Operation]]:
    """Sequences of operations on few names, so that they meet."""
    path = st.builds(lambda directory, name: directory + name, st.sampled_from(directories), st.sampled_from(names))
    return st.lists(st.builds(Operation, st.sampled_from(KINDS), path, path), max_size=most)


def play(stack: Stack, operation: Operation) -> object:
    """Performs one: what it answered, or the number of its error. Equal on two stacks that behave alike."""
    try:
        match operation.kind:
            case "exists":
                return stack.exists(operation.path)
            case "create":
                stack.release(stack.create(operation.path))
            case "rename" | "link":
                getattr(stack, operation.kind)(operation.path, operation.other)
            case kind:
                answer: object = getattr(stack, kind)(operation.path)
                return answer
    except FopError as error:
        return error.errno
    return None
