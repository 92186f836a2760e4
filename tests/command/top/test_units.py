"""Numbers for people."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux.command.top.units import ASCII_BLOCKS, BYTES, SECONDS, amount, spark


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"), (0.001, "0"), (0.25, "0.25"), (0.5, "0.5"), (0.996, "1"), (12, "12"), (12.5, "12.5"), (99.96, "100"),
        (999, "999"), (999.4, "999"), (999.5, "1k"), (1234, "1.2k"), (98_140, "98.1k"), (999_499, "999k"),
        (999_500, "1M"), (3.4e6, "3.4M"), (2e18, "2E"),
    ],
)  # fmt: skip
def test_a_count_has_three_digits_at_most(value: float, shown: str) -> None:
    """Then the next unit."""
    assert amount(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0 B"), (512, "512 B"), (1023, "1023 B"), (1024, "1 KiB"), (98.2 * 1024**2, "98.2 MiB"),
     (1023.6 * 1024, "1 MiB"), (3 * 1024**3, "3 GiB")],
)  # fmt: skip
def test_a_size_has_the_units_of_the_settings(value: float, shown: str) -> None:
    """They are binary."""
    assert amount(value, BYTES) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0 ms"), (0.0004, "0.4 ms"), (0.012, "12 ms"), (1.2, "1.2 s"), (59.9, "59.9 s"), (200, "3.3 min"),
     (15_120, "4.2 h"), (273_600, "3.2 d"), (2.7e7, "312 d")],
)  # fmt: skip
def test_a_time_has_one_unit(value: float, shown: str) -> None:
    """From a delay of the loop to the age of a process."""
    assert amount(value, SECONDS) == shown


@given(st.floats(0, 1e15), st.floats(0, 1e8))
def test_numbers_stay_in_their_columns(value: float, seconds: float) -> None:
    """Whatever a server says, up to a million billion and three years."""
    assert len(amount(value)) <= 5
    assert len(amount(value, BYTES)) <= 8
    assert len(amount(seconds, SECONDS)) <= 8


@given(st.lists(st.floats(0, 1e12)), st.integers(-1, 50))
def test_a_curve_has_its_width(values: list[float], width: int) -> None:
    """Newest at the right; what is not 0 is seen."""
    curve = spark(values, width)
    assert len(curve) == max(width, 0)
    if values and width > 0:
        assert (curve[-1] == " ") is (values[-1] == 0)


def test_a_curve_is_as_high_as_its_range() -> None:
    """What does not move is a low line; what moves by a tenth or more takes the whole height."""
    assert spark([5, 5, 5], 5) == "  ▂▂▂"
    assert spark([0, 50, 100], 3) == " ▄█"
    assert spark([90, 100], 2) == "▂█"
    assert spark([1, 0, 3], 2, ASCII_BLOCKS) == " @"
