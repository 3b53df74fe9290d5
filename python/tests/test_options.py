from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiln import Option
from kiln.options import parse_all, refuse_fixed


@pytest.mark.parametrize(
    ("option", "text", "value"),
    [
        (Option("n", int), "42", 42),
        (Option("n", int), "0x10", 16),
        (Option("n", int), " -3 ", -3),
        (Option("x", float), "2.5", 2.5),
        (Option("b", bool), "on", True),
        (Option("b", bool), "Disable", False),
        (Option("s", str), " kept as it is ", " kept as it is "),
        (Option("z", "size"), "64KB", 65536),
        (Option("z", "size"), "1.5m", 1572864),
        (Option("z", "size"), "7", 7),
        (Option("t", "time"), "500ms", 0.5),
        (Option("t", "time"), "2min", 120.0),
        (Option("t", "time"), "3", 3.0),
    ],
)
def test_values_of_each_type(option: Option, text: str, value: object) -> None:
    parsed = option.parse(text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("option", "text", "complaint"),
    [
        (Option("n", int), "many", "`n`: 'many' is not an integer"),
        (Option("n", int, minimum=1), "0", "0 is less than 1"),
        (Option("n", int, maximum=9), "10", "10 is more than 9"),
        (Option("x", float), "nan", "not a number"),
        (Option("x", float), "inf", "not a number"),
        (Option("b", bool), "perhaps", "not a boolean"),
        (Option("z", "size"), "64XB", "not a size"),
        (Option("z", "size"), "-1", "not a size"),
        (Option("z", "size"), "KB", "not a size"),
        (Option("t", "time"), "1 fortnight", "not a time"),
        (Option("t", "time", minimum="10ms"), "1ms", "less than 0.01"),
        (Option("s", str, choices=("a", "b")), "c", "not one of a, b"),
    ],
)
def test_bad_values_are_named(option: Option, text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        option.parse(text)


def test_declarations_are_checked() -> None:
    with pytest.raises(TypeError, match="declared as int"):
        Option("n", int, default=1.5)
    with pytest.raises(TypeError, match="declared as int"):
        Option("n", int, default=True)
    with pytest.raises(ValueError, match="less than"):
        Option("n", int, default=0, minimum=1)
    with pytest.raises(TypeError, match="type must be"):
        Option("n", list)  # type: ignore[arg-type]
    assert Option("z", "size", default="1KB").default == 1024
    assert Option("x", float, default=1).default == 1.0


def test_all_options_at_once() -> None:
    declared = (Option("limit", int, default=5, reconfigurable=True), Option("key"))
    assert dict(parse_all(declared, {"key": "x"})) == {"limit": 5, "key": "x"}
    with pytest.raises(ValueError, match="`key` is required"):
        parse_all(declared, {})
    with pytest.raises(ValueError, match="no option `limti`; did you mean `limit`"):
        parse_all(declared, {"key": "x", "limti": "3"})
    with pytest.raises(ValueError, match="declared twice"):
        parse_all((Option("a", default="1"), Option("a", default="2")), {})
    with pytest.raises(TypeError):
        parse_all(declared, {"key": "x"})["limit"] = 3  # type: ignore[index]
    old = parse_all(declared, {"key": "x"})
    refuse_fixed(declared, old, parse_all(declared, {"key": "x", "limit": "9"}))
    with pytest.raises(ValueError, match="`key` cannot be changed"):
        refuse_fixed(declared, old, parse_all(declared, {"key": "y"}))


@given(st.text(), st.sampled_from([int, float, bool, str, "size", "time"]))
def test_any_text_is_a_value_or_a_value_error(text: str, kind: object) -> None:
    option = Option("o", kind)  # type: ignore[arg-type]
    try:
        option.parse(text)
    except ValueError as error:
        assert "`o`" in str(error)


@given(st.integers(0, 1 << 70), st.sampled_from(["", "B", "KB", "m", "GB"]))
def test_sizes_are_exact(number: int, unit: str) -> None:
    shift = {"": 0, "B": 0, "KB": 10, "m": 20, "GB": 30}[unit]
    assert Option("z", "size").parse(f"{number}{unit}") == number << shift
