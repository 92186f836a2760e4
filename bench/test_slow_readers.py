"""Slow readers.

How long do the others wait when one client in ten never reads?

A message of 16 KiB is published a hundred times a second, and each reader's clock runs from the moment it is due.
First all clients read; then a tenth as many join who never do, and are evicted when a mebibyte waits for each.

The number is the 99th percentile of the readers' waiting on a stopwatch, so it depends on the machine and on what
else runs there; what is to be read is the two side by side. It does not tell what eviction costs the evicted.
"""

from __future__ import annotations

from contextlib import ExitStack

from bench.loadgen.latencies import histogram
from bench.loadgen.load import Load
from bench.loadgen.run import Generator
from bench.loadgen.stamp import channel_name
from bench.peers.registry import MUX
from bench.scores import Benchmark, Score
from bench.servers import serving
from bench.test_connections import Idlers

TIMES_SLOWER = 3.0
"""More than this between the two is not the noise of a busy machine."""

SIZE = 16384


def test_never_readers(redis_url: str, smoke: bool, benchmark: Benchmark, score: Score) -> None:
    """One client in ten never reads; the others do not notice."""
    count, messages = (3, 5) if smoke else (50, 400)
    case = benchmark.group = f"latency_p99_{count}readers_{SIZE}B"
    with serving(MUX, redis_url) as server, ExitStack() as stack:
        load = Load(
            target=server.target, clients=count, messages=messages, rate=100, message_bytes=SIZE, door=server.door(SIZE)
        )
        generator = stack.enter_context(Generator(load))
        generator.connect()

        def p99_ms() -> float:
            delivery = generator.publish()
            assert delivery.lost == 0
            return float(histogram(delivery.counts).get_value_at_percentile(99)) / 1e3

        p99_ms()
        alone = p99_ms()
        Idlers(server.target, stack, names=[channel_name(0)] * (count // 10 + 1)).come(count // 10 + 1)
        beside: list[float] = []
        benchmark.pedantic(lambda: beside.append(p99_ms()))
    score(case, "ms", value=alone, contender="all read")
    score(case, "ms", value=beside[0])
    if not smoke:
        assert beside[0] < alone * TIMES_SLOWER
