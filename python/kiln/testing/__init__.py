"""Translators tested without a mount: a stack of layers over a brick in memory, on a simulated machine.

::

    from kiln.testing import Stack

    def test_it_hides_nothing() -> None:
        with Stack(MyTranslator, options={"limit": "10"}, seed=7) as stack:
            stack.write_file("/a", b"text")
            assert stack.exists("/a")

One seed decides in which order the requests of one :meth:`Stack.gather` go, Python's part included, so a failure can be
played again. Time is virtual: :meth:`Stack.sleep` costs none, and a time limit passes as soon as nothing else can happen.
Threads that a translator starts live in real time: what they are to finish ends by its time limit, unless a handler waits
for them. Nothing interrupts a handler that does not return: the test hangs with it.

What translators log, and the tracebacks of handlers that raise, go to the loggers ``kiln.LAYER``, which pytest shows when
a test fails.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import stat
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import ModuleType, TracebackType
from typing import Any, Final, Self

from .. import _native
from .._native import ROOT, Failure, Fd, Iatt, Loc, reply, request
from ..errors import FopError
from ..translator import Translator

__all__ = ["Layer", "Stack", "python_layer"]

Layer = tuple[str, Mapping[str, str]]
"""A layer's type and its options."""

_classes: Final = ModuleType(__name__ + "._classes", "Classes that stacks were made of.")
sys.modules[_classes.__name__] = _classes
_numbers: Final = itertools.count()

_READ_SIZE: Final = 128 * 1024


