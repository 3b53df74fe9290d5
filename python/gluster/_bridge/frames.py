"""Requests on their way through a translator: each half is answered exactly once."""

from __future__ import annotations

import itertools
import threading
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from kiln import LATER, Context

from .pointers import checked, held, hold
from .structures import call_frame_t

if TYPE_CHECKING:
    from .layer import Layer
    from .operations import Operation

_ids: Final = itertools.count(1)
_NOTHING: Final = object()


class State(Enum):
    """Where a request is."""

    FOP = "in its fop"
    WOUND = "wound to the child"
    CBK = "in its callback"
    UNWOUND = "unwound"


class Frame:
    """One request, as ``call_frame_t*`` stands for it. Its methods may be called from any thread."""

    def __init__(self, layer: Layer, operation: Operation, context: Context, state: State) -> None:
        self.layer = layer
        self.operation = operation
        self.context = context
        self.id = next(_ids) if state is State.FOP else 0
        self.state = state
        self.arguments: tuple[Any, ...] = ()
        self.reply: Any = None
        self.values: dict[str, Any] = {}
        self.pointer = hold(call_frame_t(), self)
        self._lock = threading.Lock()
        self._outcome: Any = _NOTHING
        self._left = False

    @property
    def fd(self) -> Any:
        """The open file of the request, if it has one."""
        names = self.operation.arguments
        return self.arguments[names.index("fd")] if self.arguments and "fd" in names else None

    def begin_callback(self, reply: Any) -> None:
        """The child has answered."""
        with self._lock:
            self.state = State.CBK
            self.reply = reply
            self._outcome = _NOTHING
            self._left = False

    def expect(self, expected: tuple[State, ...], call: str) -> None:
        """RuntimeError when this half is settled already."""
        if self.state not in expected:
            self.layer.count_misuse()
            raise RuntimeError(f"{call}: request {self.id} ({self.operation.name}) is already {self.state.value}")

    def settle(self, expected: tuple[State, ...], after: State, outcome: Any, call: str) -> None:
        """Winds or unwinds; RuntimeError when this half is settled already."""
        with self._lock:
            self.expect(expected, call)
            self.state = after
            if not self._left:
                self._outcome = outcome
                return
        self.context.finish(outcome)

    def leave(self) -> Any:
        """The handler has returned: what it settled, or LATER when somebody else is to do so."""
        with self._lock:
            if self._outcome is not _NOTHING:
                return self._outcome
            self._left = True
            return LATER

    def abandon(self) -> None:
        """The handler has raised: nobody may settle the request any more."""
        with self._lock:
            self.state = State.UNWOUND


def take_frame(value: object, what: str) -> Frame:
    """The request that a translator means."""
    target = checked(value, call_frame_t, what)
    if target is None:
        raise TypeError(f"{what} must not be NULL")
    frame = held(target)
    if not isinstance(frame, Frame):
        raise TypeError(f"{what} is not a call_frame_t that the brick made")
    return frame
