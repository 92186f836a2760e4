"""Fan-out, and publish and echo, through whole servers.

What does it cost a server to deliver a message to each of a thousand clients of one channel? And what to publish
what a client sends and to give it back?

In a burst, 1,000 messages published back to back, a server may coalesce; in steady a message comes when the one before
is delivered, and it may not. In an echo a frame is parsed, a PUBLISH written, a push and a reply read, a frame written.
Alone, a client keeps a server from coalescing anything, and from ever being warm: this is the dearest a message can be.

The number is the server's CPU time, system calls included. It does not tell how long a client waits, nor
what Redis spends, nor what changes when clients are slow. The baselines send the burst message by message,
so theirs is the same cost as one at a time; coalescing is mux' doing, and a client notices nothing of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from bench.compare import LIMIT
from bench.loadgen.dialect import Target
from bench.loadgen.load import Load
from bench.loadgen.run import Generator
from bench.measure import measure
from bench.peers.registry import MUX, PER_CHANNEL, STOCK
from bench.scores import Benchmark, Score
from bench.servers import Running, free_port


@dataclass(frozen=True, slots=True)
class Shape:
    """A load, and a smaller one of the same kind."""

    name: str
    full: Load
    smoke: Load
    rounds: int = 8
    unit: str = "us/delivery"
    clients_publish: bool = False
    is_slow: bool = False
    """True when a round of the baselines takes ten seconds: they get one."""


FANOUT = [
    Shape(
        "fanout_1ch_{0.clients}subs_{0.message_bytes}B_burst",
        Load(clients=1000, messages=1000), Load(clients=5, messages=20), is_slow=True,
    ),
    # So few a second that the slowest baseline has delivered one when the next comes.
    Shape(
        "fanout_1ch_{0.clients}subs_{0.message_bytes}B_steady",
        Load(clients=1000, messages=25, rate=25), Load(clients=5, messages=3, rate=50),
    ),
]  # fmt: skip
ECHO = [
    Shape(
        "publish_echo_1client_{0.message_bytes}B",
        Load(clients=1, messages=500, rate=500), Load(clients=1, messages=6, rate=100),
        unit="us/round trip", clients_publish=True,
    ),
    Shape(
        "publish_echo_{0.clients}clients_{0.message_bytes}B",
        Load(clients=50, channels=50, messages=4000, rate=4000), Load(clients=3, channels=3, messages=6, rate=100),
        unit="us/round trip", clients_publish=True,
    ),
]  # fmt: skip


@pytest.mark.parametrize("server", [STOCK, PER_CHANNEL, MUX], indirect=True, ids=lambda peer: peer.name)
@pytest.mark.parametrize("shape", [*FANOUT, *ECHO], ids=lambda shape: shape.name)
def test_delivery(server: Running, shape: Shape, smoke: bool, benchmark: Benchmark, score: Score) -> None:
    """Every message to every client, and none lost, doubled or out of order."""
    load = shape.smoke if smoke else shape.full
    case = benchmark.group = shape.name.format(load)
    load = replace(load, target=server.target, door=None if shape.clients_publish else server.door())
    with Generator(load) as generator:
        assert not generator.connect().refused

        def publish() -> None:
            delivery = generator.publish()
            assert delivery.delivered == delivery.expected
            assert (delivery.duplicated, delivery.reordered) == (0, 0)

        server.tree.cpu()
        rounds = 1 if smoke or (shape.is_slow and server.peer is not MUX) else shape.rounds
        benchmark.pedantic(publish, rounds=rounds, warmup_rounds=0 if smoke or shape.is_slow else 1)
    score(case, shape.unit, per=load.messages * load.clients // load.channels)


@pytest.mark.parametrize("shape", FANOUT, ids=lambda shape: shape.name)
def test_limit(shape: Shape, smoke: bool, benchmark: Benchmark, score: Score) -> None:
    """A loop of send() of ready bytes, by a server that does nothing else."""
    load = shape.smoke if smoke else shape.full
    case = benchmark.group = shape.name.format(load)
    target = Target("127.0.0.1", free_port(), "/feed/{channel}")
    found: list[float] = []

    def send() -> None:
        result = measure(replace(load, target=target, limit=True), None, None)
        assert result.lost == 0
        found.append(result.cpu_us or 0.0)

    benchmark.pedantic(send, rounds=1)
    score(case, shape.unit, value=min(found), contender=LIMIT)
