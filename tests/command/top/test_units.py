"""Numbers for people."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux.command.top.units import ASCII_BLOCKS, count, duration, lag, size, spark


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"), (0.001, "<0.01"), (0.25, "0.25"), (0.5, "0.5"), (0.996, "1.0"), (12, "12"), (12.5, "12.5"),
        (99.96, "100"), (999, "999"), (999.4, "999"), (999.5, "1.0k"), (1234, "1.2k"), (98_140, "98.1k"),
        (999_499, "999k"), (999_500, "1.0M"), (3.4e6, "3.4M"), (2e18, "2000P"),
    ],
)  # fmt: skip
def test_count(value: float, shown: str) -> None:
    """Three digits at most, then the next unit."""
    assert count(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0 B"), (512, "512 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (98.2 * 1024**2, "98.2 MiB"),
     (1023.6 * 1024, "1.0 MiB"), (3 * 1024**3, "3.0 GiB")],
)  # fmt: skip
def test_size(value: float, shown: str) -> None:
    """Binary units, as the settings have them."""
    assert size(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0s"), (59.9, "59s"), (200, "3m 20s"), (15_120, "4h 12m"), (273_600, "3d 04h"), (2.7e7, "312d")],
)
def test_duration(value: float, shown: str) -> None:
    """Two units at most."""
    assert duration(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0 ms"), (0.0004, "0.4 ms"), (0.012, "12 ms"), (1.2, "1.2 s"), (120, "120 s")]
)
def test_lag(value: float, shown: str) -> None:
    """Milliseconds, until they are seconds."""
    assert lag(value) == shown


@given(st.floats(0, 1e15), st.floats(0, 1e8))
def test_numbers_stay_in_their_columns(value: float, seconds: float) -> None:
    """Whatever a server says, up to a million billion and three years."""
    assert len(count(value)) <= 5
    assert len(size(value)) <= 8
    assert len(duration(seconds)) <= 7


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
