"""``dl``: the functions of the host library that translators call."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import c_long
from typing import Any, Final

from kiln._names import suggestion

from .columns import Converters, take_reply, take_request
from .frames import Frame, State, take_frame
from .layer import Layer, layer_at
from .operations import OPERATIONS, Operation
from .pointers import checked
from .structures import article_loc_t, loc_t, xlator_t
from .values import converters, take_int


class Function:
    """One function. ``restype`` and ``argtypes`` may be set, as translators do; arguments are checked in any case."""

    def __init__(self, name: str, arguments: tuple[str, ...], call: Callable[..., Any]) -> None:
        self.__name__ = name
        self.restype: Any = None
        self.argtypes: Any = None
        self.errcheck: Any = None
        self._arguments = arguments
        self._call = call

    def __call__(self, *arguments: Any) -> Any:
        if len(arguments) != len(self._arguments):
            wanted = ", ".join(self._arguments)
            count = len(self._arguments)
            raise TypeError(f"dl.{self.__name__} takes {count} arguments ({wanted}), not {len(arguments)}")
        return self._call(*arguments)

    def __repr__(self) -> str:
        return f"<dl.{self.__name__}({', '.join(self._arguments)})>"


class Library:
    """The host library of one era."""

    def __init__(self, place: type[loc_t] | type[article_loc_t]) -> None:
        self.kinds: Final[Converters] = converters(place)
        self._functions: Final[dict[str, Function]] = {}
        self._add("get_id", ("frame",), _get_id)
        self._functions["get_id"].restype = c_long
        self._add("get_rootunique", ("frame",), _get_rootunique)
        for operation in OPERATIONS.values():
            self._add_operation(operation)

    def __getattr__(self, name: str) -> Function:
        functions: dict[str, Function] = self.__dict__.get("_functions", {})
        if name in functions:
            return functions[name]
        raise AttributeError(f"dl has no function `{name}`{suggestion(name, functions)}")

    def _add(self, name: str, arguments: tuple[str, ...], call: Callable[..., Any]) -> None:
        self._functions[name] = Function(name, arguments, call)

    def _add_operation(self, operation: Operation) -> None:
        name = operation.name
        fop = tuple(column.name for column in operation.fop)
        cbk = tuple(column.name for column in operation.cbk)
        for half in ("fop", "cbk"):

            def register(c_this: object, function: object, half: str = half) -> None:
                layer_at(c_this, f"dl.set_{name}_{half}").register(self.kinds, operation, half, function)

            self._add(f"set_{name}_{half}", ("c_this", "function"), register)

        def wind(frame: object, xl: object, *values: object) -> None:
            self._wind(operation, frame, xl, values)

        def unwind(
            frame: object, cookie: object, this: object, op_ret: object, op_errno: object, *values: object
        ) -> None:
            self._unwind(operation, frame, cookie, this, op_ret, op_errno, values)

        self._add(f"wind_{name}", ("frame", "xl", *fop), wind)
        self._add(f"unwind_{name}", ("frame", "cookie", "this", "op_ret", "op_errno", *cbk), unwind)

    def _wind(self, operation: Operation, frame_pointer: object, xl: object, values: tuple[object, ...]) -> None:
        call = f"dl.wind_{operation.name}"
        frame = _frame_of(operation, frame_pointer, call)
        frame.layer.check_own(checked(xl, xlator_t, f"{call}: argument 2 (xl)"), f"{call}: argument 2 (xl)")
        frame.expect((State.FOP,), call)
        request = take_request(operation, values, frame.arguments, self.kinds, call)
        frame.settle((State.FOP,), State.WOUND, request, call)

    def _unwind(
        self,
        operation: Operation,
        frame_pointer: object,
        cookie: object,
        this: object,
        op_ret: object,
        op_errno: object,
        values: tuple[object, ...],
    ) -> None:
        call = f"dl.unwind_{operation.name}"
        frame = _frame_of(operation, frame_pointer, call)
        if cookie is not None:
            take_int("long", cookie, f"{call}: argument 2 (cookie)")
        checked(this, xlator_t, f"{call}: argument 3 (this)")
        result = take_int("int", op_ret, f"{call}: argument 4 (op_ret)")
        code = take_int("int", op_errno, f"{call}: argument 5 (op_errno)")
        reply = take_reply(operation, result, code, values, frame, self.kinds, call)
        frame.settle((State.FOP, State.CBK), State.UNWOUND, reply, call)


def _frame_of(operation: Operation, value: object, call: str) -> Frame:
    frame = take_frame(value, f"{call}: argument 1 (frame)")
    if frame.operation is not operation:
        raise TypeError(f"{call}: argument 1 (frame) is a request for {frame.operation.name}")
    return frame


def _get_id(frame_pointer: object) -> int:
    frame = take_frame(frame_pointer, "dl.get_id: argument 1 (frame)")
    return 0 if frame.state is State.UNWOUND else frame.id


def _get_rootunique(frame_pointer: object) -> int:
    return take_frame(frame_pointer, "dl.get_rootunique: argument 1 (frame)").context.unique


def layer_of(c_this: object) -> Layer:
    """The layer whose address a constructor was given."""
    return layer_at(c_this, "Translator.__init__")
