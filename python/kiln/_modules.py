"""Finds and loads the module of a translator.

A module belongs to the file that it was read from: two layers may name different files of one module name (through
their search paths), and layers of one file share one module, as glupy's did. A file that has changed since it was read
is read anew for the next layer.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Final

from .errors import LoadError

_Stamp = tuple[int, int]
_loaded: Final[dict[tuple[str, str], tuple[_Stamp, ModuleType]]] = {}
"""By the name that was asked for and the file."""


def load_module(name: str, search_path: Sequence[str]) -> ModuleType:
    """The module `name`, from the search path before anything else. What its code raises passes through."""
    if not all(name.split(".")) or "/" in name or "\0" in name:
        raise LoadError(f"{name!r} is not a module's name: it is a file's name without directory and `.py`")
    path = [os.path.abspath(entry) for entry in search_path if entry]
    for entry in path:
        if entry not in sys.path:
            sys.path.append(entry)
    if name and "." not in name and path:
        importlib.invalidate_caches()
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and spec.origin is not None and spec.loader is not None:
            return _from_file(name, spec, spec.origin)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            places = ", ".join(path) if path else "no search-path is set"
            raise LoadError(f"there is no module `{name}` (looked in: {places}, then sys.path)") from None
        raise


def _from_file(name: str, spec: ModuleSpec, origin: str) -> ModuleType:
    stamp = _stamp(origin)
    known = _loaded.get((name, origin))
    if known is not None and known[0] == stamp:
        return known[1]
    unique = _unique_name(name, origin) if known is None else known[1].__name__
    if unique != spec.name:
        spec = _respelt(spec, unique, origin)
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(unique)
    sys.modules[unique] = module
    try:
        assert spec.loader is not None
        spec.loader.exec_module(module)
    except BaseException:
        if before is None:
            sys.modules.pop(unique, None)
        else:
            sys.modules[unique] = before
        raise
    _loaded[name, origin] = (stamp, module)
    return module


def _unique_name(name: str, origin: str) -> str:
    """What the module is called in `sys.modules`: it must not hide one of Python's or somebody else's."""
    return f"{name}@{origin}" if name in sys.modules or name in sys.stdlib_module_names else name


def _respelt(spec: ModuleSpec, name: str, origin: str) -> ModuleSpec:
    respelt = importlib.util.spec_from_file_location(
        name, origin, submodule_search_locations=spec.submodule_search_locations
    )
    return spec if respelt is None else respelt


def _stamp(origin: str) -> _Stamp:
    try:
        status = os.stat(origin)
    except OSError:
        return (0, 0)
    return (status.st_mtime_ns, status.st_size)
