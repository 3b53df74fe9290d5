"""Between kiln.Iatt and ``iatt_t``."""

from __future__ import annotations

import os
import struct
from ctypes import addressof, sizeof, string_at
from typing import Any, Final

from kiln import Iatt

from .pointers import checked, held, hold
from .structures import iatt_t

_LAYOUT: Final = struct.Struct("@Q16sQI4sIIIQQIQIIIIII")
assert _LAYOUT.size <= sizeof(iatt_t)
_PAD: Final = bytes(sizeof(iatt_t) - _LAYOUT.size)
_REVERSED: Final = bytes(int(f"{bits:03b}"[::-1], 2) for bits in range(8))
_SECOND: Final = 1_000_000_000
_U32: Final = 0xFFFF_FFFF


def to_dev(rdev: int) -> int:
    """A device number as C has it."""
    return os.makedev(rdev >> 32, rdev & _U32) if rdev else 0


def from_dev(dev: int) -> int:
    """A device number as Kiln has it: ``major << 32 | minor``."""
    return os.major(dev) << 32 | os.minor(dev)


def ino(gfid: bytes) -> int:
    """The inode number that clients derive from a gfid."""
    return int.from_bytes(gfid[8:], "big")


def _pack(iatt: Iatt) -> bytes:
    prot = iatt.prot
    permissions = bytes(
        (
            _REVERSED[prot >> 9 & 7],
            _REVERSED[prot >> 6 & 7],
            _REVERSED[prot >> 3 & 7],
            _REVERSED[prot & 7],
        )
    )
    times = [part for time in (iatt.atime, iatt.mtime, iatt.ctime) for part in divmod(time, _SECOND)]
    return _LAYOUT.pack(
        ino(iatt.gfid),
        iatt.gfid,
        iatt.dev,
        iatt.type,
        permissions,
        iatt.nlink,
        iatt.uid,
        iatt.gid,
        to_dev(iatt.rdev),
        iatt.size,
        iatt.blksize & _U32,
        iatt.blocks,
        *(part & _U32 for part in times),
    )


def iatt_pointer(iatt: Iatt) -> Any:
    """A pointer to the attributes."""
    return hold(iatt_t.from_buffer_copy(_pack(iatt) + _PAD), iatt)


def take_iatt(value: object, what: str) -> Iatt | None:
    """The attributes that a translator hands over. Fields that it left alone keep all that Kiln knows of them."""
    target = checked(value, iatt_t, what)
    if target is None:
        return None
    structure = target.contents
    before = held(target)
    original = before if isinstance(before, Iatt) else Iatt()
    old = _LAYOUT.unpack_from(_pack(original))
    new = _LAYOUT.unpack_from(string_at(addressof(structure), sizeof(iatt_t)))
    if old == new:
        return original
    changes = {name: new[index] for index, name in _PLAIN if old[index] != new[index]}
    if old[4] != new[4]:
        changes["prot"] = sum(_REVERSED[bits & 7] << shift for bits, shift in zip(new[4], (9, 6, 3, 0), strict=True))
    if old[8] != new[8]:
        changes["rdev"] = from_dev(new[8])
    for index, name in _TIMES:
        if old[index : index + 2] != new[index : index + 2]:
            changes[name] = new[index] * _SECOND + new[index + 1]
    return original.replace(**changes) if changes else original


_PLAIN: Final = (
    (1, "gfid"),
    (2, "dev"),
    (3, "type"),
    (5, "nlink"),
    (6, "uid"),
    (7, "gid"),
    (9, "size"),
    (10, "blksize"),
    (11, "blocks"),
)
_TIMES: Final = ((12, "atime"), (14, "mtime"), (16, "ctime"))
