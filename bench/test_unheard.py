"""Messages nobody listens to.

What does a message cost on a process that has no subscriber for it?

With one pattern for all channels every process receives every message, so this is the price of the whole design: it
bounds how much a fleet may publish.

The number is the CPU time to parse 64 messages that came in one read, as many as one write of Redis holds under load,
and to find for each that nobody listens. It does not include the read itself, one system call for all 64, which is the
same for everybody. A per-channel design pays nothing here, for Redis does not send it such messages; it pays on join
and leave (test_membership.py).
"""

from __future__ import annotations

import pytest

from bench.baselines.redis_pubsub import listening
from bench.conftest import Benchmark, Score
from bench.parts import PATTERN, PAYLOAD_BYTES, PREFIX, new_hub, null_client, push
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
