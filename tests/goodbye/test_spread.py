from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux.goodbye.spread import SECONDS_PER_BATCH, SMALLEST_BATCH, spread


@given(count=st.integers(0, 400), seconds=st.floats(0, 60), seed=st.integers())
def test_everything_is_spread_once_and_in_time(count: int, seconds: float, seed: int) -> None:
    """Nothing is forgotten or told twice; moments are in order, from at once to before the end."""
    batches = spread(range(count), seconds, Random(seed))
    assert sorted(thing for _, batch in batches for thing in batch) == list(range(count))
    moments = [due for due, _ in batches]
    assert moments == sorted(moments)
    assert all(0 <= due <= seconds for due in moments)
    assert not moments or moments[0] == 0
    assert all(batch for _, batch in batches)


def test_batches_are_small_and_even() -> None:
    """10,000 over 5 s: fifty batches of 200, none of which is a herd."""
    batches = spread(range(10_000), 5, Random(1))
    assert [len(batch) for _, batch in batches] == [200] * 50
    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(batches)]
    assert max(gaps) <= 2 * SECONDS_PER_BATCH


def test_order_and_moments_are_a_dice_s() -> None:
    """Two servers that stop together do not do it in step."""
    one, other = spread(range(1000), 5, Random(1)), spread(range(1000), 5, Random(2))
    assert [due for due, _ in one] != [due for due, _ in other]
    assert one[0][1] != other[0][1]
    assert one == spread(range(1000), 5, Random(1))


@pytest.mark.parametrize(("count", "seconds"), [(SMALLEST_BATCH * 2 - 1, 60), (1000, 0)])
def test_a_handful_and_no_time_are_one_batch(count: int, seconds: float) -> None:
    """Who has a few clients, or says 0, does not wait."""
    ((due, batch),) = spread(range(count), seconds, Random(1))
    assert due == 0
    assert len(batch) == count
