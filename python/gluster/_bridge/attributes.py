"""Between kiln.Iatt and ``iatt_t``."""

from __future__ import annotations

import os
import struct
from ctypes import sizeof, string_at
from typing import Any, Final, cast

from kiln import Iatt

from .pointers import checked, hold, holder
from .structures import iatt_t

_LAYOUT: Final = struct.Struct("@Q16sQI4sIIIQQIQIIIIII")
assert _LAYOUT.size <= sizeof(iatt_t)
_PAD: Final = bytes(sizeof(iatt_t) - _LAYOUT.size)
_REVERSED: Final = bytes(int(f"{bits:03b}"[::-1], 2) for bits in range(8))
_PERMISSIONS: Final = [
    bytes(_REVERSED[prot >> shift & 7] for shift in (9, 6, 3, 0)) for prot in range(0o10000)
]
"""The four bytes of an ``ia_prot_t`` by the twelve bits of a mode."""
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
    prot, gfid, rdev = iatt.prot, iatt.gfid, iatt.rdev
    atime, mtime, ctime = iatt.atime, iatt.mtime, iatt.ctime
    return _LAYOUT.pack(
        ino(gfid),
        gfid,
        iatt.dev,
        iatt.type,
        _PERMISSIONS[prot & 0o7777],
        iatt.nlink,
        iatt.uid,
        iatt.gid,
        rdev and to_dev(rdev),
        iatt.size,
        iatt.blksize,
        iatt.blocks,
        atime // _SECOND & _U32,
        atime % _SECOND,
        mtime // _SECOND & _U32,
        mtime % _SECOND,
        ctime // _SECOND & _U32,
        ctime % _SECOND,
    )


def iatt_pointer(iatt: Iatt) -> Any:
    """A pointer to the attributes."""
    packed = _pack(iatt) + _PAD
    structure = iatt_t.from_buffer_copy(packed)
    structure._packed = packed
    return hold(structure, iatt)


def take_iatt(value: object, what: str) -> Iatt | None:
    """The attributes that a translator hands over. Fields that it left alone keep all that Kiln knows of them."""
    target = checked(value, iatt_t, what)
    if target is None:
        return None
    now = string_at(target, sizeof(iatt_t))
    made = holder(target)
    if made is not None and made._packed == now:
        return cast(Iatt, made._kiln)
    original = Iatt() if made is None else made._kiln
    old, new = _LAYOUT.unpack_from(_pack(original)), _LAYOUT.unpack_from(now)
    changes = {name: new[index] for index, name in _PLAIN if old[index] != new[index]}
    if old[4] != new[4]:
        changes["prot"] = sum(_REVERSED[bits & 7] << shift for bits, shift in zip(new[4], (9, 6, 3, 0), strict=True))
    if old[8] != new[8]:
        changes["rdev"] = from_dev(new[8])
    for index, name in _TIMES:
        if old[index : index + 2] != new[index : index + 2]:
            changes[name] = new[index] * _SECOND + new[index + 1]
    return cast(Iatt, original.replace(**changes))


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
