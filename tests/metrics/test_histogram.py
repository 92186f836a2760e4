from __future__ import annotations

import logging

import pytest

from mux.metrics.histogram import LAG_TICK_SECONDS, RECENT_TICKS, Histogram, LoopLag, upper_bounds


@pytest.mark.parametrize(
    ("number", "bucket"), [(0, 0), (1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (8, 3), (9, 4), (16, 4), (10**9, 4)]
)
def test_a_number_is_counted_where_it_belongs(number: int, bucket: int) -> None:
    """A bucket's upper bound is in it, and the last bucket takes all that is larger."""
    histogram = Histogram(buckets=5)
    histogram.observe(number)
    assert histogram.counts == [int(place == bucket) for place in range(5)]
    assert histogram.total == number


def test_bounds_double() -> None:
    """Powers of two; the last has no end."""
    assert list(upper_bounds(5)) == [1, 2, 4, 8, None]


def test_a_loop_in_time_has_no_lag() -> None:
    """The first tick is nothing to compare with; a clock may be a little early."""
    lag = LoopLag()
    for now in (7.0, 7.0 + LAG_TICK_SECONDS, 7.0 + LAG_TICK_SECONDS * 2 - 1e-9):
        lag.tick(now)
    assert sum(lag.lags.counts) == 2
    assert lag.lags.total <= 2
    assert lag.stalls == 0


def test_a_stall_is_logged_once_with_its_length(caplog: pytest.LogCaptureFixture) -> None:
    """2.5 s in which nobody was served are one line and one stall; the next tick is in time again."""
    lag = LoopLag()
    with caplog.at_level(logging.WARNING):
        lag.tick(1.0)
        lag.tick(3.5 + LAG_TICK_SECONDS)
        lag.tick(3.5 + 2 * LAG_TICK_SECONDS)
    assert [record.message for record in caplog.records] == ["the event loop stood still for 2.5 s: nobody was served"]
    assert lag.stalls == 1
    assert 2_400_000 < lag.lags.total < 2_600_000


def test_a_short_lag_is_counted_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Under a second it is a number."""
    lag = LoopLag()
    lag.tick(1.0)
    lag.tick(1.9 + LAG_TICK_SECONDS)
    assert lag.lags.total > 890_000
    assert lag.stalls == 0
    assert not caplog.records


def test_the_longest_lag_is_of_the_last_five_seconds() -> None:
    """What was before is history, in the histogram."""
    lag = LoopLag()
    assert lag.longest == 0
    lag.tick(0.0)
    lag.tick(0.5 + LAG_TICK_SECONDS)
    assert lag.longest == pytest.approx(0.5)
    now = 0.5 + LAG_TICK_SECONDS
    for _ in range(RECENT_TICKS):
        now += LAG_TICK_SECONDS
        lag.tick(now)
    assert lag.longest == pytest.approx(0.0)
