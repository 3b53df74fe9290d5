"""A cache of names that do not exist, with one handler per request.

Programs that search a file along a path of directories ask mostly for names that are not there. This layer answers
such lookups itself. Every operation that can make a name invalidates, and a lookup that races with one of them leaves
nothing behind; `kiln.caches.NegativeNames` says how. Put it directly above the storage, and leave `on-failure` and
`on-overload` at `error`: it must see all that makes a name.

`negative_batch` is the same with batch handlers.
"""

import errno
from collections.abc import Mapping
from typing import Any

from kiln import Context, Dict, Failure, Fd, Loc, Option, Options, Translator, reply
from kiln.caches import NegativeNames, Ticket, asks_nothing_of_absent, makes_names, name_of


class Negative(Translator):
    options = Options(
        Option("limit", int, default=65_536, minimum=1, description="Names to keep at most", reconfigurable=True),
    )

    def init(self) -> None:
        self.names = NegativeNames(self.options["limit"])

    def reconfigure(self, options: Mapping[str, Any]) -> None:
        self.names.resize(options["limit"])
        # The layer may have been disabled until now, and have missed something.
        self.names.clear()

    def notify(self, event: str, detail: object) -> None:
        if event in ("child-up", "child-down"):
            self.names.clear()

    def statedump(self) -> Mapping[str, object]:
        return self.names.statistics()

    def lookup(self, ctx: Context, loc: Loc, xdata: Dict) -> Failure | None:
        name = name_of(loc)
        if name is None or not asks_nothing_of_absent(xdata):
            return None
        if self.names.is_absent(name):
            return Failure(errno.ENOENT)
        ctx.local = self.names.ask(name)
        return None

    def lookup_reply(self, ctx: Context, reply: reply.Lookup | Failure) -> None:
        ticket = ctx.local
        if not isinstance(ticket, Ticket):
            return
        if not isinstance(reply, Failure):
            self.names.learn_present(ticket.name)
        elif reply.errno == errno.ENOENT:
            self.names.learn_absent(ticket)
        elif reply.errno == errno.ESTALE:
            self.names.forget_directory(ticket.name[0])

    def _close(self, ctx: Context, loc: Loc) -> None:
        name = name_of(loc)
        if name is not None:
            self.names.close(name)
            ctx.local = name

    def _open(self, ctx: Context) -> None:
        if ctx.local is not None:
            self.names.open(ctx.local)

    # All that can make a name.

    def create(self, ctx: Context, loc: Loc, flags: int, mode: int, umask: int, fd: Fd, xdata: Dict) -> None:
        self._close(ctx, loc)

    def create_reply(self, ctx: Context, reply: reply.Create | Failure) -> None:
        self._open(ctx)

    def mknod(self, ctx: Context, loc: Loc, mode: int, rdev: int, umask: int, xdata: Dict) -> None:
        self._close(ctx, loc)

    def mknod_reply(self, ctx: Context, reply: reply.Mknod | Failure) -> None:
        self._open(ctx)

    def mkdir(self, ctx: Context, loc: Loc, mode: int, umask: int, xdata: Dict) -> None:
        self._close(ctx, loc)

    def mkdir_reply(self, ctx: Context, reply: reply.Mkdir | Failure) -> None:
        self._open(ctx)

    def symlink(self, ctx: Context, target: bytes, loc: Loc, umask: int, xdata: Dict) -> None:
        self._close(ctx, loc)

    def symlink_reply(self, ctx: Context, reply: reply.Symlink | Failure) -> None:
        self._open(ctx)

    def link(self, ctx: Context, old: Loc, new: Loc, xdata: Dict) -> None:
        self._close(ctx, new)

    def link_reply(self, ctx: Context, reply: reply.Link | Failure) -> None:
        self._open(ctx)

    def rename(self, ctx: Context, old: Loc, new: Loc, flags: int, xdata: Dict) -> None:
        # Both: RENAME_EXCHANGE and RENAME_WHITEOUT leave something under the old name.
        names = [name for name in (name_of(old), name_of(new)) if name is not None]
        for name in names:
            self.names.close(name)
        ctx.local = names

    def rename_reply(self, ctx: Context, reply: reply.Rename | Failure) -> None:
        for name in ctx.local:
            self.names.open(name)

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
    ) -> None:
        self._close(ctx, loc)

    def put_reply(self, ctx: Context, reply: reply.Put | Failure) -> None:
        self._open(ctx)

    def namelink(self, ctx: Context, loc: Loc, xdata: Dict) -> None:
        self._close(ctx, loc)

    def namelink_reply(self, ctx: Context, reply: reply.Namelink | Failure) -> None:
        self._open(ctx)

    # Virtual attributes of a directory make names in it.

    def setxattr(self, ctx: Context, loc: Loc, dict: Dict, flags: int, xdata: Dict) -> None:
        if makes_names(dict):
            self.names.close_directory(loc.gfid)
            ctx.local = loc.gfid

    def setxattr_reply(self, ctx: Context, reply: reply.Setxattr | Failure) -> None:
        if ctx.local is not None:
            self.names.open_directory(ctx.local)

    def fsetxattr(self, ctx: Context, fd: Fd, dict: Dict, flags: int, xdata: Dict) -> None:
        if makes_names(dict):
            self.names.close_directory(fd.gfid)
            ctx.local = fd.gfid

    def fsetxattr_reply(self, ctx: Context, reply: reply.Fsetxattr | Failure) -> None:
        if ctx.local is not None:
            self.names.open_directory(ctx.local)

    # What goes with a directory needs no room any more.

    def rmdir(self, ctx: Context, loc: Loc, flags: int, xdata: Dict) -> None:
        ctx.local = loc.gfid

    def rmdir_reply(self, ctx: Context, reply: reply.Rmdir | Failure) -> None:
        if not isinstance(reply, Failure):
            self.names.forget_directory(ctx.local)
