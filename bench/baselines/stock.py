"""Baseline: Sanic's own WebSocket, one subscription for all channels, and `await ws.send()` for every client.

    python -m bench.baselines.stock REDIS_URL PORT [redis-py|our-broker]

With redis-py it is what one writes from the documentation of both, when channels share one subscription; with mux'
broker it shows what the take-over of the socket is worth by itself. Text only.
"""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

from redis.asyncio import Redis
from sanic import Request, Sanic, Websocket
from sanic.exceptions import WebsocketClosed

from bench.baselines.listening import new_app, serve
from bench.messages import PATTERN
from bench.own_broker import own_broker
from mux.wire.resp import Push


class ByRedisPy:
    """redis-py's PubSub and its connection pool."""

    def __init__(self, redis_url: str) -> None:
        self._redis: Redis = Redis.from_url(redis_url)
        self.publish: Callable[[bytes, bytes], Awaitable[object]] = self._redis.publish
        self.start, self.aclose = self._redis.initialize, self._redis.aclose

    async def messages(self) -> AsyncIterator[tuple[bytes, bytes]]:
        """Give channel and payload of every message."""
        async with self._redis.pubsub(ignore_subscribe_messages=True) as pubsub:
            await pubsub.psubscribe(PATTERN)
            async for message in pubsub.listen():
                yield message["channel"], message["data"]


class ByOurBroker:
    """Mux' broker, with a queue to the task that delivers."""

    def __init__(self, redis_url: str) -> None:
        self._queue: asyncio.Queue[list[Push]] = asyncio.Queue()
        broker = own_broker(redis_url, PATTERN, self._queue.put_nowait)
        self.publish: Callable[[bytes, bytes], Awaitable[object]] = broker.outbox.publish
        self.start, self.aclose = broker.start, broker.aclose

    async def messages(self) -> AsyncIterator[tuple[bytes, bytes]]:
        """Give channel and payload of every message."""
        while True:
            for _, _, channel, payload in await self._queue.get():
                yield channel, payload


def create_app(redis_url: str, source: type[ByRedisPy | ByOurBroker]) -> Sanic[Any, Any]:
    """Return the app; /feed/<channel> is its one route."""
    app = new_app("stock")
    listeners: defaultdict[bytes, set[Websocket]] = defaultdict(set)

    @app.websocket("/feed/<channel:path>")  # type: ignore[untyped-decorator]  # Sanic has no types here
    async def feed(request: Request, ws: Websocket, channel: str) -> None:
        name = f"feed:{channel}".encode()
        listeners[name].add(ws)
        try:
            async for message in ws:
                await app.ctx.source.publish(name, message.encode())
        finally:
            listeners[name].discard(ws)
            if not listeners[name]:
                del listeners[name]

    async def deliver() -> None:
        async for channel, payload in app.ctx.source.messages():
            text = payload.decode()
            # A copy, for clients come and go while this waits.
            for ws in tuple(listeners.get(channel, ())):
                with suppress(WebsocketClosed):
                    await ws.send(text)

    @app.before_server_start
    async def start(app: Sanic[Any, Any]) -> None:
        app.ctx.source = source(redis_url)
        await app.ctx.source.start()
        app.add_task(deliver(), name="deliver")

    @app.after_server_stop
    async def stop(app: Sanic[Any, Any]) -> None:
        await app.cancel_task("deliver", raise_exception=False)
        await app.ctx.source.aclose()

    return app


if __name__ == "__main__":
    serve(create_app(sys.argv[1], ByOurBroker if sys.argv[3:] == ["our-broker"] else ByRedisPy), int(sys.argv[2]))
