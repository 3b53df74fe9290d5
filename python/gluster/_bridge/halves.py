"""The types of handler functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .layer import Typed, check_arguments
from .operations import OPERATIONS


class FunctionType:
    """Declares a function to be one half of an operation; TypeError when its arguments do not fit."""

    def __init__(self, operation: str, half: str) -> None:
        self._operation = OPERATIONS[operation]
        self._half = half

    def __call__(self, function: Callable[..., Any]) -> Typed:
        check_arguments(self._operation, self._half, function)
        return Typed(self._operation, self._half, function)

    def __repr__(self) -> str:
        return f"<{self._operation.name}_{self._half}_t>"


class Op(NamedTuple):
    """Both halves of an operation."""

    fop_type: FunctionType
    cbk_type: FunctionType
