"""Sanic's own WebSocket with mux' broker: what the take-over of the socket is worth by itself."""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict, deque
from contextlib import suppress
from typing import Any

from sanic import Request, Sanic, Websocket
from sanic.exceptions import WebsocketClosed

from bench.baselines.listening import new_app, serve
from bench.messages import PATTERN
from bench.own_broker import own_broker
from mux.wire.resp import Push


def create_app(redis_url: str) -> Sanic[Any, Any]:
    """Return the app; /feed/<channel> is its one route."""
    app = new_app("sanic_broker")
    listeners: defaultdict[bytes, set[Websocket]] = defaultdict(set)

    def on_messages(messages: list[Push]) -> None:
        app.ctx.queue.extend(messages)
        app.ctx.more.set()

    broker = own_broker(redis_url, PATTERN, on_messages)

    async def deliver() -> None:
        while True:
            await app.ctx.more.wait()
            app.ctx.more.clear()
            while app.ctx.queue:
                _, _, channel, payload = app.ctx.queue.popleft()
                text = payload.decode()
                # A copy, for clients come and go while this waits.
                for ws in tuple(listeners.get(channel, ())):
                    with suppress(WebsocketClosed):
                        await ws.send(text)

    @app.websocket("/feed/<channel:path>")  # type: ignore[untyped-decorator]  # Sanic has no types here
    async def feed(request: Request, ws: Websocket, channel: str) -> None:
        name = f"feed:{channel}".encode()
        listeners[name].add(ws)
        try:
            async for message in ws:
                await broker.outbox.publish(name, message.encode())
        finally:
            listeners[name].discard(ws)
            if not listeners[name]:
                del listeners[name]

    @app.before_server_start
    async def start(app: Sanic[Any, Any]) -> None:
        app.ctx.queue = deque()
        app.ctx.more = asyncio.Event()
        await broker.start()
        app.add_task(deliver(), name="deliver")

    @app.after_server_stop
    async def stop(app: Sanic[Any, Any]) -> None:
        await app.cancel_task("deliver", raise_exception=False)
        await broker.aclose()

    return app


if __name__ == "__main__":
    serve(create_app(sys.argv[2]), int(sys.argv[1]))
