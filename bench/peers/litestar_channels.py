"""Litestar with its channels plugin on uvicorn, after Litestar's documentation."""

# Runs in the peers' environment, where neither mypy nor mux is.
# mypy: ignore-errors
# ruff: noqa: D103

import sys

import uvicorn
from litestar import Litestar, WebSocket, websocket
from litestar.channels import ChannelsPlugin
from litestar.channels.backends.redis import RedisChannelsPubSubBackend
from litestar.exceptions import WebSocketDisconnect
from redis.asyncio import Redis

port, redis_url = int(sys.argv[1]), sys.argv[2]


@websocket("/feed/{channel:str}")
async def feed(socket: WebSocket, channel: str, channels: ChannelsPlugin) -> None:
    await socket.accept()
    async with channels.start_subscription([channel]) as subscriber, subscriber.run_in_background(socket.send_text):
        try:
            while True:
                message = await socket.receive_text()
                await channels.wait_published(message.encode(), channel)
        except WebSocketDisconnect:
            pass


# A channel from the start subscribes before anybody comes. Else the first clients, when they come at once, each open
# a connection for the one PubSub there is, and all but the last stay deaf (litestar 2.25, redis-py 7.4).
plugin = ChannelsPlugin(
    backend=RedisChannelsPubSubBackend(redis=Redis.from_url(redis_url)),
    channels=["started"],
    arbitrary_channels_allowed=True,
)
app = Litestar([feed], plugins=[plugin])
options = {"backlog": 8192, "ws_per_message_deflate": False, "ws_ping_interval": None, "loop": "uvloop"}
uvicorn.run(app, port=port, log_level="critical", **options)
