from __future__ import annotations

import pytest

from mux.metrics.histogram import Histogram, upper_bounds


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
