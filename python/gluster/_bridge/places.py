"""Between kiln.Loc and ``loc_t``, kiln.Fd and ``fd_t``; inodes."""

from __future__ import annotations

from ctypes import POINTER, addressof, c_void_p, cast, memmove, pointer
from functools import lru_cache
from typing import Any, Final
from weakref import WeakValueDictionary

from kiln import NULL, ROOT, Fd, Loc, gfid_text

from .pointers import checked, held, hold
from .structures import article_loc_t, fd_t, inode_t, loc_t

_fds: Final[WeakValueDictionary[int, fd_t]] = WeakValueDictionary()
_GFID: Final[int] = inode_t.gfid.offset
_U32: Final = 0xFFFF_FFFF


def _inode(gfid: bytes) -> Any:
    inode = inode_t()
    memmove(addressof(inode) + _GFID, gfid, 16)
    return pointer(inode)


_known_inode = lru_cache(maxsize=4096)(_inode)


def inode_pointer(gfid: bytes, kind: int = 0) -> Any:
    """A pointer to the inode of a gfid. While it is remembered, one gfid has one inode, as translators expect."""
    if gfid == NULL:
        return _inode(gfid)
    target = _known_inode(gfid)
    if kind:
        target.contents.ia_type = kind
    return target


def _path(loc: Loc) -> bytes:
    if loc.name is not None:
        if loc.parent == ROOT:
            return b"/" + loc.name
        return b"<gfid:%s>/%s" % (gfid_text(loc.parent).encode(), loc.name)
    return b"/" if loc.gfid == ROOT else b"<gfid:%s>" % gfid_text(loc.gfid).encode()


def loc_pointer(loc: Loc, structure: type[loc_t] | type[article_loc_t]) -> Any:
    """A pointer to a place, as the era's ``loc_t``."""
    place = structure()
    place.path = _path(loc)
    place.name = loc.name
    inode = inode_pointer(loc.gfid)
    parent = inode_pointer(loc.parent) if loc.parent != NULL else POINTER(inode_t)()
    if structure is article_loc_t:
        place._pointees = (inode, parent)
        inode, parent = cast(inode, c_void_p), cast(parent, c_void_p)
    place.inode = inode
    place.parent = parent
    address = addressof(place)
    memmove(address + structure.gfid.offset, loc.gfid, 16)
    memmove(address + structure.pargfid.offset, loc.parent, 16)
    return hold(place, loc)


def take_loc(value: object, structure: type[loc_t] | type[article_loc_t], what: str) -> Loc:
    """The place that a translator hands over; the same kiln.Loc as before when it changed nothing."""
    target = checked(value, structure, what)
    if target is None:
        raise TypeError(f"{what} must not be NULL")
    place = target.contents
    gfid, parent, name = bytes(place.gfid), bytes(place.pargfid), place.name
    original = held(target)
    if isinstance(original, Loc) and (original.gfid, original.parent, original.name) == (gfid, parent, name):
        return original
    return Loc(gfid, parent, name)


def fd_pointer(fd: Fd) -> Any:
    """A pointer to an open file: the same address for as long as a translator keeps one."""
    known = _fds.get(fd.id)
    if known is not None:
        if bytes(known.inode.contents.gfid) == NULL and fd.gfid != NULL:
            # A create has been answered since: now it is known which object this is.
            known.inode = inode_pointer(fd.gfid)
        return pointer(known)
    file = fd_t()
    file.pid = fd.pid & 0xFFFF_FFFF_FFFF_FFFF
    flags = fd.flags & _U32
    file.flags = flags - (1 << 32) if flags >> 31 else flags
    file.refcount = 1
    file.inode = inode_pointer(fd.gfid)
    file.anonymous = int(fd.is_anonymous)
    target = hold(file, fd)
    _fds[fd.id] = file
    return target


def take_fd(value: object, what: str) -> Fd | None:
    """The open file that a translator hands over; None for NULL."""
    target = checked(value, fd_t, what)
    if target is None:
        return None
    fd = held(target)
    if not isinstance(fd, Fd):
        raise TypeError(f"{what} is not an fd_t that the brick made")
    return fd
