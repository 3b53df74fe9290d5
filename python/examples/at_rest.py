"""What the translators that encrypt file data have in common.

A byte is changed by its place alone: the file's gfid and its offset give a key stream, of which the byte gets its own
key `k`. A byte `p` that is neither 0 nor `k` becomes `p ^ k`; 0 and `k` stay. This is its own inverse, and keeps every
zero a zero. Hence

- a file is as long on the disk as its user believes, and any part of it can be read or written alone;
- what the storage itself fills with zeros reads as zeros: holes, `truncate` to a greater length, writes past the end,
  `fallocate`, `discard`, `zerofill`; `seek` finds the same data and holes.

The price: the disk shows where a file has zeros, and whoever sees a place before and after it is overwritten sees more.
It keeps data from those who find a lost disk, not from those who watch it.

What cannot be kept true this way is refused: `copy_file_range` (data would move to a place with other keys; programs
copy themselves then) ends with EOPNOTSUPP, and so does a `put` that does not say which gfid the file will have. The
checksums of `rchecksum` are of the users' data. Names, attributes and extended attributes are left alone.

The storage must not append on its own, for the layer has to know where data goes: files are opened without O_APPEND
below, and each append goes to the end that the file has then. Appends wait for each other. An append and a plain write
past the end at the same moment can fall on the same place, as over NFS.
"""

import errno
import hashlib
import os
import zlib
from abc import abstractmethod
from collections.abc import Generator
from typing import Any
from uuid import UUID

from kiln import Context, Dict, Failure, Fd, Loc, Request, Translator, reply, request

UNSUPPORTED = Failure(errno.EOPNOTSUPP)


def mix(data: bytes | memoryview, keys: bytes) -> bytes:
    """Encrypts or decrypts: all bytes at once, as one long number."""
    size = len(data)
    low, high = (int.from_bytes(byte * size, "little") for byte in (b"\x7f", b"\x80"))
    plain, stream = int.from_bytes(data, "little"), int.from_bytes(keys, "little")
    mixed = plain ^ stream
    # The highest bit of every byte that is zero in neither; then all bits of these bytes.
    marks = (((plain & low) + low) | plain) & (((mixed & low) + low) | mixed) & high
    return (plain ^ (stream & ((marks << 1) - (marks >> 7)))).to_bytes(size, "little")


class AtRest(Translator):
    def init(self) -> None:
        self._appending: set[bytes] = set()

    @abstractmethod
    def keys(self, gfid: bytes, offset: int, size: int) -> bytes:
        """The key stream of a file from `offset` on."""

    def convert(self, gfid: bytes, offset: int, data: bytes | memoryview) -> bytes:
        """Encrypts or decrypts."""
        return mix(data, self.keys(gfid, offset, len(data))) if len(data) else b""

    # Writing.

    def writev(
        self, ctx: Context, fd: Fd, data: memoryview, offset: int, flags: int, xdata: Dict
    ) -> Generator[Request, Any, request.Writev | reply.Writev]:
        if not fd.flags & os.O_APPEND:
            return request.Writev(fd, self.convert(fd.gfid, offset, data), offset, flags, xdata)
        while fd.gfid in self._appending:
            # Another append is on its way: ask again when the storage has done a round.
            yield request.Fstat(fd)
        self._appending.add(fd.gfid)
        try:
            end = (yield request.Fstat(fd)).iatt.size
            written: reply.Writev = yield request.Writev(fd, self.convert(fd.gfid, end, data), end, flags, xdata)
        finally:
            self._appending.discard(fd.gfid)
        return written

    def put(
        self,
        ctx: Context,
        loc: Loc,
        mode: int,
        umask: int,
        flags: int,
        data: memoryview,
        offset: int,
        xattrs: Dict,
        xdata: Dict,
    ) -> request.Put | Failure:
        wanted = xdata.get(b"gfid-req")
        gfid = wanted.bytes if isinstance(wanted, UUID) else wanted
        if not isinstance(gfid, bytes) or len(gfid) != 16:
            return UNSUPPORTED
        return request.Put(loc, mode, umask, flags, self.convert(gfid, offset, data), offset, xattrs, xdata)

    def open(self, ctx: Context, loc: Loc, flags: int, fd: Fd, xdata: Dict) -> request.Open | None:
        return request.Open(loc, flags & ~os.O_APPEND, fd, xdata) if flags & os.O_APPEND else None

    def create(
        self, ctx: Context, loc: Loc, flags: int, mode: int, umask: int, fd: Fd, xdata: Dict
    ) -> request.Create | None:
        return request.Create(loc, flags & ~os.O_APPEND, mode, umask, fd, xdata) if flags & os.O_APPEND else None

    def copy_file_range(
        self, ctx: Context, fd_in: Fd, offset_in: int, fd: Fd, offset: int, length: int, flags: int, xdata: Dict
    ) -> Failure:
        return UNSUPPORTED

    # Reading.

    def readv(self, ctx: Context, fd: Fd, size: int, offset: int, flags: int, xdata: Dict) -> None:
        ctx.local = (fd.gfid, offset)

    def readv_reply(self, ctx: Context, answer: reply.Readv | Failure) -> reply.Readv | None:
        if isinstance(answer, Failure):
            return None
        gfid, offset = ctx.local
        return reply.Readv(self.convert(gfid, offset, answer.data), answer.eof, answer.iatt, answer.xdata)

    def rchecksum(
        self, ctx: Context, fd: Fd, offset: int, length: int, xdata: Dict
    ) -> Generator[Request, Any, reply.Rchecksum]:
        theirs: reply.Rchecksum = yield request.Rchecksum(fd, offset, length, xdata)
        found: reply.Readv = yield request.Readv(fd, length, offset, 0)
        data = self.convert(fd.gfid, offset, found.data)
        # Bricks answer with SHA-256, or with MD5 and zeros.
        strong = hashlib.sha256(data).digest() if any(theirs.strong[16:]) else hashlib.md5(data).digest() + bytes(16)
        return reply.Rchecksum(zlib.adler32(data, 0), strong, theirs.xdata)

    def lookup(self, ctx: Context, loc: Loc, xdata: Dict) -> request.Lookup | None:
        # A client may ask for the content of small files along with a lookup: it has to read it instead.
        return request.Lookup(loc, xdata.without(b"glusterfs.content")) if b"glusterfs.content" in xdata else None
