"""Baseline: Sanic's own WebSocket, one subscription, and `await ws.send()` for every client.

What one writes with Sanic and redis-py from their documentation, when channels share one subscription.
Text only.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from contextlib import suppress
from typing import Any

from redis.asyncio import Redis
from sanic import Request, Sanic, Websocket
from sanic.exceptions import WebsocketClosed

from bench.baselines.listening import new_app, serve


def create_app(redis_url: str) -> Sanic[Any, Any]:
    """Return the app; /feed/<channel> is its one route."""
    app = new_app("sanic_websocket")
    redis: Redis = Redis.from_url(redis_url, decode_responses=True)
    listeners: defaultdict[str, set[Websocket]] = defaultdict(set)

    @app.websocket("/feed/<channel:path>")  # type: ignore[untyped-decorator]  # Sanic has no types here
    async def feed(request: Request, ws: Websocket, channel: str) -> None:
        name = f"feed:{channel}"
        listeners[name].add(ws)
        try:
            async for message in ws:
                await redis.publish(name, message)
        finally:
            listeners[name].discard(ws)
            if not listeners[name]:
                del listeners[name]

    async def deliver() -> None:
        async with redis.pubsub(ignore_subscribe_messages=True) as pubsub:
            await pubsub.psubscribe("feed:*")
            async for message in pubsub.listen():
                # A copy, for clients come and go while this waits.
                for ws in tuple(listeners.get(message["channel"], ())):
                    with suppress(WebsocketClosed):
                        await ws.send(message["data"])

    @app.before_server_start
    async def start(app: Sanic[Any, Any]) -> None:
        app.add_task(deliver(), name="deliver")

    @app.after_server_stop
    async def stop(app: Sanic[Any, Any]) -> None:
        await app.cancel_task("deliver", raise_exception=False)
        await redis.aclose()

    return app


if __name__ == "__main__":
    serve(create_app(sys.argv[1]))
