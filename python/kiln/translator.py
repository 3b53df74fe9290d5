"""The base class of translators. Type checkers read ``translator.pyi``, which also has every fop."""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, Union

from ._native import LATER, PASS, Failure, request

if TYPE_CHECKING:
    from ._native import Counter, Fd, Histogram, Host
    from .options import Option, OptionValue

_Reply = TypeVar("_Reply")
_Request = TypeVar("_Request")

Request = request.Request
Verdict = Union[None, type(PASS), type(LATER), Failure, _Reply]
Outcome = Union[None, type(PASS), type(LATER), Failure, _Reply, _Request]
Answer = Union[Outcome, Generator[Request, Any, Outcome]]


class Translator:
    """A layer of the graph, written in Python.

    A subclass defines a method for each half of a fop that it wants to see, and no others: what it does not define
    never reaches Python. This class therefore has no fop methods of its own to inherit from or to call.

    Handlers of one instance never overlap, but they run in the brick's Python thread: other threads that the
    translator starts need locks as everywhere.

    Whatever a handler gets it may keep for as long as it likes: arguments, replies, and the memoryviews of file data,
    which never change. What is kept is the translator's to bound: a view keeps the whole buffer of its request (up to
    1 MiB), and requests take others from the heap when the buffers that the engine has set aside are all kept.
    ``bytes(view)`` copies what matters and lets the buffer go.
    """

    options: Any = ()
    name: str
    log: logging.Logger
    _host: Host

    def init(self) -> None:
        """Called once, when name, options and log are set. An exception keeps the graph from starting."""

    def reconfigure(self, options: Mapping[str, OptionValue]) -> None:
        """New options, before ``self.options`` has them. An exception refuses them."""

    def notify(self, event: str, detail: object) -> None:
        """Something happened: ``child-up``, ``child-down``, ``client-gone``, ``stopping``."""

    def forget(self, gfid: bytes) -> None:
        """The brick no longer keeps this object in memory."""

    def release(self, fd: Fd) -> None:
        """A file's last holder has closed it."""

    def releasedir(self, fd: Fd) -> None:
        """A directory's last holder has closed it."""

    def fini(self) -> None:
        """The layer goes."""

    def statedump(self) -> Mapping[str, object]:
        """What ``kiln dump`` shows of this layer, as JSON knows it."""
        return {}

    def counter(self, name: str) -> Counter:
        """The counter of that name among the layer's statistics."""
        return self._host.counter(name)

    def histogram(self, name: str) -> Histogram:
        """The histogram of that name among the layer's statistics."""
        return self._host.histogram(name)


def declared_options(cls: type[Translator]) -> Sequence[Option]:
    """What the class declares in ``options``."""
    declared = cls.options
    if isinstance(declared, (str, bytes, Mapping)) or not isinstance(declared, Sequence):
        kind = type(declared).__name__
        raise TypeError(f"`{cls.__name__}.options` must be a tuple of kiln.Option objects, not {kind}")
    return declared


def bind(instance: Translator, name: str, host: Host, log: logging.Logger, options: Mapping[str, OptionValue]) -> None:
    """Gives an instance what it may use from its first line on."""
    instance.name = name
    instance.log = log
    instance.options = options
    instance._host = host
