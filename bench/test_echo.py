"""Publish and echo.

What does it cost a server to publish what a client sends and to give it back to that client?

A client sends, waits for its own message, and sends the next: a frame is parsed, a PUBLISH written, a push
and a reply read, a frame written. Alone, a client keeps a server from coalescing anything, and from ever
being warm: this is the dearest a message can be. With fifty that all wait for their own, a server may
write the PUBLISHes of several together.

The number is the server's CPU time for the round trip. It does not tell the latency, of which Redis and
the kernel have a share.
"""

from __future__ import annotations

import pytest

from bench.load import Clients
from bench.messages import FRAME, MASKED_FRAME, PAYLOAD_BYTES
from bench.programs import MUX, PUBSUB_PER_CHANNEL, SANIC_WEBSOCKET, Process
from bench.scoreboard import Benchmark, Score
from bench.sizes import Sizes

CONTENDERS = [SANIC_WEBSOCKET, PUBSUB_PER_CHANNEL, MUX]


def echo(server: Process, clients: int, sizes: Sizes, benchmark: Benchmark) -> None:
    """Time so many clients on channels of their own, each with one message under way."""
    with Clients(server.port) as crowd:
        crowd.connect(f"echo/{at}" for at in range(clients))

        def round_trips() -> None:
            for _ in range(sizes.echoes // clients):
                crowd.send(MASKED_FRAME)
                crowd.receive(len(FRAME))

        benchmark.pedantic(round_trips, rounds=sizes.rounds, warmup_rounds=1)


@pytest.mark.parametrize("server", CONTENDERS, indirect=True, ids=str)
def test_publish_echo_alone(server: Process, sizes: Sizes, benchmark: Benchmark, score: Score) -> None:
    """One message under way in the whole server."""
    case = benchmark.group = f"publish_echo_1client_{PAYLOAD_BYTES}B"
    echo(server, 1, sizes, benchmark)
    score(case, "us/round trip", per=sizes.echoes)


@pytest.mark.parametrize("server", CONTENDERS, indirect=True, ids=str)
def test_publish_echo_together(server: Process, sizes: Sizes, benchmark: Benchmark, score: Score) -> None:
    """As many messages under way as clients."""
    case = benchmark.group = f"publish_echo_{sizes.echo_clients}clients_{PAYLOAD_BYTES}B"
    echo(server, sizes.echo_clients, sizes, benchmark)
    score(case, "us/round trip", per=sizes.echoes)
