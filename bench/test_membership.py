"""Join, leave, and be in a channel.

What does it cost to join a channel and to leave it, and what to be in one?

One process, no sockets. The baseline of joining is what a per-channel design asks of Redis for the first
client of a channel and after the last; for those in between it too only changes a set, so only a dict of
sets stands beside the case with a thousand clients.

redis-py's number is the CPU time of this process and leaves out what Redis spends and how long the client
waits for it. Memory is what the process grew by, names of channels included; a real client adds its
connection (test_connections.py).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.baselines.dict_of_sets import DictOfSets
from bench.baselines.redis_pubsub import Listener
from bench.messages import PREFIX
from bench.null_client import new_hub, null_client
from bench.programs import MUX, Process, Program, running
from bench.scoreboard import Benchmark, Score
from bench.sizes import Sizes
from mux.hub.router import Router

CHANNEL = PREFIX + b"lobby"
PROMISED_BYTES = 250_000_000
"""The most a process with a million channels of one subscriber each may take, all told."""

TABLES = [
    Program("dict-of-sets", ("-m", "bench.membership", "dict-of-sets")),
    Program(MUX.name, ("-m", "bench.membership", "router")),
]


@pytest.fixture
def listener(redis_url: str) -> Iterator[Listener]:
    """redis-py, connected and subscribed to something, as it is in a server with channels."""
    listener = Listener(redis_url, protocol=2)
    try:
        listener.run(listener.psubscribe("elsewhere:*"))
        yield listener
    finally:
        listener.close()


def join_and_leave(table: DictOfSets | Router, members: int, benchmark: Benchmark) -> None:
    """Time one client that comes and goes, on a channel with so many others."""
    hub = new_hub()
    for _ in range(members):
        table.join(null_client(hub), CHANNEL)
    newcomer = null_client(hub)

    def come_and_go() -> None:
        table.join(newcomer, CHANNEL)
        table.leave(newcomer, CHANNEL)

    benchmark(come_and_go)


def test_join_leave_1sub_by_subscribe(listener: Listener, benchmark: Benchmark, score: Score) -> None:
    """SUBSCRIBE and UNSUBSCRIBE, each answered."""
    benchmark.group = "join_leave_1sub"
    repeats = 50

    async def come_and_go() -> None:
        for _ in range(repeats):
            await listener.come_and_go(CHANNEL.decode())

    benchmark(lambda: listener.run(come_and_go()))
    score(benchmark.group, "us/pair", per=repeats, contender="redis-py subscribe")


@pytest.mark.parametrize("table", [DictOfSets, Router], ids=["dict-of-sets", MUX.name])
def test_join_leave_1sub(table: type[DictOfSets | Router], benchmark: Benchmark, score: Score) -> None:
    """A channel comes into being and ceases to be."""
    benchmark.group = "join_leave_1sub"
    join_and_leave(table(), 0, benchmark)
    score(benchmark.group, "us/pair")


@pytest.mark.parametrize("table", [DictOfSets, Router], ids=["dict-of-sets", MUX.name])
def test_join_leave_many(table: type[DictOfSets | Router], sizes: Sizes, benchmark: Benchmark, score: Score) -> None:
    """One more among many."""
    benchmark.group = f"join_leave_{sizes.large_fanout}subs"
    join_and_leave(table(), sizes.large_fanout, benchmark)
    score(benchmark.group, "us/pair")


@pytest.fixture
def table_process(request: pytest.FixtureRequest, sizes: Sizes) -> Iterator[Process]:
    """A process with an empty table and all its subscribers; what is measured is its CPU time."""
    with running(request.param, str(sizes.channel_subscribers), str(sizes.channels_per_subscriber)) as process:
        request.node.add_marker(pytest.mark.benchmark(timer=process.cpu_seconds))
        process.expect("ready")
        yield process


@pytest.mark.parametrize("table_process", TABLES, indirect=True, ids=str)
def test_single_subscriber_channels(table_process: Process, sizes: Sizes, benchmark: Benchmark, score: Score) -> None:
    """A million channels with one subscriber each, a thousand to a subscriber."""
    channels = sizes.channel_subscribers * sizes.channels_per_subscriber
    case = benchmark.group = f"join_{channels}ch_1sub"
    before = table_process.memory_bytes()

    def join_all() -> None:
        table_process.tell("join")
        table_process.expect("joined")

    benchmark.pedantic(join_all)
    total = table_process.memory_bytes()
    score(case, "us/channel", per=channels)
    score(f"memory_{channels}ch_1sub", "B/channel", value=(total - before) / channels)
    if table_process.program.name == MUX.name and sizes.judged:
        assert total < PROMISED_BYTES
