"""A translator written for glupy, as the brick sees it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from ctypes import addressof
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

from kiln import Context, Translator
from kiln._handlers import Handler
from kiln.errors import LoadError

from .columns import Converters, give_reply, give_request
from .frames import Frame, State
from .operations import Operation
from .pointers import hold
from .structures import xlator_t

if TYPE_CHECKING:
    from kiln._native import Host

_layers: Final[WeakValueDictionary[int, Layer]] = WeakValueDictionary()
_FIXED: Final = {"fop": ("frame", "this"), "cbk": ("frame", "cookie", "this", "op_ret", "op_errno")}
_COOKIE: Final = 0


class Typed:
    """A function declared to be one half of an operation, as ``@lookup_fop_t`` does."""

    def __init__(self, operation: Operation, half: str, function: Callable[..., Any]) -> None:
        self.operation = operation
        self.half = half
        self.function = function
        self.__doc__ = function.__doc__

    def __call__(self, *arguments: Any) -> Any:
        return self.function(*arguments)


class Layer(Translator):
    """Stands in for a ``kiln.Translator``: it has no fop methods, `handlers` has them."""

    def __init__(self, host: Host) -> None:
        self._structure = xlator_t()
        self.this: Final = hold(self._structure, None)
        self.address: Final = addressof(self._structure)
        self.xlator: object = None
        self._misuse = host.counter("wound-or-unwound-twice")
        self._halves: dict[str, tuple[Operation, dict[str, tuple[Converters, Callable[..., Any]]]]] = {}
        _layers[self.address] = self

    def count_misuse(self) -> None:
        """A request was wound or unwound twice."""
        self._misuse.add()

    def check_own(self, target: Any, what: str) -> None:
        """NULL and the translator itself mean the first child; nothing else can be named."""
        if target is not None and addressof(target.contents) != self.address:
            raise TypeError(f"{what} must be NULL (the first child) or this translator")

    def register(self, kinds: Converters, operation: Operation, half: str, function: object) -> None:
        """Takes one half of an operation."""
        what = f"dl.set_{operation.name}_{half}"
        if isinstance(function, Typed) and (function.operation.name, function.half) != (operation.name, half):
            raise TypeError(f"{what}: the function is declared as {function.operation.name}_{function.half}_t")
        if not callable(function):
            raise TypeError(f"{what}: {type(function).__name__} is not a function")
        check_arguments(operation, half, function)
        _, halves = self._halves.setdefault(operation.name, (operation, {}))
        halves[half] = (kinds, function)

    def handlers(self) -> dict[str, Handler]:
        """What the brick is to call."""
        return {name: self._handler(operation, halves) for name, (operation, halves) in self._halves.items()}

    def statedump(self) -> Mapping[str, object]:
        """Which halves of which operations it has, and what its own `statedump` returns: glupy had none."""
        halves = sorted(f"{name}_{half}" for name, (_, halves) in self._halves.items() for half in halves)
        own = getattr(self.xlator, "statedump", None)
        return {"halves": halves, "state": own() if callable(own) else None}

    def _handler(self, operation: Operation, halves: dict[str, tuple[Converters, Callable[..., Any]]]) -> Handler:
        fop = self._fop(operation, *halves["fop"]) if "fop" in halves else None
        if fop is None and any(column.name == "fd" for column in operation.cbk):
            fop = self._remember(operation)
        reply = self._cbk(operation, *halves["cbk"]) if "cbk" in halves else None
        return Handler(fop=fop, reply=reply)

    def _fop(self, operation: Operation, kinds: Converters, function: Callable[..., Any]) -> Callable[..., Any]:
        def handle(context: Context, *arguments: Any) -> Any:
            frame = Frame(self, operation, context, State.FOP)
            frame.arguments = arguments
            context.local = frame
            try:
                function(frame.pointer, self.this, *give_request(operation, arguments, kinds))
            except BaseException:
                frame.abandon()
                raise
            return frame.leave()

        return handle

    def _remember(self, operation: Operation) -> Callable[..., Any]:
        """The fop of an operation that only has a callback, which is to see the request's fd."""

        def handle(context: Context, *arguments: Any) -> None:
            frame = Frame(self, operation, context, State.CBK)
            frame.arguments = arguments
            context.local = frame

        return handle

    def _cbk(self, operation: Operation, kinds: Converters, function: Callable[..., Any]) -> Callable[..., Any]:
        def handle(context: Context, reply: Any) -> Any:
            frame = context.local
            if not isinstance(frame, Frame):
                frame = Frame(self, operation, context, State.CBK)
            frame.begin_callback(reply)
            op_ret, op_errno, rest = give_reply(operation, reply, frame.fd, kinds, frame.values)
            try:
                function(frame.pointer, _COOKIE, self.this, op_ret, op_errno, *rest)
            except BaseException:
                frame.abandon()
                raise
            return frame.leave()

        return handle


def check_arguments(operation: Operation, half: str, function: Callable[..., Any]) -> None:
    """TypeError when a function cannot take the arguments of a half."""
    names = (*_FIXED[half], *(column.name for column in operation.columns(half)))
    try:
        signature = inspect.signature(function.function if isinstance(function, Typed) else function)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*names)
    except TypeError as error:
        wanted = ", ".join(names)
        raise TypeError(f"{operation.name}_{half} must take {len(names)} arguments ({wanted}): {error}") from None


def layer_at(c_this: object, what: str) -> Layer:
    """The layer at an address."""
    layer = _layers.get(c_this) if isinstance(c_this, int) else None
    if layer is None:
        raise TypeError(f"{what}: c_this must be the address that the constructor was given, not {c_this!r}")
    return layer


def adapt(module: ModuleType, attribute: str, host: Host) -> tuple[Layer, dict[str, Handler]]:
    """Constructs a module's ``xlator``, which registers its functions."""
    layer = Layer(host)
    layer.xlator = getattr(module, attribute)(layer.address)
    handlers = layer.handlers()
    if not handlers:
        raise LoadError(
            f"`{module.__name__}.{attribute}` registers no function: its __init__ must call "
            "Translator.__init__(self, c_this), or dl.set_*"
        )
    return layer, handlers
