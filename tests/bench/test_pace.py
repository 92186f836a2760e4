"""How long the rest takes."""

from __future__ import annotations

import pytest

from bench.pace import Pace


class Clock:
    """Stands still until it is put on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock of our own."""
    return Clock()


def test_nothing_is_promised_before_the_first_step(clock: Clock) -> None:
    """There is nothing to judge by."""
    pace = Pace([("burst", "mux")], clock)
    assert pace.seconds_left is None
    assert pace.share == 0.0
    assert "not known" in pace.said()


def test_a_step_takes_what_it_took_before(clock: Clock) -> None:
    """The second round is known from the first: 2 s and 10 s, not twice the mean."""
    steps = [("burst", "mux"), ("burst", "slow")]
    pace = Pace(steps * 2, clock)
    for seconds in (2.0, 10.0, 2.0):
        clock.now += seconds
        pace.done()
    assert pace.seconds_left == pytest.approx(10.0)
    clock.now += 4.0
    assert pace.seconds_left == pytest.approx(6.0)
    assert pace.share == pytest.approx(18 / 24)


def test_a_new_step_takes_as_long_as_the_same_work_with_others(clock: Clock) -> None:
    """What is slow for one is likely slow for the next; a work nobody has done is as long as a step on average."""
    pace = Pace([("burst", "a"), ("idle", "a"), ("burst", "b"), ("storm", "a")], clock)
    for seconds in (30.0, 2.0):
        clock.now += seconds
        pace.done()
    assert pace.seconds_left == pytest.approx(30.0 + 16.0)
    assert pace.said() == "about 46 s left"


def test_nothing_is_left_at_the_end(clock: Clock) -> None:
    """All is done, and a step that takes longer than expected is not less than nothing."""
    pace = Pace([("burst", "a"), ("burst", "b")], clock)
    clock.now += 200.0
    pace.done()
    assert pace.said() == "about 3 min left"
    clock.now += 500.0
    assert pace.seconds_left == 0.0
    pace.done()
    assert pace.share == 1.0
