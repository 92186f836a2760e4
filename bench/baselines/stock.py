"""Baseline: Sanic's own WebSocket, one subscription for all channels, and `await ws.send()` for every client.

    python -m bench.baselines.stock REDIS_URL PORT

The subscription is that of mux' broker, so this shows what the take-over of the socket is worth by itself. Text only.
"""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict
from contextlib import suppress
from typing import Any

from sanic import Request, Sanic, Websocket
from sanic.exceptions import WebsocketClosed

from bench.baselines.listening import new_app, serve
from bench.parts import PATTERN, own_broker
from mux.wire.resp import Push


def create_app(redis_url: str) -> Sanic[Any, Any]:
    """Return the app; /feed/<channel> is its one route."""
    app = new_app("stock")
    batches: asyncio.Queue[list[Push]] = asyncio.Queue()
    listeners: defaultdict[bytes, set[Websocket]] = defaultdict(set)

    @app.websocket("/feed/<channel:path>")  # type: ignore[untyped-decorator]  # Sanic has no types here
    async def feed(request: Request, ws: Websocket, channel: str) -> None:
        name = f"feed:{channel}".encode()
        listeners[name].add(ws)
        try:
            async for message in ws:
                await app.ctx.broker.outbox.publish(name, message.encode())
        finally:
            listeners[name].discard(ws)
            if not listeners[name]:
                del listeners[name]

    async def deliver() -> None:
        while True:
            for _, _, channel, payload in await batches.get():
                text = payload.decode()
                # A copy, for clients come and go while this waits.
                for ws in tuple(listeners.get(channel, ())):
                    with suppress(WebsocketClosed):
                        await ws.send(text)

    @app.before_server_start
    async def start(app: Sanic[Any, Any]) -> None:
        app.ctx.broker = own_broker(redis_url, PATTERN, batches.put_nowait)
        await app.ctx.broker.start()
        app.add_task(deliver(), name="deliver")

    @app.after_server_stop
    async def stop(app: Sanic[Any, Any]) -> None:
        await app.cancel_task("deliver", raise_exception=False)
        await app.ctx.broker.aclose()

    return app


if __name__ == "__main__":
    serve(create_app(sys.argv[1]), int(sys.argv[2]))
