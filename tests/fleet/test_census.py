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
from mux.fleet.messages import Process

ME, OTHER = Process("a" * 32, "box", 1), Process("b" * 32, "box", 2)


@pytest.fixture
def census() -> Census:
    """Connected at 100, and nobody else is known."""
    census = Census(ME, Random(1))
    census.connected(100.0)
    return census


def known(census: Census) -> list[Process]:
    """Return who is known."""
    return [member.process for member in census.members]


def test_who_is_heard_is_known(census: Census) -> None:
    """Once, with the time it was heard of last; one does not know oneself."""
    census.heard(OTHER, 101.0)
    census.heard(OTHER, 102.0)
    census.heard(ME, 102.0)
    census.heard_again(OTHER.id, 102.0)
    census.heard_again("c" * 32, 102.0)
    census.welcome(ME, 102.0)
    assert known(census) == [OTHER]
    assert [member.heard for member in census.members] == [102.0]


def test_who_says_goodbye_is_forgotten_at_once(census: Census) -> None:
    """And is not missing from then on; a stranger may say it as well."""
    census.heard(OTHER, 101.0)
    census.left(OTHER.id)
    census.left(OTHER.id)
    assert not len(census)


def test_who_is_silent_is_known_for_a_minute(census: Census) -> None:
    """A killed process is named as missing for so long."""
    census.heard(OTHER, 101.0)
    census.forget(101.0 + FORGET_SECONDS)
    assert known(census) == [OTHER]
    census.forget(101.1 + FORGET_SECONDS)
    assert known(census) == []


def test_nobody_is_silent_while_we_are_deaf(census: Census) -> None:
    """After a time without Redis the minute begins anew."""
    census.heard(OTHER, 101.0)
    census.connected(1000.0)
    census.forget(1000.0 + FORGET_SECONDS)
    assert known(census) == [OTHER]


def test_the_first_beat_is_due_at_once_and_then_every_ten_seconds(census: Census) -> None:
    """Or a little earlier, so that processes that started together do not beat together."""
    assert census.due == 100.0
    census.beaten(100.0)
    assert 100.0 + 0.8 * BEAT_SECONDS <= census.due <= 100.0 + BEAT_SECONDS


def test_a_newcomer_is_told_soon_and_many_by_one_beat(census: Census) -> None:
    """The time grows with the fleet, up to two seconds; after a beat comes a little rest."""
    census.beaten(100.0)
    census.welcome(OTHER, 101.0)
    first = census.due
    assert 101.0 <= first <= 101.0 + 2 * SECONDS_PER_PROCESS
    for number in range(2000):
        census.welcome(Process(f"{number:032x}", "box", number), 101.0)
    assert census.due == first
    assert len(census) == MAX_PROCESSES
    census.beaten(102.0)
    census.welcome(OTHER, 102.0)
    assert 102.0 + REST_SECONDS <= census.due <= 102.0 + LONGEST_REPLY_SECONDS


def test_a_crowd_of_forged_processes_keeps_nobody_out_who_beats(census: Census) -> None:
    """A thousand forged beats a minute once kept every newcomer from being known; now the silent ones make room."""
    census.heard(OTHER, 101.0)
    newcomer = Process("c" * 32, "box", 3)
    for number in range(3 * MAX_PROCESSES):
        census.heard(Process(f"{number:032x}", "box", number), 101.0)
        if number % 500 == 0:
            census.heard(OTHER, 101.0)
    census.heard(newcomer, 102.0)
    assert len(census) == MAX_PROCESSES
    assert {OTHER.id, newcomer.id} < {process.id for process in known(census)}
