"""What caches of lookups are made of."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final, NamedTuple

from ._native import NULL, Dict, Loc

Name = tuple[bytes, bytes]
"""Gfid of the directory, and the name in it."""

_NAMESPACES: Final = (b"trusted.", b"user.", b"security.", b"system.")
_HARMLESS: Final = frozenset(
    (
        b"gfid-req",
        b"gfidless-lookup",
        b"glusterfs.content",
        b"glusterfs.open-fd-count",
        b"glusterfs.open-active-fd-count",
        b"get-size",
        b"list-xattr",
        b"glusterfs.posix.acl",
        b"glusterfs.posix.default_acl",
        b"glusterfs-internal-fop",
        b"get-link-count",
    )
)


_ALL: Final = b""
"""In place of a name: all names of a directory."""


def makes_names(attributes: Dict) -> bool:
    """Whether setting these attributes of a directory may make a name in it (``glusterfs.gfid.newfile``)."""
    return any(key.startswith(b"glusterfs.gfid.") for key in attributes)


class Ticket(NamedTuple):
    """What a lookup that goes to the child is to bring back."""

    name: Name
    generation: int


def name_of(loc: Loc) -> Name | None:
    """What a cache can know a lookup by; None for one by gfid, of the root, or of ``.`` and ``..``."""
    if loc.name is None or loc.name in (b"", b".", b"..") or not any(loc.parent):
        return None
    return loc.parent, loc.name


def asks_nothing_of_absent(xdata: Dict) -> bool:
    """Whether the answer for an absent name cannot depend on `xdata`: it asks only about the object itself."""
    return all(key in _HARMLESS or key.startswith(_NAMESPACES) for key in xdata)


class NegativeNames:
    """Names that are known to be absent; never one that exists.

    Every operation that may make a name calls :meth:`close` before it goes to the child and :meth:`open` after it has
    ended. From the one to the other the name is neither answered nor learnt, and a lookup that overlaps with either
    of them is not learnt from, in whatever order the replies come. An operation whose reply never comes keeps its
    name closed: it may still be carried out.

    At most `limit` names are kept; the one that was asked for longest ago goes first. When as many names are closed,
    because clients have left that much unfinished, the cache gives up for good: memory is bounded. All methods are for
    one thread.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._names: OrderedDict[Name, None] = OrderedDict()
        self._by_parent: dict[bytes, set[bytes]] = {}
        self._closed: dict[Name, int] = {}
        self._given_up = False
        self._generation = 0
        self._changed: OrderedDict[bytes, int] = OrderedDict()
        self._floor = 0
        self._counts = dict.fromkeys(("hits", "misses", "learnt", "not-learnt", "invalidated", "evicted"), 0)

    def __len__(self) -> int:
        return len(self._names)

    def is_absent(self, name: Name) -> bool:
        """Whether the name is known not to exist."""
        if name in self._names:
            self._names.move_to_end(name)
            self._counts["hits"] += 1
            return True
        self._counts["misses"] += 1
        return False

    def ask(self, name: Name) -> Ticket:
        """A lookup goes to the child."""
        return Ticket(name, self._generation)

    def learn_absent(self, ticket: Ticket) -> None:
        """The child has answered ENOENT."""
        parent = ticket.name[0]
        closed = ticket.name in self._closed or (parent, _ALL) in self._closed or (NULL, _ALL) in self._closed
        if closed or self._given_up or self._changed.get(parent, self._floor) > ticket.generation:
            self._counts["not-learnt"] += 1
            return
        self._names[ticket.name] = None
        self._names.move_to_end(ticket.name)
        self._by_parent.setdefault(parent, set()).add(ticket.name[1])
        self._counts["learnt"] += 1
        self._shrink()

    def learn_present(self, name: Name) -> None:
        """The name has been seen, by a lookup or in a listing."""
        self._discard(name)

    def close(self, name: Name) -> None:
        """An operation that may make the name goes to the child."""
        if self._given_up:
            return
        self._closed[name] = self._closed.get(name, 0) + 1
        self._change(name)
        if len(self._closed) > self.limit:
            self._given_up = True
            self.clear()
            self._closed.clear()

    def open(self, name: Name) -> None:
        """That operation has ended, well or not."""
        if self._given_up:
            return
        left = self._closed.get(name, 0) - 1
        if left > 0:
            self._closed[name] = left
        else:
            self._closed.pop(name, None)
        self._change(name)

    def close_directory(self, parent: bytes) -> None:
        """An operation that may make any name of a directory (the null gfid: of any) goes to the child."""
        self.close((parent, _ALL))
        self._forget_all(parent)

    def open_directory(self, parent: bytes) -> None:
        """That operation has ended, well or not."""
        self.open((parent, _ALL))
        self._forget_all(parent)

    def _forget_all(self, parent: bytes) -> None:
        if any(parent):
            self.forget_directory(parent)
        else:
            self.clear()

    def forget_directory(self, parent: bytes) -> None:
        """A directory is gone: its names need no room."""
        for name in self._by_parent.pop(parent, ()):
            self._names.pop((parent, name), None)

    def clear(self) -> None:
        """Somebody may have gone around the cache: nothing is known, and nothing that is asked now is learnt."""
        self._names.clear()
        self._by_parent.clear()
        self._generation += 1
        self._floor = self._generation
        self._changed.clear()

    def resize(self, limit: int) -> None:
        """Another limit."""
        self.limit = limit
        self._shrink()

    def statistics(self) -> Mapping[str, int]:
        """Counts since the start, and how much is held now."""
        held = {"names": len(self._names), "directories": len(self._by_parent), "closed": len(self._closed)}
        return {**self._counts, **held}

    def _change(self, name: Name) -> None:
        self._generation += 1
        self._changed[name[0]] = self._generation
        self._changed.move_to_end(name[0])
        if len(self._changed) > self.limit:
            _, self._floor = self._changed.popitem(last=False)
        self._discard(name)

    def _discard(self, name: Name) -> None:
        if name in self._names:
            del self._names[name]
            self._unlist(name)
            self._counts["invalidated"] += 1

    def _unlist(self, name: Name) -> None:
        names = self._by_parent[name[0]]
        names.discard(name[1])
        if not names:
            del self._by_parent[name[0]]

    def _shrink(self) -> None:
        while len(self._names) > self.limit:
            name, _ = self._names.popitem(last=False)
            self._unlist(name)
            self._counts["evicted"] += 1
