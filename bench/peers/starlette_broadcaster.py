"""Starlette and broadcaster on uvicorn, after broadcaster's README; with deflate as the last argument compressed."""

# Runs in the peers' environment, where neither mypy nor mux is.
# mypy: ignore-errors
# ruff: noqa: D103

import sys
from contextlib import asynccontextmanager

import anyio
import uvicorn
from broadcaster import Broadcast
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute

port, redis_url = int(sys.argv[1]), sys.argv[2]
broadcast = Broadcast(redis_url)


async def feed(websocket):
    await websocket.accept()
    channel = "feed:" + websocket.path_params["channel"]
    async with anyio.create_task_group() as tasks:

        async def receive():
            async for message in websocket.iter_text():
                await broadcast.publish(channel=channel, message=message)
            tasks.cancel_scope.cancel()

        tasks.start_soon(receive)
        async with broadcast.subscribe(channel=channel) as subscriber:
            async for event in subscriber:
                await websocket.send_text(event.message)


@asynccontextmanager
async def lifespan(app):
    async with broadcast:
        yield


app = Starlette(routes=[WebSocketRoute("/feed/{channel}", feed)], lifespan=lifespan)
deflates = sys.argv[3:] == ["deflate"]
options = {"backlog": 8192, "ws_per_message_deflate": deflates, "ws_ping_interval": None, "loop": "uvloop"}
uvicorn.run(app, port=port, log_level="error", **options)
