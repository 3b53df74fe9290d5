"""Translators for the Kiln brick, written in Python.

A translator is a class that derives from :class:`Translator` and defines a method for each file operation that it wants
to see::

    import kiln

    class Hello(kiln.Translator):
        def lookup(self, ctx, loc, xdata):
            self.log.info("hello %r", loc.name)
"""

import sys as _sys

from . import _native as _native
from ._native import (
    FOPS,
    IA_IFBLK,
    IA_IFCHR,
    IA_IFDIR,
    IA_IFIFO,
    IA_IFLNK,
    IA_IFREG,
    IA_IFSOCK,
    IA_INVAL,
    LATER,
    NULL,
    PASS,
    ROOT,
    ActiveLock,
    Caller,
    Context,
    Counter,
    Dict,
    Dirent,
    EntrylkCmd,
    Failure,
    Fd,
    Flock,
    Histogram,
    Iatt,
    Lease,
    LkCmd,
    Loc,
    LockType,
    SeekWhat,
    SetAttr,
    StatFs,
    XattropOp,
    gfid_bytes,
    gfid_text,
    reply,
    request,
)
from .errors import FopError, LoadError
from .options import Option, OptionType, OptionValue
from .translator import Answer, Outcome, Request, Translator, Verdict

_sys.modules.setdefault(__name__ + ".reply", reply)
_sys.modules.setdefault(__name__ + ".request", request)

__all__ = [
    "FOPS",
    "IA_IFBLK",
    "IA_IFCHR",
    "IA_IFDIR",
    "IA_IFIFO",
    "IA_IFLNK",
    "IA_IFREG",
    "IA_IFSOCK",
    "IA_INVAL",
    "LATER",
    "NULL",
    "PASS",
    "ROOT",
    "ActiveLock",
    "Answer",
    "Caller",
    "Context",
    "Counter",
    "Dict",
    "Dirent",
    "EntrylkCmd",
    "Failure",
    "Fd",
    "Flock",
    "FopError",
    "Histogram",
    "Iatt",
    "Lease",
    "LkCmd",
    "LoadError",
    "Loc",
    "LockType",
    "Option",
    "OptionType",
    "OptionValue",
    "Outcome",
    "Request",
    "SeekWhat",
    "SetAttr",
    "StatFs",
    "Translator",
    "Verdict",
    "XattropOp",
    "gfid_bytes",
    "gfid_text",
    "reply",
    "request",
]
