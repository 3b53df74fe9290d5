"""glupy's API of the class era: ``from gluster.glupy import *``, then ``class xlator(Translator)``.

Methods named ``X_fop`` and ``X_cbk`` are the two halves of an operation. Each must pass its request on with
``dl.wind_X`` or answer it with ``dl.unwind_X``, exactly once: during the call, or later from any thread. Arguments are
checked when they are given. What a pointer points to stays valid for as long as the pointer is kept.
"""

from __future__ import annotations

import sys

from kiln._names import suggestion

from .._bridge.ctypes_names import (
    CFUNCTYPE,
    POINTER,
    Array,
    Structure,
    Union,
    addressof,
    byref,
    c_bool,
    c_byte,
    c_char,
    c_char_p,
    c_double,
    c_float,
    c_int,
    c_int8,
    c_int16,
    c_int32,
    c_int64,
    c_long,
    c_longlong,
    c_short,
    c_size_t,
    c_ssize_t,
    c_ubyte,
    c_uint,
    c_uint8,
    c_uint16,
    c_uint32,
    c_uint64,
    c_ulong,
    c_ulonglong,
    c_ushort,
    c_void_p,
    cast,
    create_string_buffer,
    memmove,
    memset,
    pointer,
    py_object,
    sizeof,
    string_at,
)
from .._bridge.library import Library, layer_of
from .._bridge.operations import OPERATIONS as _OPERATIONS
from .._bridge.structures import (
    IA_IFBLK,
    IA_IFCHR,
    IA_IFDIR,
    IA_IFIFO,
    IA_IFLNK,
    IA_IFREG,
    IA_IFSOCK,
    IA_INVAL,
    call_frame_t,
    dev_t,
    dict_t,
    fd_ctx,
    fd_lk_ctx,
    fd_t,
    gf_dirent_t,
    ia_prot_t,
    iatt_t,
    inode_ctx,
    inode_t,
    inode_table_t,
    iobref_t,
    iovec_t,
    list_head,
    loc_t,
    mem_pool,
    rwxperm_t,
    statvfs_t,
    xlator_t,
)

__all__ = [
    "Translator",
    "dl",
    "sys",
    "IA_IFBLK",
    "IA_IFCHR",
    "IA_IFDIR",
    "IA_IFIFO",
    "IA_IFLNK",
    "IA_IFREG",
    "IA_IFSOCK",
    "IA_INVAL",
    "call_frame_t",
    "dev_t",
    "dict_t",
    "fd_ctx",
    "fd_lk_ctx",
    "fd_t",
    "gf_dirent_t",
    "ia_prot_t",
    "iatt_t",
    "inode_ctx",
    "inode_t",
    "inode_table_t",
    "iobref_t",
    "iovec_t",
    "list_head",
    "loc_t",
    "mem_pool",
    "rwxperm_t",
    "statvfs_t",
    "xlator_t",
    "CFUNCTYPE",
    "POINTER",
    "Array",
    "Structure",
    "Union",
    "addressof",
    "byref",
    "c_bool",
    "c_byte",
    "c_char",
    "c_char_p",
    "c_double",
    "c_float",
    "c_int",
    "c_int8",
    "c_int16",
    "c_int32",
    "c_int64",
    "c_long",
    "c_longlong",
    "c_short",
    "c_size_t",
    "c_ssize_t",
    "c_ubyte",
    "c_uint",
    "c_uint8",
    "c_uint16",
    "c_uint32",
    "c_uint64",
    "c_ulong",
    "c_ulonglong",
    "c_ushort",
    "c_void_p",
    "cast",
    "create_string_buffer",
    "memmove",
    "memset",
    "pointer",
    "py_object",
    "sizeof",
    "string_at",
]

dl = Library(loc_t)
"""The functions of the host."""


class Translator:
    """Base of ``xlator``: registers every method of the class that is one half of an operation."""

    def __init__(self, c_this: int) -> None:
        layer_of(c_this)
        halves = {f"{name}_{half}" for name in _OPERATIONS for half in ("fop", "cbk")}
        for name in dir(type(self)):
            if name in halves:
                getattr(dl, f"set_{name}")(c_this, getattr(self, name))
            elif name.endswith(("_fop", "_cbk")) and not name.startswith("_"):
                raise TypeError(f"`{type(self).__name__}.{name}`: unknown operation{suggestion(name, halves)}")
