"""What the brick calls: loads a translator and runs its hooks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Final, TypeGuard, TypeVar

from . import logging as kiln_logging
from ._handlers import Handler, find_handlers
from ._modules import load_module
from ._names import suggestion
from .errors import LoadError
from .options import Option, OptionValue, parse_all, refuse_fixed
from .translator import Translator, bind, declared_options

if TYPE_CHECKING:
    from ._native import Fd, Host

__all__ = ["Handler", "LoadError", "Loaded", "load"]

T = TypeVar("T")

_HOOKS: Final = ("notify", "forget", "release", "releasedir", "fini", "statedump")


class Loaded:
    """A translator at work."""

    instance: Final[Translator]
    handlers: Final[dict[str, Handler]]
    hooks: Final[frozenset[str]]

    def __init__(self, instance: Translator, handlers: dict[str, Handler], declared: Sequence[Option]) -> None:
        self.instance = instance
        self.handlers = handlers
        cls = type(instance)
        self.hooks = frozenset(hook for hook in _HOOKS if getattr(cls, hook) is not getattr(Translator, hook))
        self._declared = declared

    def reconfigure(self, options: dict[str, str]) -> None:
        """Takes new options, all or none of them."""
        values = parse_all(self._declared, options)
        current: Mapping[str, OptionValue] = self.instance.options
        refuse_fixed(self._declared, current, values)
        _guarded("reconfigure", lambda: self.instance.reconfigure(values))
        self.instance.options = values

    def notify(self, event: str, detail: object) -> None:
        """Passes an event on."""
        self.instance.notify(event, detail)

    def forget(self, gfid: bytes) -> None:
        """An object leaves the brick's memory."""
        self.instance.forget(gfid)

    def release(self, fd: Fd) -> None:
        """A file is closed."""
        self.instance.release(fd)

    def releasedir(self, fd: Fd) -> None:
        """A directory is closed."""
        self.instance.releasedir(fd)

    def statedump(self) -> object:
        """The translator's own state."""
        return self.instance.statedump()

    def fini(self) -> None:
        """The layer goes."""
        self.instance.fini()


def load(
    name: str, module: str, class_name: str | None, search_path: list[str], options: dict[str, str], host: Host
) -> Loaded:
    """Loads a translator for the layer `name`. Whatever is wrong with it comes out as an Exception with its cause."""
    kiln_logging.adopt_root(host)
    loaded = _guarded(f"module `{module}`", lambda: load_module(module, search_path))
    chosen = _choose(loaded, class_name)
    if chosen is None:
        return _load_old_style(name, loaded, class_name, options, host)
    declared = declared_options(chosen)
    values = parse_all(declared, options)
    instance = _guarded(f"`{chosen.__name__}()`", lambda: _construct(chosen, name, host, values))
    handlers = find_handlers(instance)
    _guarded(f"`{chosen.__name__}.init`", instance.init)
    return Loaded(instance, handlers, declared)


def _construct(cls: type[Translator], name: str, host: Host, values: Mapping[str, OptionValue]) -> Translator:
    instance = cls.__new__(cls)
    bind(instance, name, host, kiln_logging.translator_logger(name, host), values)
    instance.__init__()  # type: ignore[misc]
    return instance


def _load_old_style(
    name: str, module: ModuleType, class_name: str | None, options: dict[str, str], host: Host
) -> Loaded:
    from gluster._bridge import adapt

    if options:
        raise LoadError(f"`{module.__name__}` is written for glupy, which had no options: remove `option.*`")
    instance, handlers = _guarded(
        f"`{module.__name__}.{class_name or 'xlator'}`", lambda: adapt(module, class_name or "xlator", host)
    )
    bind(instance, name, host, kiln_logging.translator_logger(name, host), {})
    return Loaded(instance, handlers, ())


def _guarded(what: str, call: Callable[[], T]) -> T:
    """Calls the author's code. ``sys.exit`` and its like must not end the brick."""
    try:
        return call()
    except Exception:
        raise
    except BaseException as error:
        raise LoadError(f"{what} raised {type(error).__name__}: {error}") from error


def _choose(module: ModuleType, class_name: str | None) -> type[Translator] | None:
    """The translator's class; None when the module is written for glupy."""
    if class_name is not None:
        chosen = getattr(module, class_name, None)
        if chosen is None:
            known = [name for name in vars(module) if not name.startswith("_")]
            raise LoadError(f"module `{module.__name__}` has no class `{class_name}`{suggestion(class_name, known)}")
        if _is_translator(chosen):
            return chosen
        if callable(chosen) and not isinstance(chosen, type):
            return None
        if isinstance(chosen, type) and _is_glupy(chosen):
            return None
        raise LoadError(f"`{module.__name__}.{class_name}` is not a subclass of kiln.Translator")
    named = getattr(module, "translator", None)
    if _is_translator(named):
        return named
    candidates = [
        value for value in vars(module).values() if _is_translator(value) and value.__module__ == module.__name__
    ]
    leaves = [cls for cls in candidates if not any(other is not cls and issubclass(other, cls) for other in candidates)]
    unique = list(dict.fromkeys(leaves))
    if len(unique) == 1:
        return unique[0]
    if unique:
        names = ", ".join(cls.__name__ for cls in unique)
        raise LoadError(f"module `{module.__name__}` defines several translators ({names}): name one in `class-name`")
    if callable(getattr(module, "xlator", None)):
        return None
    raise LoadError(
        f"module `{module.__name__}` defines no translator: a subclass of kiln.Translator, or glupy's `xlator`"
    )


def _is_translator(value: object) -> TypeGuard[type[Translator]]:
    return isinstance(value, type) and issubclass(value, Translator) and value is not Translator


def _is_glupy(cls: type) -> bool:
    return "__init__" in vars(cls) or any(name.endswith(("_fop", "_cbk")) for name in dir(cls))
