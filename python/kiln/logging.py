"""From Python's ``logging`` to the brick's log.

In a brick, that is: where a test runs a stack (see :mod:`kiln.testing`), everything stays in ``logging``, under the names
``kiln.LAYER``, for pytest to capture.
"""

from __future__ import annotations

import logging

from . import _native
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
    if _is_test(host):
        return logging.getLogger(f"kiln.{name}")
    logger = logging.Logger(name, logging.DEBUG)
    logger.addHandler(HostHandler(host))
    return logger


def adopt_root(host: Host) -> None:
    """Sends what modules log through ``logging.getLogger`` to the host that was loaded last."""
    if _is_test(host):
        return
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, HostHandler)]:
        root.removeHandler(handler)
    root.addHandler(HostHandler(host))
    if root.level == logging.WARNING:
        # Python's default, for programs that log to a terminal. The brick's log has a level of its own.
        root.setLevel(logging.INFO)


def report(layer: str, fop: str, what: str) -> None:
    """For the native half, in a test: a handler has failed."""
    logging.getLogger(f"kiln.{layer}").error("%s%s", f"{fop}: " if fop else "", what)


def _is_test(host: Host) -> bool:
    return isinstance(host, Host) and not _native.EMBEDDED
