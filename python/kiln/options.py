"""Options that a translator declares and the volfile sets as ``option option.NAME VALUE``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, Self, TypeAlias, overload

from ._names import suggestion

OptionValue: TypeAlias = int | float | bool | str
"""A value as a translator sees it: sizes are ``int`` bytes, times are ``float`` seconds."""

OptionType: TypeAlias = type[int] | type[float] | type[bool] | type[str] | Literal["size", "time"]
"""What an option holds. ``"size"`` is bytes such as ``64KB``, ``"time"`` is a duration such as ``500ms``."""

_BOOLEANS: Final = {
    **dict.fromkeys(("on", "yes", "true", "enable", "1"), True),
    **dict.fromkeys(("off", "no", "false", "disable", "0"), False),
}
_SIZES: Final = {"": 0, "b": 0} | {
    unit + tail: shift
    for unit, shift in (("k", 10), ("m", 20), ("g", 30), ("t", 40), ("p", 50))
    for tail in ("", "b")
}
_TIMES: Final = {
    **dict.fromkeys(("", "s", "sec", "secs"), 1.0),
    "ms": 1e-3,
    "us": 1e-6,
    **dict.fromkeys(("m", "min"), 60.0),
    **dict.fromkeys(("h", "hr"), 3600.0),
    **dict.fromkeys(("d", "days"), 86_400.0),
    **dict.fromkeys(("w", "wk"), 604_800.0),
}


def _split_unit(text: str) -> tuple[str, str]:
    number = text.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
    return number, text[len(number) :].strip()


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError
    return number


def _parse_bool(text: str) -> bool:
    return _BOOLEANS[text.lower()]


def _parse_size(text: str) -> int:
    number, unit = _split_unit(text)
    shift = _SIZES[unit.lower()]
    size = int(number) << shift if number.isdecimal() else int(_finite(number) * (1 << shift))
    if size < 0:
        raise ValueError
    return size


def _parse_time(text: str) -> float:
    number, unit = _split_unit(text)
    seconds = _finite(number) * _TIMES[unit]
    if seconds < 0:
        raise ValueError
    return seconds


_PARSERS: Final[dict[OptionType, tuple[str, Callable[[str], OptionValue]]]] = {
    int: ("an integer", lambda text: int(text, 0)),
    float: ("a number", _finite),
    bool: ("a boolean (on or off)", _parse_bool),
    str: ("text", str),
    "size": ("a size (such as 64KB)", _parse_size),
    "time": ("a time (such as 500ms)", _parse_time),
}


class Option:
    """Declares one option: ``options = (Option("limit", int, default=1000, minimum=1, description="..."),)``.

    An option without a default must be given in the volfile. One that is not ``reconfigurable`` keeps its value until
    the graph is replaced; a reconfiguration that changes it is refused.
    """

    __slots__ = ("name", "type", "default", "minimum", "maximum", "choices", "description", "reconfigurable")

    name: Final[str]
    type: Final[OptionType]
    default: Final[OptionValue | None]
    minimum: Final[OptionValue | None]
    maximum: Final[OptionValue | None]
    choices: Final[tuple[OptionValue, ...]]
    description: Final[str]
    reconfigurable: Final[bool]

    def __init__(
        self,
        name: str,
        type: OptionType = str,
        *,
        default: OptionValue | None = None,
        minimum: OptionValue | None = None,
        maximum: OptionValue | None = None,
        choices: Iterable[OptionValue] = (),
        description: str = "",
        reconfigurable: bool = False,
    ) -> None:
        if type not in _PARSERS:
            raise TypeError(f"option `{name}`: type must be int, float, bool, str, 'size' or 'time', not {type!r}")
        self.name = name
        self.type = type
        self.description = description
        self.reconfigurable = reconfigurable
        self.choices = tuple(self._typed(choice) for choice in choices)
        self.minimum = None if minimum is None else self._typed(minimum)
        self.maximum = None if maximum is None else self._typed(maximum)
        self.default = None if default is None else self._checked(self._typed(default))

    def __repr__(self) -> str:
        return f"Option({self.name!r}, {self.type_name}, default={self.default!r})"

    @property
    def type_name(self) -> str:
        """The type as text: ``int``, ``size`` …"""
        return self.type if isinstance(self.type, str) else self.type.__name__

    def parse(self, text: str) -> OptionValue:
        """The value of `text`, or ValueError with a message that names the option."""
        return self._checked(self._converted(text))

    def _converted(self, text: str) -> OptionValue:
        what, parser = _PARSERS[self.type]
        try:
            return parser(text.strip() if self.type is not str else text)
        except (ValueError, KeyError, OverflowError):
            raise ValueError(f"option `{self.name}`: {text!r} is not {what}") from None

    def _typed(self, value: OptionValue) -> OptionValue:
        """A value from a declaration: of the right type, or text as the volfile would have it."""
        if isinstance(value, str) and self.type is not str:
            return self._converted(value)
        wanted = {"size": int, "time": float}.get(self.type, self.type) if isinstance(self.type, str) else self.type
        if wanted is float and type(value) is int:
            return float(value)
        if type(value) is not wanted:
            raise TypeError(f"option `{self.name}` is declared as {self.type_name}, but {value!r} is not one")
        return value

    def _checked(self, value: OptionValue) -> OptionValue:
        if self.choices and value not in self.choices:
            allowed = ", ".join(str(choice) for choice in self.choices)
            raise ValueError(f"option `{self.name}`: {value!r} is not one of {allowed}")
        if isinstance(value, str):
            return value
        if self.minimum is not None and not isinstance(self.minimum, str) and value < self.minimum:
            raise ValueError(f"option `{self.name}`: {value} is less than {self.minimum}")
        if self.maximum is not None and not isinstance(self.maximum, str) and value > self.maximum:
            raise ValueError(f"option `{self.name}`: {value} is more than {self.maximum}")
        return value


class Options(tuple[Option, ...]):
    """What a class declares: ``options = Options(Option(...), Option(...))``.

    A tuple does as well; type checkers understand with this that ``self.options`` of an instance is its values by name.
    """

    def __new__(cls, *options: Option) -> Self:
        return super().__new__(cls, options)

    @overload
    def __get__(self, instance: None, owner: type, /) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type, /) -> Mapping[str, Any]: ...
    def __get__(self, instance: object, owner: type, /) -> Self | Mapping[str, Any]:
        """The declaration itself, of a class and of an instance that is not at work yet."""
        # An instance that is at work has its values in its own dictionary, which comes before this.
        return self


def parse_all(declared: Iterable[Option], given: Mapping[str, str]) -> Mapping[str, OptionValue]:
    """All values, in the order of the declarations: ValueError for an unknown, missing or wrong one."""
    known: dict[str, Option] = {}
    for option in declared:
        if not isinstance(option, Option):
            raise TypeError(f"`options` must hold kiln.Option objects, not {option!r}")
        if option.name in known:
            raise ValueError(f"option `{option.name}` is declared twice")
        known[option.name] = option
    for name in given:
        if name not in known:
            hint = suggestion(name, known) or (f"; it has {', '.join(known)}" if known else "; it declares none")
            raise ValueError(f"the translator has no option `{name}`{hint}")
    values: dict[str, OptionValue] = {}
    for name, option in known.items():
        if name in given:
            values[name] = option.parse(given[name])
        elif option.default is None:
            raise ValueError(f"option `{name}` is required: set `option option.{name} VALUE` in the volfile")
        else:
            values[name] = option.default
    return MappingProxyType(values)


def refuse_fixed(declared: Iterable[Option], old: Mapping[str, OptionValue], new: Mapping[str, OptionValue]) -> None:
    """ValueError when an option that is not reconfigurable would change."""
    for option in declared:
        if not option.reconfigurable and old[option.name] != new[option.name]:
            raise ValueError(f"option `{option.name}` cannot be changed while the translator runs")
