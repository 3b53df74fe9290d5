"""A cache of names that do not exist, with batch handlers.

The same cache as `negative`, but each handler gets all requests that wait in one call.
Put it directly above the storage, and leave `on-failure` and `on-overload` at `error`: it must see all that makes a
name.
"""

import errno
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from kiln import Context, Dict, Failure, Loc, Option, Options, Translator, reply, request
from kiln.caches import Name, NegativeNames, Ticket, asks_nothing_of_absent, makes_names, name_of

ABSENT = Failure(errno.ENOENT)


class HasContext(Protocol):
    @property
    def ctx(self) -> Context: ...


class Making(HasContext, Protocol):
    @property
    def loc(self) -> Loc: ...


class NegativeBatch(Translator):
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

    def lookup_batch(self, requests: Sequence[request.Lookup]) -> Sequence[Failure | None]:
        return [self._lookup(one) for one in requests]

    def _lookup(self, one: request.Lookup) -> Failure | None:
        name = name_of(one.loc)
        if name is None or not asks_nothing_of_absent(one.xdata):
            return None
        if self.names.is_absent(name):
            return ABSENT
        one.ctx.local = self.names.ask(name)
        return None

    def lookup_reply_batch(
        self, requests: Sequence[request.Lookup], replies: Sequence[reply.Lookup | Failure]
    ) -> None:
        for one, answer in zip(requests, replies, strict=True):
            ticket = one.ctx.local
            if not isinstance(ticket, Ticket):
                continue
            if not isinstance(answer, Failure):
                self.names.learn_present(ticket.name)
            elif answer.errno == errno.ENOENT:
                self.names.learn_absent(ticket)
            elif answer.errno == errno.ESTALE:
                self.names.forget_directory(ticket.name[0])

    def _close(self, ctx: Context, *locs: Loc) -> None:
        names: list[Name] = [name for name in map(name_of, locs) if name is not None]
        for name in names:
            self.names.close(name)
        ctx.local = names

    def _close_all(self, requests: Sequence[Making]) -> None:
        for one in requests:
            self._close(one.ctx, one.loc)

    def _open_all(self, requests: Sequence[HasContext], replies: Sequence[object]) -> None:
        for one in requests:
            for name in one.ctx.local:
                self.names.open(name)

    # All that can make a name. For a rename both: with RENAME_EXCHANGE and RENAME_WHITEOUT the old name stays.

    create_batch = mknod_batch = mkdir_batch = symlink_batch = put_batch = namelink_batch = _close_all
    create_reply_batch = mknod_reply_batch = mkdir_reply_batch = symlink_reply_batch = _open_all
    put_reply_batch = namelink_reply_batch = link_reply_batch = rename_reply_batch = _open_all

    def link_batch(self, requests: Sequence[request.Link]) -> None:
        for one in requests:
            self._close(one.ctx, one.new)

    def rename_batch(self, requests: Sequence[request.Rename]) -> None:
        for one in requests:
            self._close(one.ctx, one.old, one.new)

    # Virtual attributes of a directory make names in it.

    def setxattr_batch(self, requests: Sequence[request.Setxattr]) -> None:
        for one in requests:
            self._close_directory(one.ctx, one.dict, one.loc.gfid)

    def fsetxattr_batch(self, requests: Sequence[request.Fsetxattr]) -> None:
        for one in requests:
            self._close_directory(one.ctx, one.dict, one.fd.gfid)

    def _close_directory(self, ctx: Context, attributes: Dict, directory: bytes) -> None:
        if makes_names(attributes):
            self.names.close_directory(directory)
            ctx.local = directory

    def _open_directories(self, requests: Sequence[HasContext], replies: Sequence[object]) -> None:
        for one in requests:
            if one.ctx.local is not None:
                self.names.open_directory(one.ctx.local)

    setxattr_reply_batch = fsetxattr_reply_batch = _open_directories

    # What goes with a directory needs no room any more.

    def rmdir_reply_batch(
        self, requests: Sequence[request.Rmdir], replies: Sequence[reply.Rmdir | Failure]
    ) -> None:
        for one, answer in zip(requests, replies, strict=True):
            if not isinstance(answer, Failure):
                self.names.forget_directory(one.loc.gfid)
