"""Baseline: what redis-py's PubSub makes of pub/sub traffic, without a server around it.

The traffic is fed to the stream reader of a connection that is really subscribed, in slices as large as
one read of uvloop would give. So the cost of reading from a socket is in neither mux' figure nor this.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import uvloop
from redis.asyncio import Redis
from redis.asyncio.client import PubSub

T = TypeVar("T")


class Listener:
    """A PubSub that is subscribed to a pattern, and a loop it runs on."""

    def __init__(self, runner: asyncio.Runner, pubsub: PubSub) -> None:
        self._runner, self._pubsub = runner, pubsub

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop."""
        return self._runner.run(work)

    async def come_and_go(self, channel: str) -> None:
        """Subscribe to a channel and unsubscribe from it, taking both answers."""
        for act in (self._pubsub.subscribe, self._pubsub.unsubscribe):
            await act(channel)
            await self._pubsub.get_message(timeout=None)

    async def drop(self, traffic: bytes, *, messages: int, by: str) -> None:
        """Take that many messages from traffic, by listen or get_message, and look in a table that has none of them."""
        connection: Any = self._pubsub.connection  # declared as None and never anything else
        connection._reader.feed_data(traffic)  # noqa: SLF001 - the way in that has no socket
        listeners: dict[bytes, object] = {}
        stream, found = self._pubsub.listen(), 0
        for _ in range(messages):
            message = await (anext(stream) if by == "listen" else self._pubsub.get_message(timeout=1.0))
            found += message["channel"] in listeners
        assert not found, "nobody listens"


@contextmanager
def listening(redis_url: str, pattern: str) -> Iterator[Listener]:
    """Give a listener that is subscribed to a pattern, speaking RESP3."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        redis: Redis = Redis.from_url(redis_url, protocol=3)
        pubsub = redis.pubsub()
        runner.run(pubsub.psubscribe(pattern))
        runner.run(pubsub.get_message(timeout=None))
        yield Listener(runner, pubsub)
        runner.run(pubsub.aclose())  # type: ignore[no-untyped-call]  # redis-py has no types here
        runner.run(redis.aclose())
