"""Every kind of argument: how it becomes a C value, and how it comes back.

A *giver* takes Kiln's value and returns what the handler sees. A *taker* takes what the handler hands on, checks its
type at once, and returns Kiln's value.
"""

from __future__ import annotations

from collections.abc import Callable
from ctypes import POINTER, Structure, c_char_p
from typing import Any, Final

from kiln import Dict, StatFs

from .attributes import from_dev, iatt_pointer, take_iatt, to_dev
from .places import fd_pointer, loc_pointer, take_fd, take_loc
from .pointers import checked, held, hold
from .structures import article_loc_t, dict_t, gf_dirent_t, inode_t, iobref_t, iovec_t, loc_t, statvfs_t

Giver = Callable[[Any], Any]
Taker = Callable[[object, str], Any]

_RANGES: Final = {
    "int": (-(1 << 31), (1 << 31) - 1),
    "i32": (-(1 << 31), (1 << 31) - 1),
    "uint": (0, (1 << 32) - 1),
    "u32": (0, (1 << 32) - 1),
    "size": (0, (1 << 64) - 1),
    "long": (-(1 << 63), (1 << 63) - 1),
    "dev": (0, (1 << 64) - 1),
}


def take_int(kind: str, value: object, what: str) -> int:
    """An integer within the range of its C type, a ctypes integer included."""
    number = getattr(value, "value", value) if not isinstance(value, int) else value
    if not isinstance(number, int):
        raise TypeError(f"{what} must be {kind}, not {type(value).__name__}")
    low, high = _RANGES[kind]
    if not low <= number <= high:
        raise TypeError(f"{what}: {number} does not fit into {kind}")
    return int(number)


def _wrap(kind: str) -> tuple[Giver, Taker]:
    """Kiln's unsigned numbers within C's signed ones and back."""
    bits = 64 if kind == "long" else 32
    low, high = _RANGES[kind]

    def give(value: Any) -> Any:
        number = int(value) & ((1 << bits) - 1)
        return number - (1 << bits) if low < 0 and number > high else number

    def take(value: object, what: str) -> Any:
        return take_int(kind, value, what) & ((1 << bits) - 1)

    return give, take


def take_str(value: object, what: str) -> bytes | None:
    """Bytes without NUL; None for NULL."""
    text = value.value if isinstance(value, c_char_p) else value
    if text is not None and not isinstance(text, bytes):
        raise TypeError(f"{what} must be bytes, not {type(value).__name__}")
    if text is not None and b"\0" in text:
        raise TypeError(f"{what} has a NUL in it")
    return text


def _opaque(structure: type[Structure], kinds: type, empty: Callable[[], object]) -> tuple[Giver, Taker]:
    def give(value: Any) -> Any:
        return hold(structure(), value)

    def take(value: object, what: str) -> Any:
        target = checked(value, structure, what)
        if target is None:
            return empty()
        behind = held(target)
        if behind is None or not isinstance(behind, kinds):
            raise TypeError(f"{what} is not a {structure.__name__} that the brick made")
        return behind

    return give, take


def _give_xdata(value: Dict) -> Any:
    return hold(dict_t(), value) if value else POINTER(dict_t)()


def _give_nothing(value: Any) -> Any:
    return hold(iobref_t(), value)


def _take_iobref(value: object, what: str) -> None:
    checked(value, iobref_t, what)


def _take_inode(value: object, what: str) -> None:
    checked(value, inode_t, what)


def converters(place: type[loc_t] | type[article_loc_t]) -> dict[str, tuple[Giver, Taker]]:
    """Giver and taker of each kind, for one era's ``loc_t``."""
    _, take_dict = _opaque(dict_t, Dict, Dict)
    return {
        "loc": (lambda value: loc_pointer(value, place), lambda value, what: take_loc(value, place, what)),
        "fd": (fd_pointer, take_fd),
        "dict": (_give_xdata, take_dict),
        "iatt": (iatt_pointer, take_iatt),
        "inode": (_give_nothing, _take_inode),
        "iobref": (_give_nothing, _take_iobref),
        "iovec": _opaque(iovec_t, object, bytes),
        "entries": _opaque(gf_dirent_t, tuple, tuple),
        "statvfs": _opaque(statvfs_t, StatFs, lambda: None),
        "str": (lambda value: value, take_str),
        "size": (int, lambda value, what: take_int("size", value, what)),
        "dev": (to_dev, lambda value, what: from_dev(take_int("dev", value, what))),
        **{kind: _wrap(kind) for kind in ("int", "i32", "uint", "u32", "long")},
    }
