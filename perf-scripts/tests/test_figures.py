"""Medians, ratios, targets, and how numbers are written."""

import pytest
from figures import Spread, Target, multiple, quantity, ratios, significant, with_spread
from rounds import alternate, order


def test_a_spread_is_of_what_was_measured():
    assert Spread.of([3, 1, 2]) == Spread(2, 1, 3, 3)
    assert Spread.of([None, 4, 2]) == Spread(3, 2, 4, 2)
    assert Spread.of([None]) is None
    assert Spread.parse(Spread.of([1.5, 2]).json()) == Spread(1.75, 1.5, 2, 2)


def test_ratios_are_taken_within_a_round():
    # Everything took ten times as long in the second round: that is in no ratio.
    assert ratios([1, 10, 1], [4, 40, 5]) == Spread(0.25, 0.2, 0.25, 3)
    assert ratios([1, None], [0, 5]) is None
    with pytest.raises(ValueError):
        ratios([1], [1, 2])


@pytest.mark.parametrize(("ratio", "most", "met"), [(0.5, True, True), (0.51, True, False), (0.5, False, True), (0.49, False, False)])
def test_targets_hold_up_to_their_limit(ratio, most, met):
    assert Target(0.5, most).met(Spread(ratio, 0, 9, 3)) is met
    assert Target(0.5, most).met(None) is None


def test_how_ratios_are_written():
    assert multiple(1 / 8.74, "fraction") == "1/8.7"
    assert multiple(1.25, "fraction") == "1.2×" and multiple(0.62, "times") == "0.62×"
    assert Target(1 / 9, True).text("fraction") == "≤ 1/9" and Target(2, False).text("times") == "≥ 2×"
    spread = Spread(0.25, 0.2, 0.5, 3)
    assert with_spread(spread, lambda value: multiple(value, "fraction")) == "1/4.0 [1/5.0..1/2.0]"
    assert with_spread(Spread(2, 1.5, 3, 3), lambda value: multiple(value, "times")) == "2.0× [1.5..3.0]"
    assert with_spread(Spread(2, 2, 2, 1), str) == "2" and with_spread(None, str) == "–"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (4310, "ns", "4.31 µs"),
        (999, "ns", "999 ns"),
        (2.5e6, "ns", "2.50 ms"),
        (56_600, "per_s", "56.6 k/s"),
        (0.5, "per_s", "0.500 /s"),
        (3 << 20, "bytes", "3.00 MiB"),
        (6.29e9, "bytes_per_cpu_s", "6.29 GB/CPU s"),
        (0.125, "share", "12.5%"),
        (0, "ns", "0"),
        (None, "ns", "–"),
    ],
)
def test_how_quantities_are_written(value, unit, text):
    assert quantity(value, unit) == text


def test_digits_that_count():
    assert [significant(value, 3) for value in (1234, 12.34, 0.01234, 2.0)] == ["1,234", "12.3", "0.0123", "2"]
    assert significant(2.0, 3, trim=False) == "2.00" and significant(0) == "0" and significant(float("inf")) == "∞"


def test_rounds_alternate_and_the_first_is_dropped():
    calls = []

    def measure(side, turn, dropped):
        calls.append((side, turn, dropped))
        return turn * 10 + len(calls)

    got = alternate(["a", "b"], 2, measure)
    assert [side for side, _, _ in calls] == ["a", "b", "b", "a", "a", "b"]
    assert [dropped for _, _, dropped in calls] == [True, True, False, False, False, False]
    assert got == {"a": [14, 25], "b": [13, 26]}
    assert order("abc", 1) == ["c", "b", "a"]
