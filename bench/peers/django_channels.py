"""Django Channels with channels_redis' pub/sub layer on uvicorn, after Channels' tutorial."""

# Runs in the peers' environment, where neither mypy nor mux is.
# mypy: ignore-errors
# ruff: noqa: D101

import sys

import django
import uvicorn
from django.conf import settings

port, redis_url = int(sys.argv[1]), sys.argv[2]
settings.configure(
    SECRET_KEY="benchmark",  # noqa: S106 - nothing is signed with it
    INSTALLED_APPS=["channels"],
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [redis_url]},
        }
    },
)
django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import path  # noqa: E402


class Feed(AsyncWebsocketConsumer):
    async def connect(self):
        self.group = self.scope["url_route"]["kwargs"]["channel"]
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, code):
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def receive(self, text_data):
        await self.channel_layer.group_send(self.group, {"type": "feed.message", "message": text_data})

    async def feed_message(self, event):
        await self.send(text_data=event["message"])


app = ProtocolTypeRouter({"websocket": URLRouter([path("feed/<str:channel>", Feed.as_asgi())])})
options = {"backlog": 8192, "ws_per_message_deflate": False, "ws_ping_interval": None, "loop": "uvloop"}
uvicorn.run(app, port=port, log_level="critical", lifespan="off", **options)
