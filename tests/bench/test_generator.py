"""The load generator as a whole, against a server that tells lies."""

from __future__ import annotations

import binascii
import time
from collections.abc import Callable, Sequence

import pytest

from bench.loadgen.dialect import Inlet, Target
from bench.loadgen.load import Load
from bench.loadgen.run import Generator
from bench.loadgen.worker import Delivery
from bench.servers import Running
from tests.bench.lying_server import frame, lying_server

MESSAGES = 20
CLIENTS = 3

Bodies = Sequence[bytes]


def run(fate: Callable[[Bodies], Bodies], *, before: bytes = b"") -> Delivery:
    """Publish through a server with such a fate and return what was counted."""
    with lying_server(fate, messages=MESSAGES, before=before) as port:
        load = Load(
            target=Target("127.0.0.1", port, "/feed/{channel}"),
            clients=CLIENTS,
            messages=MESSAGES,
            inlet=Inlet(url=f"http://127.0.0.1:{port}", channel="/publish/{channel}"),
            patience=0.3,
        )
        with Generator(load) as generator:
            assert len(generator.connect().waits) == CLIENTS
            return generator.publish()


def test_honest_server_loses_nothing() -> None:
    """What is passed on as it came is delivered, all of it, and nothing else is reported."""
    delivery = run(lambda bodies: bodies)
    assert delivery.delivered == delivery.expected == CLIENTS * MESSAGES
    assert (delivery.lost, delivery.duplicated, delivery.reordered, delivery.other) == (0, 0, 0, 0)
    assert int(delivery.counts.sum()) == CLIENTS * MESSAGES


@pytest.mark.parametrize("at", [0, 7, MESSAGES - 1])
def test_lost_message_is_reported(at: int) -> None:
    """A message that never comes is lost to every client: the first, one in between, the last."""
    delivery = run(lambda bodies: [*bodies[:at], *bodies[at + 1 :]])
    assert delivery.lost == CLIENTS
    assert delivery.delivered == delivery.expected - CLIENTS
    assert (delivery.duplicated, delivery.reordered) == (0, 0)


def test_each_schedule_has_a_ledger_of_its_own(mux: Running) -> None:
    """A second schedule on the same connections numbers and counts its messages from 0."""
    load = Load(target=mux.target, clients=3, messages=10, inlet=mux.inlet())
    with Generator(load) as generator:
        generator.connect()
        for _ in range(2):
            delivery = generator.publish()
            assert (delivery.delivered, delivery.lost, delivery.duplicated, delivery.reordered) == (30, 0, 0, 0)


@pytest.mark.parametrize("at", [0, 7, MESSAGES - 1])
def test_duplicate_is_reported_and_not_counted_as_delivered(at: int) -> None:
    """A message that comes twice is one delivery and one duplicate, also when it is the last."""
    delivery = run(lambda bodies: [*bodies[: at + 1], *bodies[at:]])
    assert delivery.duplicated == CLIENTS
    assert delivery.delivered == delivery.expected
    assert (delivery.lost, delivery.reordered) == (0, 0)


def test_reordered_messages_are_reported() -> None:
    """Two messages that changed places are both delivered, and one of them is reordered."""
    delivery = run(lambda bodies: [*bodies[:5], bodies[6], bodies[5], *bodies[7:]])
    assert delivery.reordered == CLIENTS
    assert delivery.delivered == delivery.expected
    assert (delivery.lost, delivery.duplicated) == (0, 0)


def test_a_loss_is_not_made_up_by_a_duplicate() -> None:
    """As many messages as expected is not all of them: one is lost and another came twice."""
    delivery = run(lambda bodies: [*bodies[:3], bodies[4], bodies[4], *bodies[5:]])
    assert (delivery.lost, delivery.duplicated) == (CLIENTS, CLIENTS)
    assert delivery.delivered == delivery.expected - CLIENTS


def test_what_nobody_published_is_not_counted() -> None:
    """Announcements, pings and whatever else a server says are no deliveries."""
    delivery = run(lambda bodies: bodies, before=frame(b"Client 7 has joined") + frame(b"", 0x89))
    assert delivery.delivered == delivery.expected
    assert delivery.other >= CLIENTS


def test_messages_of_another_channel_are_not_counted() -> None:
    """A server that mixes up channels loses the message, and what came instead is something else."""

    def mix_up(bodies: Bodies) -> Bodies:
        raw = bytearray(binascii.a2b_base64(bodies[4][:16]))
        raw[2] = 1
        return [*bodies[:4], binascii.b2a_base64(raw, newline=False) + bodies[4][16:], *bodies[5:]]

    delivery = run(mix_up)
    assert (delivery.lost, delivery.other) == (CLIENTS, CLIENTS)


@pytest.mark.parametrize("through_redis", [True, False])
def test_what_is_stopped_early_is_counted_as_far_as_it_went(mux: Running, redis_url: str, through_redis: bool) -> None:
    """Who presses Ctrl-C learns what became of the messages published by then, and none is taken for lost."""
    load = Load(
        target=mux.target,
        clients=4,
        channels=2,
        messages=60_000,
        rate=1000,
        inlet=Inlet(url=redis_url) if through_redis else None,
    )
    with Generator(load) as generator:
        generator.connect()
        began = time.monotonic()
        delivery = generator.publish(stop=lambda: time.monotonic() - began > 0.5)
    assert 0 < delivery.published.messages < load.messages
    assert delivery.delivered == delivery.expected == 2 * delivery.published.messages
    assert (delivery.lost, delivery.duplicated, delivery.reordered) == (0, 0, 0)
