from __future__ import annotations

from mux.metrics.seat import FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS, START_SECONDS, YOUNG_SECONDS, Seat


def test_the_pause_doubles_as_long_as_workers_die_young_and_begins_anew_after_one_that_lived() -> None:
    """A tenth of a second, and five seconds at most."""
    seat, now = Seat(0), 0.0
    pauses = []
    for _ in range(9):
        seat.started(now, 0)
        now += 1
        pauses.append(seat.ended(now))
        assert seat.due == now + pauses[-1]
    assert pauses[:6] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2]
    assert pauses[6:] == [LAST_PAUSE_SECONDS] * 3
    seat.started(now, 0)
    assert seat.ended(now + YOUNG_SECONDS + 1) == FIRST_PAUSE_SECONDS


def test_a_start_that_fails_is_like_a_death() -> None:
    """The pauses grow in the same way."""
    seat = Seat(0)
    assert [seat.ended(0.0) for _ in range(3)] == [0.1, 0.2, 0.4]


def test_a_worker_without_a_beat_is_called_stalled_and_then_replaced() -> None:
    """And it may come back before that."""
    seat = Seat(5)
    seat.started(0.0, 200)
    assert str(seat.state) == "starting"
    assert not seat.check(201, 1.0)
    assert str(seat.state) == "serving"
    assert [seat.check(201, 1.0) for _ in range(4)] == [False] * 4
    assert str(seat.state) == "stalled"
    assert not seat.check(7, 1.0)
    assert str(seat.state) == "serving"
    assert [seat.check(7, 1.0) for _ in range(6)] == [False] * 5 + [True]


def test_nobody_is_blamed_for_the_time_the_supervisor_slept() -> None:
    """A machine that was suspended for an hour goes on as if nothing had been."""
    seat = Seat(5)
    seat.started(0.0, 0)
    seat.check(1, 1.0)
    assert not seat.check(1, 3600.0)
    assert str(seat.state) == "serving"


def test_a_worker_has_time_to_start_and_is_replaced_when_it_never_does() -> None:
    """Imports on a busy machine take longer than a loop may stand still."""
    seat = Seat(1)
    seat.started(0.0, 0)
    checks = [seat.check(0, 1.0) for _ in range(int(START_SECONDS) + 1)]
    assert checks == [False] * int(START_SECONDS) + [True]
    assert str(seat.state) == "starting"


def test_zero_seconds_replace_nobody() -> None:
    """But it is told how the worker is."""
    seat = Seat(0)
    seat.started(0.0, 0)
    seat.check(1, 1.0)
    assert not any(seat.check(1, 1.0) for _ in range(1000))
    assert str(seat.state) == "stalled"
