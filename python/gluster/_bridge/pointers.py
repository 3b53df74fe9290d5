"""Pointers that stand for Kiln's values.

A value lives as long as any pointer to it that the translator keeps: ctypes keeps the structure behind each pointer,
and the structure keeps the value. `_holders` finds the value again from the address alone.
"""

from __future__ import annotations

from ctypes import POINTER, Structure, addressof, pointer
from typing import Any, Final
from weakref import WeakValueDictionary

_holders: Final[WeakValueDictionary[int, Structure]] = WeakValueDictionary()


def hold(structure: Structure, value: object) -> Any:
    """A pointer to `structure`, which from now on stands for `value`."""
    structure._kiln = value
    _holders[addressof(structure)] = structure
    return pointer(structure)


def holder(target: Any) -> Any:
    """The structure behind a pointer (not NULL), as it was made; None for memory that the translator made itself."""
    contents = target.contents
    found = _holders.get(addressof(contents))
    return found if isinstance(found, type(contents)) else None


def held(target: Any) -> object | None:
    """The value that a pointer (not NULL) stands for; None for memory that the translator made itself."""
    found = holder(target)
    return None if found is None else found._kiln


def checked(value: object, structure: type[Structure], what: str) -> Any:
    """A pointer that a translator hands over: None for NULL, TypeError for anything but a pointer to `structure`."""
    kind = POINTER(structure)
    if isinstance(value, kind):
        return value if value else None
    if value is None:
        return None
    if isinstance(value, structure):
        return pointer(value)
    referred = getattr(value, "_obj", None)
    if isinstance(referred, structure):
        return pointer(referred)
    raise TypeError(f"{what} must be {structure.__name__.removeprefix('article_')}*, not {type(value).__name__}")
