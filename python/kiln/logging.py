"""From Python's ``logging`` to the brick's log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._native import Host


class HostHandler(logging.Handler):
    """Sends records to the brick's log, tracebacks included."""

    def __init__(self, host: Host) -> None:
        super().__init__()
        self._host = host
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Sends one record; a record that cannot be formatted must not fail the request that logs it."""
        try:
            self._host.log(record.levelno, self.format(record))
        except Exception:
            self.handleError(record)


def translator_logger(name: str, host: Host) -> logging.Logger:
    """A translator's own logger.

    It stands outside the tree of ``logging.getLogger``: two graphs may hold layers of the same name for a while, and
    each must reach its own host.
    """
    logger = logging.Logger(name, logging.DEBUG)
    logger.addHandler(HostHandler(host))
    return logger


def adopt_root(host: Host) -> None:
    """Sends what modules log through ``logging.getLogger`` to the host that was loaded last."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, HostHandler)]:
        root.removeHandler(handler)
    root.addHandler(HostHandler(host))
    if root.level == logging.WARNING:
        # Python's default, for programs that log to a terminal. The brick's log has a level of its own.
        root.setLevel(logging.INFO)
