"""Messages nobody listens to.

What does a message cost on a process that has no subscriber for it?

With one pattern for all channels every process receives every message (design.md, section 6), so this is
the price of the whole design: it bounds how much a fleet may publish.

The number is the CPU time to parse 64 messages that came in one read, and to find for each that nobody
listens. It does not include the read itself, one system call for all 64, which is the same for everybody. A
per-channel design pays nothing here, for Redis does not send it such messages; it pays on join and leave
(test_membership.py).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.baselines.redis_pubsub import Door, Listener
from bench.messages import PATTERN, PAYLOAD_BYTES, PREFIX, push
from bench.null_client import new_hub, null_client
from bench.scores import Benchmark, Score
from mux.wire.resp import RespReader

MESSAGES = 64
"""As many as one write of Redis holds under load: 12 KB."""

REPEATS = 16
"""How many such reads are timed as one, so that starting a task is lost in it."""

CASE = f"unheard_{MESSAGES}msgs_{PAYLOAD_BYTES}B"
UNHEARD = PREFIX + b"unheard"


@pytest.fixture(params=(2, 3), ids="resp{}".format)
def listener(request: pytest.FixtureRequest, redis_url: str) -> Iterator[Listener]:
    """redis-py, subscribed to the pattern."""
    listener = Listener(redis_url, protocol=request.param)
    try:
        listener.run(listener.psubscribe(PATTERN.decode()))
        yield listener
    finally:
        listener.close()


@pytest.mark.parametrize("door", Door)
def test_unheard_by_redis_py(
    request: pytest.FixtureRequest, listener: Listener, door: Door, benchmark: Benchmark, score: Score
) -> None:
    """redis-py makes a dict of each message, in half a dozen awaits."""
    benchmark.group = CASE
    protocol: int = request.node.callspec.params["listener"]
    traffic = push(UNHEARD, protocol=protocol) * MESSAGES
    benchmark(lambda: listener.run(listener.drop(traffic, messages=MESSAGES, times=REPEATS, door=door)))
    score(CASE, "us/message", per=MESSAGES * REPEATS)


def test_unheard(benchmark: Benchmark, score: Score) -> None:
    """Mux parses a list of bytes and looks once into a dict of a thousand other channels."""
    benchmark.group = CASE
    hub = new_hub()
    client = null_client(hub)
    for number in range(1000):
        hub.router.join(client, PREFIX + b"other/%d" % number)
    reader = RespReader()
    traffic = push(UNHEARD, protocol=3) * MESSAGES

    def drop() -> None:
        for _ in range(REPEATS):
            messages, _others = reader.feed(traffic)
            hub.dispatch(messages)

    benchmark(drop)
    assert hub.router.received == hub.router.unheard
    score(CASE, "us/message", per=MESSAGES * REPEATS)