class Stack:
    """Layers over a brick in memory.

    From the bottom up: ``storage/posix``, ``testing/inject`` (which fails and delays fops, see :meth:`fail`), the layers
    `below`, the translator, the layers `above`.
    """

    def __init__(
        self,
        translator: type[Translator] | str | None = None,
        *,
        options: Mapping[str, str] | None = None,
        layer_options: Mapping[str, str] | None = None,
        below: Iterable[Layer] = (),
        above: Iterable[Layer] = (),
        seed: int = 0,
        cores: int = 1,
    ) -> None:
        """Builds it.

        `translator` is a class, or the name of a module that has one (also one in glupy's style). `options` are its own;
        `layer_options` are those of `features/glupy` (``time-limit``, ``on-failure``, ``search-path`` …).
        """
        self._layers: list[tuple[str, str, dict[str, str]]] = [
            ("posix", "storage/posix", {"directory": "/brick"}),
            ("inject", "testing/inject", {}),
        ]
        for kind, given in below:
            self._add(kind, dict(given))
        if translator is not None:
            own = {f"option.{name}": value for name, value in (options or {}).items()}
            self._layers.append(
                ("translator", "features/glupy", {**_module_of(translator), **(layer_options or {}), **own})
            )
        for kind, given in above:
            self._add(kind, dict(given))
        self._native = _native.Stack(self._volfile(), seed, cores)
        self._gfids: Iterator[uuid.UUID] = (uuid.UUID(int=n, version=4) for n in itertools.count(2))

    def _add(self, kind: str, options: dict[str, str]) -> None:
        self._layers.append((f"{kind}-{len(self._layers)}", kind, options))

    def _volfile(self) -> str:
        text, below = [], ""
        for name, kind, options in self._layers:
            text.append(f"volume {name}\n    type {kind}")
            text += [f"    option {_quoted(key)} {_quoted(value)}" for key, value in options.items()]
            if below:
                text.append(f"    subvolumes {below}")
            text.append("end-volume")
            below = name
        return "\n".join(text) + "\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stops the layers; the translator's `fini` runs."""
        self._native.close()

    # Requests

    def gather(self, requests: Sequence[request.Request], *, uid: int = 0, gid: int = 0, client: int = 0) -> list[Any]:
        """Sends requests at once, spread over the cores: their replies, or failures, in the same order."""
        return self._native.call(list(requests), uid=uid, gid=gid, client=client)

    def call(self, wanted: request.Request, *, uid: int = 0, gid: int = 0, client: int = 0) -> Any:
        """Sends a request: its reply. A failure is raised as :class:`kiln.FopError`."""
        (answer,) = self.gather([wanted], uid=uid, gid=gid, client=client)
        if isinstance(answer, Failure):
            raise FopError(answer)
        return answer

    # By path

    def loc(self, path: str) -> Loc:
        """Where `path` is: the parent exists, the last name need not."""
        parent, name = os.path.split(path.rstrip("/") or "/")
        if not name:
            return Loc.object(ROOT)
        return Loc.entry(self._gfid(parent), os.fsencode(name))

    def _gfid(self, path: str) -> bytes:
        gfid = ROOT
        for name in filter(None, path.split("/")):
            gfid = self.call(request.Lookup(Loc.entry(gfid, os.fsencode(name)))).iatt.gfid
        return gfid

    def _object(self, path: str) -> Loc:
        return Loc.object(self._gfid(path))

    def lookup(self, path: str) -> Iatt:
        """Attributes of the object at `path`."""
        found: reply.Lookup = self.call(request.Lookup(self.loc(path)))
        return found.iatt

    def exists(self, path: str) -> bool:
        """Whether a lookup finds `path`."""
        try:
            self.lookup(path)
        except FopError as error:
            if error.errno in (errno.ENOENT, errno.ESTALE):
                return False
            raise
        return True

    def _new(self) -> dict[str, uuid.UUID]:
        return {"gfid-req": next(self._gfids)}

    def create(self, path: str, mode: int = 0o644) -> Fd:
        """A new file, open for reading and writing."""
        fd = Fd.file(None, os.O_RDWR)
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR
        self.call(request.Create(self.loc(path), flags, mode | stat.S_IFREG, 0, fd, self._new()))
        return fd

    def open(self, path: str, flags: int = os.O_RDWR) -> Fd:
        """An open file."""
        loc = self._object(path)
        fd = Fd.file(loc.gfid, flags)
        self.call(request.Open(loc, flags, fd))
        return fd

    def write(self, fd: Fd, data: bytes, offset: int = 0) -> int:
        """Writes; how many bytes."""
        written: reply.Writev = self.call(request.Writev(fd, data, offset, 0))
        return written.count

    def read(self, fd: Fd, size: int = _READ_SIZE, offset: int = 0) -> bytes:
        """Reads."""
        return bytes(self.call(request.Readv(fd, size, offset, 0)).data)

    def write_file(self, path: str, data: bytes) -> None:
        """A new file with these contents."""
        fd = self.create(path)
        if data:
            self.write(fd, data)
        self.release(fd)

    def read_file(self, path: str) -> bytes:
        """The contents of a file."""
        fd, data = self.open(path, os.O_RDONLY), bytearray()
        while chunk := self.read(fd, _READ_SIZE, len(data)):
            data += chunk
        self.release(fd)
        return bytes(data)

    def truncate(self, path: str, size: int) -> None:
        """Cuts a file, or lengthens it with zeros."""
        self.call(request.Truncate(self._object(path), size))

    def mkdir(self, path: str, mode: int = 0o755) -> None:
        """A new directory."""
        self.call(request.Mkdir(self.loc(path), mode, 0, self._new()))

    def symlink(self, target: str, path: str) -> None:
        """A new symbolic link."""
        self.call(request.Symlink(os.fsencode(target), self.loc(path), 0, self._new()))

    def link(self, old: str, new: str) -> None:
        """One more name for an object."""
        self.call(request.Link(self._known(old), self.loc(new)))

    def rename(self, old: str, new: str) -> None:
        """Moves a name."""
        self.call(request.Rename(self._known(old), self.loc(new), 0))

    def unlink(self, path: str) -> None:
        """Removes the name of a file."""
        self.call(request.Unlink(self._known(path), 0))

    def rmdir(self, path: str) -> None:
        """Removes an empty directory."""
        self.call(request.Rmdir(self._known(path), 0))

    def _known(self, path: str) -> Loc:
        loc = self.loc(path)
        assert loc.name is not None
        return Loc(self._gfid(path), loc.parent, loc.name)

    def listdir(self, path: str = "/") -> list[str]:
        """The names in a directory, without `.` and `..`."""
        gfid = self._gfid(path)
        fd = Fd.directory(gfid)
        self.call(request.Opendir(Loc.object(gfid), fd))
        names: list[str] = []
        offset = 0
        while True:
            page: reply.Readdirp = self.call(request.Readdirp(fd, _READ_SIZE, offset))
            if not page.entries:
                break
            offset = page.entries[-1].offset
            names += [os.fsdecode(entry.name) for entry in page.entries if entry.name not in (b".", b"..")]
            if page.eof:
                break
        self.release(fd)
        return sorted(names)

    # What happens besides

    def fail(self, fop: str, error: int, *, times: int = 1, after: bool = False) -> None:
        """Lets the next fops of that name fail below the translator; with `after`, once they have taken effect."""
        self._native.inject(fop, errno=error, times=times, after=after)

    def delay(self, fop: str, seconds: float, *, times: int = 1) -> None:
        """Lets the next fops of that name take so much longer below the translator."""
        self._native.inject(fop, delay=seconds, times=times)

    def sleep(self, seconds: float) -> None:
        """Lets virtual time pass."""
        self._native.sleep(seconds)

    def release(self, fd: Fd) -> None:
        """The last holder of a descriptor is gone."""
        self._native.release(fd)

    def forget(self, gfid: bytes) -> None:
        """No client remembers the object any more."""
        self._native.forget(gfid)

    def reconfigure(self, **options: str) -> None:
        """Gives the translator other options; ValueError when it refuses. Underscores stand for dashes."""
        for index, (name, kind, known) in enumerate(self._layers):
            if name == "translator":
                own = {f"option.{key.replace('_', '-')}": value for key, value in options.items()}
                before, self._layers[index] = self._layers[index], (name, kind, {**known, **own})
                try:
                    self._native.reconfigure(self._volfile())
                except ValueError:
                    self._layers[index] = before
                    raise

    def stats(self) -> dict[str, Any]:
        """What ``kiln stats`` would tell of the translator: requests, counters, histograms, faults."""
        stats: dict[str, Any] = self._native.stats()["translator"]
        return stats

    def counter(self, name: str) -> int:
        """A counter of the translator's own."""
        return int(self.stats()["counters"].get(name, 0))

    def dump(self) -> dict[str, Any]:
        """What ``kiln dump`` would tell of the translator, as its first core has it."""
        dump: dict[str, Any] = self._native.dump()["translator"][0]
        return dump


def python_layer(translator: type[Translator] | str, **options: str) -> Layer:
    """One more translator in Python, for the `below` and `above` of a :class:`Stack`."""
    return "features/glupy", {**_module_of(translator), **{f"option.{key}": value for key, value in options.items()}}


def _quoted(word: str) -> str:
    """A word of a volfile."""
    return '"' + re.sub(r'(["\\`\n])', r"\\\1", word) + '"'


def _module_of(translator: type[Translator] | str) -> dict[str, str]:
    if isinstance(translator, str):
        return {"module-name": translator}
    name = f"{translator.__name__}_{next(_numbers)}"
    setattr(_classes, name, translator)
    return {"module-name": _classes.__name__, "class-name": name}
