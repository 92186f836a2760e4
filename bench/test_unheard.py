"""Messages nobody listens to.

What does a message cost on a process that has no subscriber for it, in a read with 63 others? And what does it cost a
whole server when each comes alone, with `--gather-ms` and without?

With one pattern for all channels every process receives every message, so this is the price of the whole design: it
bounds how much a fleet may publish.

The number is the CPU time to parse 64 messages that came in one read, as many as one write of Redis holds under load,
and to find for each that nobody listens. It does not include the read itself, one system call for all 64, which is the
same for everybody. A per-channel design pays nothing here, for Redis does not send it such messages; it pays on join
and leave (test_membership.py).

Of the messages that come alone one in twenty is heard, and its latency is the price of gathering. Where one channel has
many listeners, gathering puts several messages into one write.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.baselines.redis_pubsub import listening
from bench.conftest import Benchmark, Score
from bench.loadgen.load import Load
from bench.measure import CPU, MESSAGE_CPU, measure
from bench.parts import PATTERN, PAYLOAD_BYTES, PREFIX, new_hub, null_client, push
from bench.peers.registry import MUX
from bench.servers import serving
from mux.wire.resp import RespReader

MESSAGES = 64
CASE = f"unheard_{MESSAGES}msgs_{PAYLOAD_BYTES}B"
TRAFFIC = push(PREFIX + b"unheard", protocol=3) * MESSAGES


@pytest.mark.parametrize("by", ["listen", "get_message"])
def test_unheard_by_redis_py(by: str, redis_url: str, benchmark: Benchmark, score: Score) -> None:
    """redis-py makes a dict of each message, in half a dozen awaits."""
    benchmark.group = CASE
    with listening(redis_url, PATTERN.decode()) as listener:
        benchmark(lambda: listener.run(listener.drop(TRAFFIC, messages=MESSAGES, by=by)))
    score(CASE, "us/message", per=MESSAGES, contender=f"redis-py {by}")


def test_unheard(benchmark: Benchmark, score: Score) -> None:
    """Mux parses a list of bytes and looks once into a dict of a thousand other channels."""
    benchmark.group = CASE
    hub, reader = new_hub(), RespReader()
    client = null_client(hub)
    for number in range(1000):
        hub.router.join(client, PREFIX + b"other/%d" % number)
    benchmark(lambda: hub.dispatch(reader.feed(TRAFFIC)[0]))
    assert hub.router.received == hub.router.unheard
    score(CASE, "us/message", per=MESSAGES)


@pytest.mark.parametrize("gather_ms", ["0", "auto", "5"])
@pytest.mark.parametrize(
    ("case", "unit", "load"),
    [
        ("unheard_alone_4000msgs_per_s", MESSAGE_CPU, Load(clients=50, channels=1000, rate=4000, messages=12_000)),
        ("gathered_1ch_100subs_1000msgs_per_s", CPU, Load(clients=100, channels=1, rate=1000, messages=3000)),
    ],
)
def test_gathering(
    case: str, unit: str, load: Load, gather_ms: str, redis_url: str, smoke: bool, benchmark: Benchmark, score: Score
) -> None:
    """Whole servers, with messages that come one by one."""
    benchmark.group = case
    if smoke:
        load = replace(load, clients=5, messages=100)
    peer = replace(MUX, command=lambda place: [*MUX.command(place), "--gather-ms", gather_ms])
    with serving(peer, redis_url) as server:
        load = replace(load, target=server.target, inlet=server.inlet())
        figures = benchmark.pedantic(lambda: measure(load, server.tree, None).figures, rounds=1)
    for figure in (unit, "p50 ms", "p99 ms"):
        score(case, figure, value=figures[figure], contender="mux" if gather_ms == "0" else f"--gather-ms {gather_ms}")
