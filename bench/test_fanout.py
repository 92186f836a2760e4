"""Fan-out.

What does it cost a server to deliver a message to each of a thousand clients of one channel?

In a burst, 1,000 messages published back to back, a server may coalesce; one at a time, the next message
is published when the last client has the one before, and it may not.

The number is the server's CPU time, system calls included. It does not tell how long a client waits, nor
what Redis spends, nor what changes when clients are slow. The baselines send the burst message by message,
so theirs is the same cost as one at a time; coalescing is mux' doing, and a client notices nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.baselines.bare_send import CHANNEL
from bench.load import Clients, Publisher
from bench.messages import FRAME, PAYLOAD_BYTES, PREFIX
from bench.programs import BARE_SEND, MUX, PUBSUB_PER_CHANNEL, SANIC_WEBSOCKET, Process
from bench.scoreboard import Benchmark, Score
from bench.sizes import Sizes

NAP_SECONDS = 0.0002
"""Short beside the milliseconds a message takes to reach everybody."""

CONTENDERS = [BARE_SEND, SANIC_WEBSOCKET, PUBSUB_PER_CHANNEL, MUX]


class Crowd:
    """Everybody on one channel, and who publishes to it."""

    def __init__(self, clients: Clients, publisher: Publisher) -> None:
        self._clients = clients
        self._publisher = publisher

    def burst(self, count: int) -> None:
        """Publish count messages at once and wait until everybody has them."""
        self._publisher.publish(count)
        self._clients.receive(count * len(FRAME))
        self._publisher.confirm(count)

    def steady(self, count: int) -> None:
        """Publish count messages, each when everybody has the one before."""
        for _ in range(count):
            self.burst(1)


@pytest.fixture
def crowd(server: Process, redis_url: str, sizes: Sizes) -> Iterator[Crowd]:
    """A server with all its clients connected and nothing left to do."""
    with (
        Clients(server.port, nap_seconds=NAP_SECONDS) as clients,
        Publisher(redis_url, PREFIX + CHANNEL.encode()) as publisher,
    ):
        clients.connect([CHANNEL] * sizes.fanout_clients)
        publisher.wait_for_subscriber()
        server.cpu_seconds()
        yield Crowd(clients, publisher)


@pytest.mark.parametrize("server", CONTENDERS, indirect=True, ids=str)
def test_fanout_burst(server: Process, crowd: Crowd, sizes: Sizes, benchmark: Benchmark, score: Score) -> None:
    """Everything Redis has ready goes to each client in one write."""
    case = f"fanout_1ch_{sizes.fanout_clients}subs_{PAYLOAD_BYTES}B_burst"
    benchmark.group = case
    crowd.burst(min(10, sizes.burst_messages))
    rounds = sizes.burst_rounds if server.program in (MUX, BARE_SEND) else 1  # a round of the others takes ten seconds
    benchmark.pedantic(lambda: crowd.burst(sizes.burst_messages), rounds=rounds)
    score(case, "us/delivery", per=sizes.fanout_clients * sizes.burst_messages)


@pytest.mark.parametrize("server", CONTENDERS, indirect=True, ids=str)
def test_fanout_steady(server: Process, crowd: Crowd, sizes: Sizes, benchmark: Benchmark, score: Score) -> None:
    """Nothing can be coalesced: one write per client and message."""
    case = f"fanout_1ch_{sizes.fanout_clients}subs_{PAYLOAD_BYTES}B_steady"
    benchmark.group = case
    benchmark.pedantic(lambda: crowd.steady(sizes.steady_messages), rounds=sizes.rounds, warmup_rounds=1)
    score(case, "us/delivery", per=sizes.fanout_clients * sizes.steady_messages)
