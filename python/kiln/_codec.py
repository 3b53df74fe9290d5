"""Requests and replies as JSON, for recordings."""

from __future__ import annotations

import base64
import enum
import uuid
from typing import Any, Final

from . import _native
from ._native import Dict, Fd, reply, request

_VALUES: Final = ("Loc", "Iatt", "Dirent", "Flock", "StatFs", "SetAttr", "Lease", "ActiveLock", "Failure", "MdataTimes")


class Encoder:
    """Turns values into what JSON can hold."""

    def __call__(self, value: Any) -> Any:
        """One value."""
        match value:
            case None | bool() | str() | float():
                return value
            case _native.Uint():
                return {"uint": int(value)}
            case enum.Enum():
                return int(value.value)
            case int():
                return value
            case bytes() | memoryview():
                data = bytes(value)
                text = data.decode("latin-1")
                return {"bytes": text} if data.isascii() and text.isprintable() else {"base64": base64.b64encode(data).decode()}
            case uuid.UUID():
                return {"uuid": str(value)}
            case Fd():
                return {"fd": value.id, "gfid": self(value.gfid), "flags": value.flags, "directory": value.is_directory}
            case Dict():
                return {"dict": [[self(key), self(item)] for key, item in value.items()]}
            case list() | tuple():
                return [self(item) for item in value]
        return {type(value).__name__: [self(getattr(value, name)) for name in type(value).__match_args__]}

    def message(self, value: Any) -> Any:
        """A request, a reply or a failure."""
        return self(value)


class Decoder:
    """Turns them back. Descriptors of one number become one descriptor."""

    def __init__(self) -> None:
        self._fds: dict[int, Fd] = {}

    def __call__(self, value: Any) -> Any:
        """One value."""
        if isinstance(value, list):
            return [self(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "fd" in value:
            return self._fd(value)
        ((kind, content),) = value.items()
        match kind:
            case "bytes":
                return str(content).encode()
            case "base64":
                return base64.b64decode(content)
            case "uint":
                return _native.Uint(content)
            case "uuid":
                return uuid.UUID(content)
            case "dict":
                return Dict({self(key): self(item) for key, item in content})
        if kind not in _VALUES:
            raise ValueError(f"a recording has no `{kind}`")
        cls = getattr(_native, kind)
        return cls(**dict(zip(cls.__match_args__, map(self, content), strict=True)))

    def _fd(self, value: dict[str, Any]) -> Fd:
        number = int(value["fd"])
        if number not in self._fds:
            gfid = self(value["gfid"])
            made = Fd.directory(gfid) if value["directory"] else Fd.file(gfid, value["flags"])
            self._fds[number] = made
        return self._fds[number]

    def request(self, value: dict[str, Any]) -> request.Request:
        """A request."""
        ((kind, arguments),) = value.items()
        made: request.Request = getattr(request, kind)(*map(self, arguments))
        return made

    def answer(self, value: dict[str, Any]) -> Any:
        """A reply or a failure."""
        ((kind, fields),) = value.items()
        if kind == "Failure":
            return _native.Failure(*map(self, fields))
        return getattr(reply, kind)(*map(self, fields))
