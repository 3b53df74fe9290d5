"""Stand-ins for what the brick gives a translator."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kiln import _host

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


class FakeCounter:
    def __init__(self) -> None:
        self.value = 0

    def add(self, n: int = 1) -> None:
        self.value += n


class FakeHost:
    def __init__(self) -> None:
        self.counters: dict[str, FakeCounter] = {}
        self.logged: list[tuple[int, str]] = []

    def counter(self, name: str) -> FakeCounter:
        return self.counters.setdefault(name, FakeCounter())

    def histogram(self, name: str) -> Any:
        return SimpleNamespace(record=lambda value: None)

    def log(self, level: int, message: str) -> None:
        self.logged.append((level, message))


class FakeContext:
    """A request without a brick behind it."""

    _numbers = itertools.count(1)

    def __init__(self, fop: str = "lookup", client: int = 1, uid: int = 0, is_internal: bool = False) -> None:
        self.fop = fop
        self.id = next(self._numbers)
        self.unique = self.id + 1000
        self.local: Any = None
        self.caller = SimpleNamespace(client=client, uid=uid, is_internal=is_internal)
        self.finished: list[Any] = []

    def finish(self, outcome: Any) -> None:
        if self.finished:
            raise RuntimeError("the request is answered already")
        self.finished.append(outcome)


@pytest.fixture
def host() -> FakeHost:
    return FakeHost()


@pytest.fixture
def context() -> type[FakeContext]:
    return FakeContext


@pytest.fixture
def load(host: FakeHost) -> Callable[..., Any]:
    """Loads an example: ``load("negative", "glupy", limit="5")``."""

    def load_example(module: str, folder: str = ".", **options: str) -> Any:
        path = [str(EXAMPLES / folder), str(EXAMPLES)]
        named = {name.replace("_", "-"): value for name, value in options.items()}
        return _host.load("layer", module, None, path, named, host)  # type: ignore[arg-type]

    return load_example


@pytest.fixture
def write_module(tmp_path: Path, host: FakeHost) -> Iterator[Callable[..., Any]]:
    """Writes a module and loads it: ``write_module("class A(kiln.Translator): ...")``."""
    numbers = itertools.count()
    before = list(sys.path)

    def write(text: str, class_name: str | None = None, **options: str) -> Any:
        name = f"written_{tmp_path.name}_{next(numbers)}"
        (tmp_path / f"{name}.py").write_text("import kiln\n" + text)
        return _host.load("layer", name, class_name, [str(tmp_path)], options, host)  # type: ignore[arg-type]

    yield write
    sys.path[:] = before
