"""Publishing.

What does it cost a server to publish, when so many publishes come in one turn of its loop?

A broker on a real Redis, which gives back each message to whoever is subscribed, as a server is; the number is
the CPU time of this process for writing the commands and taking answers and messages, system calls included,
and not what Redis spends. redis-py's pipeline is beside it: it too writes all at once, but waits for the
answers before the next, and gets no messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import uvloop
from redis.asyncio import Redis

from bench.conftest import Benchmark, Score
from bench.parts import PATTERN, PAYLOAD, PAYLOAD_BYTES, PREFIX, own_broker
from mux.wire.resp import Reply

CHANNEL = PREFIX + b"lobby"
BATCHES = (1, 16, 256)


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """A loop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        yield runner


@pytest.mark.parametrize("messages", BATCHES)
def test_publish_by_redis_py(
    messages: int, runner: asyncio.Runner, redis_url: str, benchmark: Benchmark, score: Score
) -> None:
    """redis-py's pipeline."""
    case = benchmark.group = f"publish_{messages}msgs_{PAYLOAD_BYTES}B"
    redis: Redis = Redis.from_url(redis_url)

    async def publish() -> None:
        async with redis.pipeline(transaction=False) as pipeline:
            for _ in range(messages):
                pipeline.publish(CHANNEL, PAYLOAD)
            await pipeline.execute()

    benchmark(lambda: runner.run(publish()))
    score(case, "us/message", per=messages, contender="redis-py pipeline")
    runner.run(redis.aclose())


@pytest.mark.parametrize("messages", BATCHES)
def test_publish(messages: int, runner: asyncio.Runner, redis_url: str, benchmark: Benchmark, score: Score) -> None:
    """Mux' one connection."""
    case = benchmark.group = f"publish_{messages}msgs_{PAYLOAD_BYTES}B"

    broker = own_broker(redis_url, PATTERN, lambda messages: None)
    runner.run(broker.start())

    async def publish() -> None:
        answered = asyncio.get_running_loop().create_future()
        left = messages

        def done(reply: Reply) -> None:
            nonlocal left
            left -= 1
            if not left:
                answered.set_result(None)

        for _ in range(messages):
            broker.outbox.send(CHANNEL, PAYLOAD, done)
        await answered

    benchmark(lambda: runner.run(publish()))
    score(case, "us/message", per=messages, contender="mux")
    runner.run(broker.aclose())
