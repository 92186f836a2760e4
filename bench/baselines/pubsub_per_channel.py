"""Baseline: one redis-py PubSub for every channel that has a client.

The first client of a channel makes its subscription, the last one ends it. A lock keeps the two apart:
without it, a newcomer can be handed the subscription that the last leaver is closing. Text only.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from sanic import Request, Sanic, Websocket
from sanic.exceptions import WebsocketClosed

from bench.baselines.listening import new_app, serve

MAX_CHANNELS = 9000
"""Redis takes 10,000 clients unless told otherwise."""


class Channel:
    """One channel: its clients, its subscription, and the task that joins the two."""

    def __init__(self, pubsub: PubSub) -> None:
        self.clients: set[Websocket] = set()
        self._pubsub = pubsub
        self._task = asyncio.create_task(self._deliver())

    async def aclose(self) -> None:
        """End the subscription."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        await self._pubsub.aclose()  # type: ignore[no-untyped-call]  # redis-py has no types here

    async def _deliver(self) -> None:
        async for message in self._pubsub.listen():
            # A copy, for clients come and go while this waits.
            for ws in tuple(self.clients):
                with suppress(WebsocketClosed):
                    await ws.send(message["data"])


class Channels:
    """The channels that have a client."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._cache: dict[str, Channel] = {}
        self._lock = asyncio.Lock()

    async def join(self, name: str, ws: Websocket) -> None:
        """Add a client to a channel, and subscribe if it is the first."""
        async with self._lock:
            channel = self._cache.get(name)
            if channel is None:
                pubsub = self._redis.pubsub(ignore_subscribe_messages=True)
                await pubsub.subscribe(name)
                channel = self._cache[name] = Channel(pubsub)
            channel.clients.add(ws)

    async def leave(self, name: str, ws: Websocket) -> None:
        """Take a client from a channel it has joined, and unsubscribe if it was the last."""
        async with self._lock:
            channel = self._cache[name]
            channel.clients.discard(ws)
            if not channel.clients:
                del self._cache[name]
                await channel.aclose()


def create_app(redis_url: str) -> Sanic[Any, Any]:
    """Return the app; /feed/<channel> is its one route."""
    app = new_app("pubsub_per_channel")
    # A connection for each channel is the design; redis-py would stop at a hundred.
    redis: Redis = Redis.from_url(redis_url, decode_responses=True, max_connections=MAX_CHANNELS)

    @app.before_server_start
    async def start(app: Sanic[Any, Any]) -> None:
        app.ctx.channels = Channels(redis)

    @app.after_server_stop
    async def stop(app: Sanic[Any, Any]) -> None:
        await redis.aclose()

    @app.websocket("/feed/<channel:path>")  # type: ignore[untyped-decorator]  # Sanic has no types here
    async def feed(request: Request, ws: Websocket, channel: str) -> None:
        name = f"feed:{channel}"
        channels: Channels = app.ctx.channels
        await channels.join(name, ws)
        try:
            async for message in ws:
                await redis.publish(name, message)
        finally:
            await channels.leave(name, ws)

    return app


if __name__ == "__main__":
    serve(create_app(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
