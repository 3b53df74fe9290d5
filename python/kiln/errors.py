"""Errors that pass between translators and the brick."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._native import Failure


class FopError(OSError):
    """A request that a generator handler wound has failed.

    ``errno`` is the child's; ``failure`` is its whole answer. A handler that lets the error pass answers the same.
    """

    failure: Failure

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.errno, os.strerror(failure.errno))
        self.failure = failure


class LoadError(Exception):
    """A translator cannot be loaded. The message tells its author what to change."""
