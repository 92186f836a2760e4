"""Baseline: what redis-py's PubSub makes of pub/sub traffic, without a server around it.

The traffic is fed to the stream reader of a connection that is really subscribed, in slices as large as
one read of uvloop would give. So the cost of reading from a socket is in neither mux' figure nor this.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from enum import StrEnum
from typing import Any, TypeVar

import uvloop
from redis.asyncio import Redis

T = TypeVar("T")


class Door(StrEnum):
    """PubSub's two ways to a message."""

    LISTEN = "listen"
    GET_MESSAGE = "get_message"


class Listener:
    """A PubSub subscribed to a pattern, and a loop it runs on.

    Args:
        redis_url: a unix:// URL.
        protocol: 2 or 3.
    """

    def __init__(self, redis_url: str, *, protocol: int) -> None:
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._redis: Redis = Redis.from_url(redis_url, protocol=protocol)
        self._pubsub = self._redis.pubsub()

    def close(self) -> None:
        """Disconnect."""
        self.run(self._pubsub.aclose())  # type: ignore[no-untyped-call]  # redis-py has no types here
        self.run(self._redis.aclose())
        self._runner.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop."""
        return self._runner.run(work)

    async def psubscribe(self, pattern: str) -> None:
        """Subscribe to a pattern, and take the answer."""
        await self._pubsub.psubscribe(pattern)
        await self._pubsub.get_message(timeout=None)

    async def come_and_go(self, channel: str) -> None:
        """Subscribe to a channel and unsubscribe from it, taking both answers."""
        await self._pubsub.subscribe(channel)
        await self._pubsub.get_message(timeout=None)
        await self._pubsub.unsubscribe(channel)
        await self._pubsub.get_message(timeout=None)

    async def drop(self, traffic: bytes, *, messages: int, times: int, door: Door) -> None:
        """Take that many messages from traffic, so many times, and look in a table that has none of them."""
        connection: Any = self._pubsub.connection  # declared as None and never anything else
        feed = connection._reader.feed_data  # noqa: SLF001 - the way in that has no socket
        listeners: dict[bytes, object] = {}
        found = 0
        if door is Door.LISTEN:
            stream = self._pubsub.listen()
            for _ in range(times):
                feed(traffic)
                for _ in range(messages):
                    found += (await anext(stream))["channel"] in listeners
        else:
            for _ in range(times):
                feed(traffic)
                for _ in range(messages):
                    found += (await self._pubsub.get_message(timeout=1.0))["channel"] in listeners
        assert not found, "nobody listens"
