"""What ends with a token is ended, and not all together."""

from __future__ import annotations

from collections import Counter
from math import inf
from random import Random

from mux.endpoints.expiry import SPREAD_SECONDS, STALE_SECONDS, Expiry


def test_a_thing_is_ended_when_its_time_is_over() -> None:
    """Not before, and once."""
    ended: list[int] = []
    expiry = Expiry(ended.append)
    expiry.watch(1, 100.5)
    expiry.watch(2, 160.0)
    expiry.tick(100.4)
    assert ended == []
    expiry.tick(101.0)
    expiry.tick(102.0)
    assert ended == [1]
    expiry.tick(161.0)
    assert ended == [1, 2]
    assert len(expiry) == 0


def test_what_is_over_already_is_ended_at_the_next_tick() -> None:
    """A token has ended while its client was being let in."""
    ended: list[int] = []
    expiry = Expiry(ended.append)
    expiry.tick(200.0)
    expiry.watch(1, 150.0)
    expiry.tick(201.0)
    assert ended == [1]


def test_what_does_not_end_costs_nothing() -> None:
    """Nothing is kept of it."""
    expiry: Expiry[int] = Expiry(print)
    expiry.watch(1, inf)
    expiry.forget(1, inf)
    assert len(expiry) == 0


def test_what_was_taken_out_is_not_ended() -> None:
    """The others of its second are; what is taken out twice, or was never there, does no harm."""
    ended: list[int] = []
    expiry = Expiry(ended.append)
    expiry.watch(1, 100.0)
    expiry.watch(2, 100.0)
    for _ in range(2):
        expiry.forget(1, 100.0)
    expiry.forget(3, 50.0)
    expiry.tick(100.0)
    assert ended == [2]


def test_many_that_end_together_are_ended_over_some_seconds() -> None:
    """Each within these seconds, and in none of them more than twice its share."""
    ended: list[int] = []
    expiry = Expiry(ended.append, Random(1))
    for number in range(1000):
        expiry.watch(number, 100.0)
    counts: Counter[int] = Counter()
    for second in range(int(SPREAD_SECONDS) + 1):
        before = len(ended)
        expiry.tick(100.0 + second)
        counts[second] = len(ended) - before
    assert sorted(ended) == list(range(1000))
    assert max(counts.values()) <= 2 * 1000 / SPREAD_SECONDS


def test_things_that_come_and_go_leave_nothing() -> None:
    """The same token again and again, and tokens of many seconds."""
    expiry: Expiry[int] = Expiry(print)
    for number in range(10_000):
        expiry.watch(number, 1000.0 + number % 5000)
        expiry.forget(number, 1000.0 + number % 5000)
    assert len(expiry._seconds) <= STALE_SECONDS + 1
    assert not expiry._ends
