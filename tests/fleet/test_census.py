from __future__ import annotations

from random import Random

import pytest

from mux.fleet.census import (
    BEAT_SECONDS,
    FORGET_SECONDS,
    LONGEST_REPLY_SECONDS,
    MAX_PROCESSES,
    REST_SECONDS,
    SECONDS_PER_PROCESS,
    Census,
)
from mux.fleet.messages import Identity

ME, OTHER = Identity("box", 1, "a" * 32), Identity("box", 2, "b" * 32)


@pytest.fixture
def census() -> Census:
    """Connected at 100, and nobody else is known."""
    census = Census(ME.id, Random(1))
    census.connected(100.0)
    return census


def test_a_process_that_beats_is_known(census: Census) -> None:
    """Once, with the time of its last message; a process is not among the others it knows."""
    census.beat(OTHER, 101.0, is_new=False)
    census.beat(OTHER, 102.0, is_new=True)
    census.beat(ME, 102.0, is_new=True)
    census.sign(OTHER.id, 103.0)
    census.sign("c" * 32, 103.0)
    assert list(census.ids) == [OTHER.id]
    assert census.silent(105.0) == [(OTHER, 2.0)]


def test_a_process_that_says_goodbye_is_forgotten_at_once(census: Census) -> None:
    """And is not missing from then on; a stranger may say it as well."""
    census.beat(OTHER, 101.0, is_new=False)
    census.left(OTHER.id)
    census.left(OTHER.id)
    assert not len(census)


def test_a_silent_process_is_known_for_a_minute(census: Census) -> None:
    """A killed process is named as missing for so long."""
    census.beat(OTHER, 101.0, is_new=False)
    census.forget(101.0 + FORGET_SECONDS)
    assert list(census.ids) == [OTHER.id]
    census.forget(101.1 + FORGET_SECONDS)
    assert not census.ids


def test_no_process_is_silent_while_this_one_is_not_connected(census: Census) -> None:
    """After a time without Redis the minute begins anew."""
    census.beat(OTHER, 101.0, is_new=False)
    census.connected(1000.0)
    census.forget(1000.0 + FORGET_SECONDS)
    assert list(census.ids) == [OTHER.id]


def test_the_first_beat_is_due_at_once_and_then_every_ten_seconds(census: Census) -> None:
    """Or a little earlier, so that processes that started together do not beat together."""
    assert census.due == 100.0
    census.beaten(100.0)
    assert 100.0 + 0.8 * BEAT_SECONDS <= census.due <= 100.0 + BEAT_SECONDS


def test_a_newcomer_is_told_soon_and_many_by_one_beat(census: Census) -> None:
    """The time grows with the fleet, up to two seconds; after a beat comes a little rest."""
    census.beaten(100.0)
    census.beat(OTHER, 101.0, is_new=True)
    first = census.due
    assert 101.0 <= first <= 101.0 + 2 * SECONDS_PER_PROCESS
    for number in range(2000):
        census.beat(Identity("box", number, f"{number:032x}"), 101.0, is_new=True)
    assert census.due == first
    assert len(census) == MAX_PROCESSES
    census.beaten(102.0)
    census.beat(OTHER, 102.0, is_new=True)
    assert 102.0 + REST_SECONDS <= census.due <= 102.0 + LONGEST_REPLY_SECONDS


def test_a_process_that_beats_is_known_among_a_crowd_of_forged_ones(census: Census) -> None:
    """A thousand forged beats a minute once kept every newcomer from being known; now the silent ones make room."""
    census.beat(OTHER, 101.0, is_new=False)
    newcomer = Identity("box", 3, "c" * 32)
    for number in range(3 * MAX_PROCESSES):
        census.beat(Identity("box", number, f"{number:032x}"), 101.0, is_new=False)
        if number % 500 == 0:
            census.beat(OTHER, 101.0, is_new=False)
    census.beat(newcomer, 102.0, is_new=False)
    assert len(census) == MAX_PROCESSES
    assert {OTHER.id, newcomer.id} < set(census.ids)
