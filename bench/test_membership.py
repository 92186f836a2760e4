"""Join, leave, and be in a channel.

What does it cost to join a channel and to leave it, and what to be in one?

No sockets. The baseline of joining is what a per-channel design asks of Redis for the first
client of a channel and after the last; for those in between it too only changes a set, so only a dict of
sets stands beside the case with a thousand clients.

redis-py's number is the CPU time of this process and leaves out what Redis spends and how long the client
waits for it. Memory is what a process grew by, names of channels included; a real client adds its
connection (test_connections.py).
"""

from __future__ import annotations

import pytest

from bench.baselines.redis_pubsub import listening
from bench.conftest import Benchmark, Score
from bench.in_process import DictOfSets, Membership, membership
from bench.parts import PREFIX, new_hub, null_client
from mux.hub.router import Router

CHANNEL = PREFIX + b"lobby"
PROMISED_BYTES = 250_000_000
"""The most a process with a million channels of one subscriber each may take, all told."""

TABLES = {"dict-of-sets": DictOfSets, "mux": Router}


def test_join_leave_1sub_by_subscribe(redis_url: str, benchmark: Benchmark, score: Score) -> None:
    """SUBSCRIBE and UNSUBSCRIBE, each answered, by redis-py that is subscribed to something, as in a server."""
    benchmark.group = "join_leave_1sub"
    repeats = 50
    with listening(redis_url, "elsewhere:*") as listener:

        async def come_and_go() -> None:
            for _ in range(repeats):
                await listener.come_and_go(CHANNEL.decode())

        benchmark(lambda: listener.run(come_and_go()))
    score(benchmark.group, "us/pair", per=repeats, contender="redis-py subscribe")


@pytest.mark.parametrize("members", [0, 1000])
@pytest.mark.parametrize("table_name", TABLES)
def test_join_leave(table_name: str, members: int, benchmark: Benchmark, score: Score) -> None:
    """One client that comes and goes: alone, so that the channel comes into being and ceases to be; among many."""
    case = benchmark.group = f"join_leave_{members + 1}subs" if members else "join_leave_1sub"
    hub, table = new_hub(), TABLES[table_name]()
    for _ in range(members):
        table.join(null_client(hub), CHANNEL)
    newcomer = null_client(hub)

    def come_and_go() -> None:
        table.join(newcomer, CHANNEL)
        table.leave(newcomer, CHANNEL)

    benchmark(come_and_go)
    score(case, "us/pair", contender=table_name)


@pytest.mark.parametrize("table_name", TABLES)
def test_single_subscriber_channels(table_name: str, smoke: bool, benchmark: Benchmark, score: Score) -> None:
    """A million channels with one subscriber each, a thousand to a subscriber."""
    channels = 100 if smoke else 1_000_000
    case = benchmark.group = f"join_{channels}ch_1sub"
    found: list[Membership] = []
    kind = "router" if table_name == "mux" else table_name
    benchmark.pedantic(lambda: found.append(membership(kind, channels)))
    score(case, "us/channel", value=found[0].us_each, contender=table_name)
    score(f"memory_{channels}ch_1sub", "B/channel", value=found[0].bytes_each, contender=table_name)
    if table_name == "mux" and not smoke:
        assert found[0].total_bytes < PROMISED_BYTES
