"""Slow readers.

How long do the others wait when one client in ten never reads?

A message of 16 KiB is published at a time, and the clock runs from the publish until every reader has it.
First all clients read; then a tenth as many join who never do, and are evicted when a mebibyte waits for each.

The number is the 99th percentile of the readers' waiting on a stopwatch, so it depends on the machine and on what
else runs there; what is to be read is the two side by side. It does not tell what eviction costs the evicted.
"""

from __future__ import annotations

import time

import redis

from bench.load import PATIENCE_SECONDS, Clients
from bench.programs import MUX, serving
from bench.scoreboard import Benchmark, Score
from bench.sizes import Sizes

PAYLOAD = b"x" * 16384
FRAME_BYTES = 4 + len(PAYLOAD)

TIMES_SLOWER = 3.0
"""More than this between the two is not the noise of a busy machine."""


def p99_ms(channel: redis.Redis, readers: Clients, messages: int) -> float:
    """Publish messages one at a time and return how long the slowest reader of each waited, at the 99th percentile."""
    waits = []
    for _ in range(messages):
        began = time.perf_counter()
        channel.publish("feed:slow", PAYLOAD)
        readers.receive(FRAME_BYTES)
        waits.append(time.perf_counter() - began)
    return sorted(waits)[int(len(waits) * 0.99)] * 1000


def test_never_readers(redis_url: str, sizes: Sizes, benchmark: Benchmark, score: Score) -> None:
    """One client in ten never reads; the others do not notice."""
    count = sizes.echo_clients
    messages = 400 if sizes.judged else 5
    case = f"latency_p99_{count}readers_{len(PAYLOAD)}B"
    benchmark.group = case
    with (
        serving(MUX, redis_url) as server,
        Clients(server.port) as readers,
        Clients(server.port) as never,
        redis.Redis.from_url(redis_url, socket_timeout=PATIENCE_SECONDS) as channel,
    ):
        readers.connect(["slow"] * count)
        p99_ms(channel, readers, max(2, messages // 10))
        alone = p99_ms(channel, readers, messages)
        never.connect(["slow"] * max(1, count // 10))
        beside: list[float] = []
        benchmark.pedantic(lambda: beside.append(p99_ms(channel, readers, messages)))
    score(case, "ms", value=alone, contender="all read")
    score(case, "ms", value=beside[0])
    if sizes.judged:
        assert beside[0] < alone * TIMES_SLOWER
