"""Makes the sources that lie within the brick importable.

They go before everything on the import path: a `kiln` that is installed for Python belongs to another version of the
brick, or to tests, and must not be mixed with this one.
"""

import sys
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import Mapping, Optional, Sequence


class EmbeddedSources(MetaPathFinder, InspectLoader):
    """Finds and loads modules from a table of sources by path, such as ``kiln/options.py``."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        self._modules: dict[str, tuple[str, str, bool]] = {}
        for path, text in sources.items():
            parts = path.removesuffix(".py").split("/")
            package = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if package else parts)
            top, _, rest = path.partition("/")
            self._modules[name] = (f"<{top}>/{rest}", text, package)

    def find_spec(
        self, fullname: str, path: Optional[Sequence[str]] = None, target: Optional[ModuleType] = None
    ) -> Optional[ModuleSpec]:
        known = self._modules.get(fullname)
        if known is None:
            return None
        spec = ModuleSpec(fullname, self, origin=known[0], is_package=known[2])
        spec.has_location = True
        return spec

    def is_package(self, fullname: str) -> bool:
        return self._known(fullname)[2]

    def get_source(self, fullname: str) -> str:
        return self._known(fullname)[1]

    def get_code(self, fullname: str) -> CodeType:
        file, text, _ = self._known(fullname)
        return compile(text, file, "exec", dont_inherit=True)

    def _known(self, fullname: str) -> tuple[str, str, bool]:
        if fullname not in self._modules:
            raise ImportError(f"no module named {fullname!r} within the brick", name=fullname)
        return self._modules[fullname]


def install(sources: Mapping[str, str]) -> None:
    """Puts the sources before all else on the import path. A second call does nothing."""
    if not any(type(finder).__name__ == EmbeddedSources.__name__ for finder in sys.meta_path):
        sys.meta_path.insert(0, EmbeddedSources(sources))
