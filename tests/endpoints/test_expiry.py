"""Clients whose tokens end are ended, and not all together."""

from __future__ import annotations

from collections import Counter
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from mux import reasons
from mux.endpoints.expiry import SPREAD_SECONDS, STALE_SECONDS, Expiry
from mux.reasons import Reason


class Client:
    """A client with grants until then; None is a client without grants."""

    def __init__(self, endpoint: Clients, number: int, until: float | None) -> None:
        self.endpoint = endpoint
        self.number = number
        self.grants = None if until is None else SimpleNamespace(until=until)


class Clients:
    """Makes clients, and knows which were ended, by the number given to them."""

    def __init__(self) -> None:
        self.ended: list[int] = []
        self.reasons: set[Reason] = set()

    def close(self, client: Client, reason: Reason) -> None:
        """Take note, as an endpoint would end a client."""
        self.ended.append(client.number)
        self.reasons.add(reason)

    def make(self, number: int, until: float | None) -> Any:
        """Return a client."""
        return Client(self, number, until)


@pytest.fixture
def clients() -> Clients:
    """Return what makes clients."""
    return Clients()


def test_a_client_is_ended_when_its_token_is_over(clients: Clients) -> None:
    """Not before, and once."""
    expiry = Expiry()
    expiry.watch(clients.make(1, 100.5))
    expiry.watch(clients.make(2, 160.0))
    expiry.tick(100.4)
    assert clients.ended == []
    expiry.tick(101.0)
    expiry.tick(102.0)
    assert clients.ended == [1]
    assert clients.reasons == {reasons.TOKEN_EXPIRED}
    expiry.tick(161.0)
    assert clients.ended == [1, 2]
    assert len(expiry) == 0


def test_a_token_that_is_over_already_ends_its_client_at_the_next_tick(clients: Clients) -> None:
    """It has ended while its client was being let in."""
    expiry = Expiry()
    expiry.tick(200.0)
    expiry.watch(clients.make(1, 150.0))
    expiry.tick(201.0)
    assert clients.ended == [1]


def test_clients_without_an_end_cost_nothing(clients: Clients) -> None:
    """Neither those without a token, nor those whose token does not end."""
    expiry = Expiry()
    for until in (None, float("inf")):
        expiry.watch(clients.make(1, until))
        expiry.forget(clients.make(1, until))
    assert len(expiry) == 0


def test_a_client_that_has_left_is_not_ended(clients: Clients) -> None:
    """The others of its second are; who leaves twice, or was never there, does no harm."""
    expiry = Expiry()
    first, second = clients.make(1, 100.0), clients.make(2, 100.0)
    expiry.watch(first)
    expiry.watch(second)
    for _ in range(2):
        expiry.forget(first)
    expiry.forget(clients.make(3, 50.0))
    expiry.tick(100.0)
    assert clients.ended == [2]


def test_many_that_end_together_are_ended_over_some_seconds(clients: Clients) -> None:
    """Each within these seconds, and in none of them more than twice its share."""
    expiry = Expiry(Random(1))
    for number in range(1000):
        expiry.watch(clients.make(number, 100.0))
    counts: Counter[int] = Counter()
    for second in range(int(SPREAD_SECONDS) + 1):
        before = len(clients.ended)
        expiry.tick(100.0 + second)
        counts[second] = len(clients.ended) - before
    assert sorted(clients.ended) == list(range(1000))
    assert max(counts.values()) <= 2 * 1000 / SPREAD_SECONDS


def test_clients_that_come_and_go_leave_nothing(clients: Clients) -> None:
    """The same token again and again, and tokens of many seconds."""
    expiry = Expiry()
    for number in range(10_000):
        client = clients.make(number, 1000.0 + number % 5000)
        expiry.watch(client)
        expiry.forget(client)
    assert len(expiry._seconds) <= STALE_SECONDS + 1
    assert not expiry._ends
