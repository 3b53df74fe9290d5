"""The operations: what each handler gets, in glupy's order, and where it lies in Kiln's requests and replies.

The first 23 are glupy's own. The last four never had a slot that worked there; they have the arguments that GlusterFS
gave them, so that a translator of either era can see every operation that makes a name.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from kiln import FOPS, reply, request

_TABLE: Final = """
lookup: loc xdata -> inode buf xdata postparent
create: loc flags:int mode:uint umask:uint fd xdata -> fd inode buf preparent postparent xdata
open: loc flags:int fd xdata -> fd xdata
readv: fd size:size offset:long flags:u32 xdata -> vector count:int stbuf iobref xdata
writev: fd vector count:int offset:long flags:u32 iobref xdata -> prebuf postbuf xdata
opendir: loc fd xdata -> fd xdata
readdir: fd size:size offset:long xdata -> entries xdata
readdirp: fd size:size offset:long xdata -> entries xdata
stat: loc xdata -> buf xdata
fstat: fd xdata -> buf xdata
statfs: loc xdata -> buf:statvfs xdata
setxattr: loc dictionary flags:i32 xdata -> xdata
getxattr: loc name:str xdata -> dictionary xdata
fsetxattr: fd dictionary flags:i32 xdata -> xdata
fgetxattr: fd name:str xdata -> dictionary xdata
removexattr: loc name:str xdata -> xdata
fremovexattr: fd name:str xdata -> xdata
link: oldloc newloc xdata -> inode buf preparent postparent xdata
symlink: linkname:str loc umask:uint xdata -> inode buf preparent postparent xdata
unlink: loc xflags:int xdata -> preparent postparent xdata
readlink: loc size:size xdata -> path:str buf xdata
mkdir: loc mode:uint umask:uint xdata -> inode buf preparent postparent xdata
rmdir: loc xflags:int xdata -> preparent postparent xdata
mknod: loc mode:uint rdev:dev umask:uint xdata -> inode buf preparent postparent xdata
rename: oldloc newloc xdata -> buf preoldparent postoldparent prenewparent postnewparent xdata
put: loc mode:uint umask:uint flags:u32 vector count:int offset:long iobref xattr xdata\
 -> inode buf preparent postparent xdata
namelink: loc xdata -> preparent postparent xdata
"""

_KINDS: Final = {
    **dict.fromkeys(("loc", "oldloc", "newloc"), "loc"),
    **dict.fromkeys(("xdata", "dictionary", "xattr"), "dict"),
    **dict.fromkeys(("buf", "stbuf", "prebuf", "postbuf", "preparent", "postparent"), "iatt"),
    **dict.fromkeys(("preoldparent", "postoldparent", "prenewparent", "postnewparent"), "iatt"),
    "fd": "fd",
    "inode": "inode",
    "vector": "iovec",
    "iobref": "iobref",
    "entries": "entries",
}

_KILN_NAMES: Final = {
    "oldloc": "old",
    "newloc": "new",
    "linkname": "target",
    "path": "target",
    "xflags": "flags",
    "vector": "data",
    "dictionary": "dict",
    "xattr": "xattrs",
    "stbuf": "iatt",
    "prebuf": "pre",
    "postbuf": "post",
}

_NO_SOURCE: Final = frozenset(("count", "iobref", "inode"))


class Column(NamedTuple):
    """One argument of a handler."""

    name: str
    """As glupy calls it."""
    kind: str
    """How it is turned into a C value: a key of the converters."""
    source: str | None
    """The attribute of Kiln's request or reply; None for what follows from the others."""


class Operation(NamedTuple):
    """One operation that glupy's translators can handle."""

    name: str
    fop: tuple[Column, ...]
    cbk: tuple[Column, ...]
    arguments: tuple[str, ...]
    """Kiln's arguments, in its order."""
    request: Any
    reply: Any

    def columns(self, half: str) -> tuple[Column, ...]:
        """The arguments of the ``fop`` or the ``cbk`` half."""
        return self.fop if half == "fop" else self.cbk


def _column(text: str, cbk: bool) -> Column:
    name, _, kind = text.partition(":")
    kind = kind or _KINDS[name]
    if name in _NO_SOURCE or (cbk and name == "fd"):
        return Column(name, kind, None)
    if name == "buf":
        return Column(name, kind, "statfs" if kind == "statvfs" else "iatt")
    return Column(name, kind, _KILN_NAMES.get(name, name))


def _operation(line: str) -> Operation:
    name, _, columns = line.partition(":")
    before, _, after = columns.partition("->")
    row = next(row for row in FOPS if row[0] == name)
    variant = "".join(part.capitalize() for part in name.split("_"))
    return Operation(
        name,
        tuple(_column(text, cbk=False) for text in before.split()),
        tuple(_column(text, cbk=True) for text in after.split()),
        (*(argument for argument, _ in row[2]), "xdata"),
        getattr(request, variant),
        getattr(reply, variant),
    )


OPERATIONS: Final[dict[str, Operation]] = {
    operation.name: operation for operation in map(_operation, _TABLE.strip().splitlines())
}
"""All operations by name."""
