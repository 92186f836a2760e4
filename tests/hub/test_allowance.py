from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux import reasons
from mux.hub.allowance import FIRST_SWEEP, Allowance, Pace


def allowance(per_second: float = 10, burst: float = 5) -> Allowance[str]:
    """Return buckets of 5 tokens that fill in half a second."""
    return Allowance(per_second=per_second, burst=burst)


def test_a_burst_may_be_spent_at_once() -> None:
    """And not one token more."""
    buckets = allowance()
    assert [buckets.spend("a", 1, 100.0) for _ in range(6)] == [1, 1, 1, 1, 1, 0]


def test_more_than_there_is_gives_what_there_is() -> None:
    """However the spending is cut, as many tokens are had."""
    assert allowance().spend("a", 8, 100.0) == 5


def test_nothing_is_always_there() -> None:
    """An empty bucket has no tokens, and none may be asked of it."""
    buckets = allowance()
    buckets.spend("a", 5, 0.0)
    assert buckets.spend("a", 0, 0.0) == 0


def test_tokens_come_back_with_time() -> None:
    """At the rate, and no more than fit in the bucket."""
    buckets = allowance()
    buckets.spend("a", 5, 100.0)
    assert [buckets.spend("a", 9, now) for now in (100.1, 100.3, 109.0)] == [1, 2, 5]


def test_everybody_has_a_bucket_of_their_own() -> None:
    """Who spends, spends nobody else's."""
    buckets = allowance()
    assert (buckets.spend("a", 5, 0.0), buckets.spend("b", 5, 0.0)) == (5, 5)


def test_only_buckets_that_are_not_full_are_kept() -> None:
    """Thousands may have spoken; who has been silent since costs nothing, once others speak."""
    buckets = allowance()
    for number in range(FIRST_SWEEP):
        buckets.spend(f"{number}", 1, 0.0)
    assert len(buckets) == FIRST_SWEEP
    buckets.spend("late", 1, 60.0)
    assert len(buckets) == 1


def test_a_sweep_takes_no_bucket_that_is_in_use() -> None:
    """Or many could fill each other's buckets."""
    buckets = allowance()
    for number in range(FIRST_SWEEP + 1):
        buckets.spend(f"{number}", 5, 0.0)
    assert [buckets.spend(f"{number}", 1, 0.0) for number in range(FIRST_SWEEP + 1)] == [0] * (FIRST_SWEEP + 1)


def test_who_is_forgotten_has_a_full_bucket() -> None:
    """A connection that is gone leaves nothing."""
    buckets = allowance()
    buckets.spend("a", 5, 0.0)
    buckets.forget("a")
    buckets.forget("nobody")
    assert len(buckets) == 0
    assert buckets.spend("a", 5, 0.0) == 5


@given(
    st.floats(0.01, 1e6),
    st.integers(1, 1000),
    st.lists(st.tuples(st.floats(0, 10), st.integers(0, 2000)), max_size=30),
)
def test_nobody_has_more_than_the_rate_and_a_burst(
    per_second: float, burst: int, spends: list[tuple[float, int]]
) -> None:
    """However the asking is spread over time; and who waits for a full bucket has it."""
    buckets = allowance(per_second, burst)
    now = taken = 0.0
    for pause, count in spends:
        now += pause
        taken += buckets.spend("a", count, now)
        assert taken <= burst + now * per_second + 1
    assert buckets.spend("a", burst, now + burst / per_second + 1) == burst


@pytest.mark.parametrize(
    ("messages", "control_frames", "sent", "outcome"),
    [
        (None, None, (9, 9), (9, None)),
        (allowance(), None, (9, 9), (5, reasons.MESSAGES)),
        (None, allowance(), (9, 9), (9, reasons.CONTROL_FRAMES)),
        (allowance(), allowance(), (5, 5), (5, None)),
        (allowance(), allowance(), (5, 6), (5, reasons.CONTROL_FRAMES)),
        (allowance(), allowance(), (6, 6), (5, reasons.MESSAGES)),
        (allowance(), allowance(), (0, 0), (0, None)),
    ],
)
def test_pace_counts_what_is_limited(
    messages: Allowance[str] | None,
    control_frames: Allowance[str] | None,
    sent: tuple[int, int],
    outcome: tuple[int, str | None],
) -> None:
    """Each kind by its own; the first that is too much is named."""
    pace = Pace(messages, control_frames)
    assert pace.is_limited == (messages is not None or control_frames is not None)
    assert pace.count("a", *sent, 0.0) == outcome


def test_pace_forgets_both() -> None:
    """Whichever are limited."""
    messages = allowance()
    pace = Pace(messages, None)
    pace.count("a", 5, 5, 0.0)
    pace.forget("a")
    assert len(messages) == 0
