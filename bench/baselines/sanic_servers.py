"""The baselines on Sanic's own WebSocket, which listen as `mux serve` does. Text only.

    python -m bench.baselines.sanic_servers per-channel|stock REDIS_URL PORT

per-channel has one redis-py PubSub for every channel that has a client, the design that mux replaces. The first client
of a channel makes its subscription, the last one ends it. A lock keeps the two apart: without it, a newcomer can be
handed the subscription that the last leaver is closing.

stock has the one subscription of mux' broker and `await ws.send()` for every client, so it shows what the take-over of
the socket is worth by itself.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections import defaultdict
from contextlib import suppress
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from sanic import Request, Sanic, Websocket
from sanic.exceptions import WebsocketClosed

from bench.parts import PATTERN, own_broker
from mux.serve.listening import BACKLOG
from mux.wire.resp import Push

PING_SECONDS = 3600
"""Clients of the benchmarks never answer a ping, and a ping would be counted as a message. The task that
sends them is there all the same."""

MAX_CHANNELS = 9000
"""Redis takes 10,000 clients unless told otherwise."""

Channel = tuple[set[Websocket], PubSub, "asyncio.Task[None]"]
"""The clients of one channel, its subscription, and the task that joins the two."""


def new_app(name: str) -> Sanic[Any, Any]:
    """Return a Sanic app that neither logs nor pings."""
    app: Sanic[Any, Any] = Sanic(name, configure_logging=False)
    app.config.WEBSOCKET_PING_INTERVAL = PING_SECONDS
    app.config.WEBSOCKET_PING_TIMEOUT = PING_SECONDS
    return app


def serve(app: Sanic[Any, Any], port: int = 0) -> None:
    """Serve in this process on a port, 0 for a free one, and say on which; others may listen on the same."""
    os.environ["SANIC_IGNORE_PRODUCTION_WARNING"] = "true"
    with socket.create_server(("127.0.0.1", port), backlog=BACKLOG, reuse_port=True) as sock:
        print(f"http://127.0.0.1:{sock.getsockname()[1]}", flush=True)
        app.prepare(sock=sock, single_process=True, backlog=BACKLOG, access_log=False, motd=False)
        Sanic.serve_single(primary=app)


async def deliver(pubsub: PubSub, clients: set[Websocket]) -> None:
    """Send every message of a subscription to its clients."""
    async for message in pubsub.listen():
        # A copy, for clients come and go while this waits.
        for ws in tuple(clients):
            with suppress(WebsocketClosed):
                await ws.send(message["data"])


def per_channel(redis_url: str) -> Sanic[Any, Any]:
    """Return an app with a subscription for each channel; /feed/<channel> is its one route."""
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


def stock(redis_url: str) -> Sanic[Any, Any]:
    """Return an app with one subscription for all; /feed/<channel> is its one route."""
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
    apps = {"per-channel": per_channel, "stock": stock}
    serve(apps[sys.argv[1]](sys.argv[2]), int(sys.argv[3]))
