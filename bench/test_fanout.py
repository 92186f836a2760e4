"""Fan-out, and publish and echo, through whole servers.

What does it cost a server to deliver a message to each of a thousand clients of one channel? And what to publish
what a client sends and to give it back?

In a burst a server may coalesce; in steady a message comes when the one before is delivered, and it may not. In an
echo a frame is parsed, a PUBLISH written, a push and a reply read, a frame written. Alone, a client keeps a server
from coalescing anything, and from ever being warm: this is the dearest a message can be.

The number is the server's CPU time, system calls included. It does not tell how long a client waits, nor
what Redis spends, nor what changes when clients are slow. The baselines send the burst message by message,
so theirs is the same cost as one at a time; coalescing is mux' doing, and a client notices nothing of it.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.compare import LIMIT
from bench.conftest import Benchmark, Score
from bench.loadgen.load import Load
from bench.loadgen.run import Generator
from bench.measure import CPU
from bench.peers.registry import MUX, PER_CHANNEL, STOCK
from bench.servers import Running
from bench.works import BURST, ECHO, STEADY, Case, run_limit

ALONE = replace(ECHO, name="alone", full=Load(clients=1, rate=500))
# So few a second that the slowest baseline has delivered one when the next comes.
ONE_BY_ONE = replace(STEADY, full=Load(clients=1000, rate=25))


@pytest.mark.parametrize("server", [STOCK, PER_CHANNEL, MUX], indirect=True, ids=lambda peer: peer.name)
@pytest.mark.parametrize("case", [BURST, ONE_BY_ONE, ECHO, ALONE], ids=lambda case: case.name)
def test_delivery(server: Running, case: Case, smoke: bool, benchmark: Benchmark, score: Score) -> None:
    """Every message to every client, and none lost, doubled or out of order."""
    load = case.load(smoke=smoke, seconds=1)
    name = benchmark.group = shape(case, load)
    load = replace(load, target=server.target, inlet=None if case.clients_publish else server.inlet())
    with Generator(load) as generator:
        assert not generator.connect().refused

        def publish() -> None:
            delivery = generator.publish()
            assert delivery.delivered == delivery.expected
            assert (delivery.duplicated, delivery.reordered) == (0, 0)

        server.tree.cpu_seconds()
        # A burst takes the baselines ten seconds.
        rounds = 1 if smoke or (case is BURST and server.peer is not MUX) else 8
        benchmark.pedantic(publish, rounds=rounds, warmup_rounds=0 if smoke or case is BURST else 1)
    score(name, "us/delivery", per=load.messages * load.clients // load.channels)


@pytest.mark.parametrize("case", [BURST, ONE_BY_ONE], ids=lambda case: case.name)
def test_limit(case: Case, smoke: bool, benchmark: Benchmark, score: Score) -> None:
    """A loop of send() of ready bytes, by a server that does nothing else."""
    load = case.load(smoke=smoke, seconds=1)
    name = benchmark.group = shape(case, load)
    figures = benchmark.pedantic(lambda: run_limit(load))
    assert figures["lost"] == 0
    score(name, "us/delivery", value=figures[CPU], contender=LIMIT)


def shape(case: Case, load: Load) -> str:
    """Return the name of a shape."""
    return f"{case.name}_{load.channels}ch_{load.clients}subs_{load.message_bytes}B"
