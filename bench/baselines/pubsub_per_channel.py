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

Channel = tuple[set[Websocket], PubSub, "asyncio.Task[None]"]
"""The clients of one channel, its subscription, and the task that joins the two."""


async def deliver(pubsub: PubSub, clients: set[Websocket]) -> None:
    """Send every message of a subscription to its clients."""
    async for message in pubsub.listen():
        # A copy, for clients come and go while this waits.
        for ws in tuple(clients):
            with suppress(WebsocketClosed):
                await ws.send(message["data"])


def create_app(redis_url: str) -> Sanic[Any, Any]:
    """Return the app; /feed/<channel> is its one route."""
    app = new_app("pubsub_per_channel")
    # A connection for each channel is the design; redis-py would stop at a hundred.
    redis: Redis = Redis.from_url(redis_url, decode_responses=True, max_connections=MAX_CHANNELS)
    channels: dict[str, Channel] = {}
    lock = asyncio.Lock()

    async def join(name: str, ws: Websocket) -> None:
        async with lock:
            if name not in channels:
                pubsub = redis.pubsub(ignore_subscribe_messages=True)
                await pubsub.subscribe(name)
                clients: set[Websocket] = set()
                channels[name] = clients, pubsub, asyncio.create_task(deliver(pubsub, clients))
            channels[name][0].add(ws)

    async def leave(name: str, ws: Websocket) -> None:
        async with lock:
            clients, pubsub, task = channels[name]
            clients.discard(ws)
            if not clients:
                del channels[name]
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
                await pubsub.aclose()  # type: ignore[no-untyped-call]  # redis-py has no types here

    @app.after_server_stop
    async def stop(app: Sanic[Any, Any]) -> None:
        await redis.aclose()

    @app.websocket("/feed/<channel:path>")  # type: ignore[untyped-decorator]  # Sanic has no types here
    async def feed(request: Request, ws: Websocket, channel: str) -> None:
        name = f"feed:{channel}"
        await join(name, ws)
        try:
            async for message in ws:
                await redis.publish(name, message)
        finally:
            await leave(name, ws)

    return app


if __name__ == "__main__":
    serve(create_app(sys.argv[1]), int(sys.argv[2]))
