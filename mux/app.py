"""Mux on a Sanic app: mounts the endpoints and owns what each process has one of.

    broker ── batches ──► hub ──► sockets
       ▲                   ▲
       └──── endpoints ────┘

What is started with the app is ended with it: clients by drain(), the broker and the timer by aclose().
"""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from sanic import Sanic
from websockets.frames import CloseCode

from mux.broker.address import parse_address
from mux.broker.broker import Broker
from mux.descriptors import descriptor_limit
from mux.endpoints.feed import Feed
from mux.endpoints.guard import guarded_protocol
from mux.endpoints.websocket import WebSocketClient
from mux.errors import InvalidSetting, MessageTooLarge
from mux.hub.admission import Admission, descriptors_for_clients
from mux.hub.hub import Hub
from mux.settings import Settings
from mux.wire.channel import Namespace, binary_variant, check_channel

DRAIN_SECONDS = 5.0
"""How long clients have to say goodbye when the server stops; then they are cut off."""


class Mux:
    """A feed on a Sanic app.

    `mux = Mux(app, redis_url="redis://localhost")`, then `await mux.publish("orders", {"id": 7})`.

    Args:
        app: gets the route /feed/<channel>, and listeners that start and stop the feed with the app.
        settings: all settings at once; without them, the environment and the options are used.
        options: fields of Settings.

    Raises:
        InvalidSetting: a setting cannot be, or there is no redis_url.
    """

    def __init__(self, app: Sanic[Any, Any], *, settings: Settings | None = None, **options: object) -> None:
        if settings is not None and options:
            raise InvalidSetting("give either settings or single options, not both")
        self.settings = settings = settings or Settings.load(options)
        if settings.redis_url is None:
            raise InvalidSetting("redis_url is missing; name a Redis, as redis_url='redis://localhost:6379'")
        self.hub = Hub(
            # A message that may be sent can be delivered: it and one behind it may wait.
            max_pending_bytes=max(settings.max_pending_bytes, 2 * settings.max_message_bytes),
            max_unwritable_seconds=settings.max_unwritable_seconds,
            ping_seconds=settings.ping_seconds,
            pong_seconds=settings.pong_seconds,
        )
        self._namespace = Namespace(settings.prefix)
        self.broker = Broker(
            parse_address(settings.redis_url),
            self._namespace.pattern,
            on_messages=self.hub.dispatch,
            on_writable=lambda: self._feed.resume(),
        )
        descriptors = descriptor_limit()
        self.admission: Admission[WebSocketClient] = Admission(
            max_connections=settings.max_connections,
            max_per_address=settings.max_connections_per_address,
            max_descriptors=descriptors_for_clients(descriptors) if descriptors else 0,
        )
        self._feed = Feed(self.hub, self.broker, settings, self.admission)
        self._timer: asyncio.TimerHandle | None = None
        self._drained: asyncio.Task[None] | None = None
        self._feed.mount(app)
        app.before_server_start(self._on_start)
        app.before_server_stop(self._on_stop)
        app.after_server_stop(self._on_stopped)

    async def publish(self, channel: str | bytes, message: object) -> None:
        """Publish to a channel and wait until Redis has the message.

        Args:
            channel: its name, as in the URL but not percent-encoded.
            message: str is sent as text and bytes as binary; anything else as the text of its JSON.

        Raises:
            InvalidChannel: the name cannot be.
            MessageTooLarge: the message has more than max_message_bytes.
            BrokerUnavailable: there is no connection to Redis; nothing was sent.
            BrokerLost: the connection broke before Redis answered; the message may be published.
            BrokerRefused: Redis did not take it.
            TypeError: orjson cannot encode the message.
        """
        redis_channel = self._namespace.redis_channel(check_channel(channel))
        if isinstance(message, (bytes, bytearray, memoryview)):
            payload = bytes(message)
            redis_channel = binary_variant(redis_channel)
        else:
            payload = message.encode() if isinstance(message, str) else orjson.dumps(message)
        if len(payload) > self.settings.max_message_bytes:
            raise MessageTooLarge(
                f"the message has {len(payload)} bytes; at most {self.settings.max_message_bytes} are allowed"
            )
        await self.broker.publish(redis_channel, payload)

    async def start(self) -> None:
        """Connect to Redis and start the timer. The app does this before it serves.

        Raises:
            BrokerRefused: Redis does not want us.
        """
        await self.broker.start()
        self._tick()

    async def drain(self) -> None:
        """Admit nobody any more, and say goodbye to every client with 1001 (going away).

        Returns when all are gone, after 5 s at the latest. May be called again: it is done once.
        """
        if self._drained is None:
            self._drained = asyncio.create_task(self._drain(), name="mux-drain")
        await asyncio.shield(self._drained)

    async def aclose(self) -> None:
        """Stop the timer and leave Redis, after what was published has been answered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self.broker.aclose()

    async def _drain(self) -> None:
        self._feed.is_draining = True
        gone = asyncio.Event()
        self.hub.on_empty = gone.set
        for client in self.hub.open_connections():
            client.endpoint.close(client, CloseCode.GOING_AWAY, "the server is going away")
        if len(self.hub):
            try:
                async with asyncio.timeout(DRAIN_SECONDS):
                    await gone.wait()
            except TimeoutError:
                for client in self.hub.closing_connections():
                    client.transport.abort()

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self.hub.tick_seconds, self._tick)
        self.hub.tick(loop.time())

    async def _on_start(self, app: Sanic[Any, Any]) -> None:
        await self.start()

    async def _on_stop(self, app: Sanic[Any, Any]) -> None:
        await self.drain()

    async def _on_stopped(self, app: Sanic[Any, Any]) -> None:
        await self.aclose()


def create_app(settings: Settings) -> Sanic[Any, Any]:
    """Return the app that `mux serve` serves: nothing but a Mux, with app.ctx.http_protocol to listen with.

    Raises:
        InvalidSetting: as Mux.
    """
    app: Sanic[Any, Any] = Sanic("mux", configure_logging=False)
    app.config.REQUEST_TIMEOUT = app.config.KEEP_ALIVE_TIMEOUT = settings.handshake_seconds
    mux = Mux(app, settings=settings)
    app.ctx.http_protocol = guarded_protocol(mux.hub, mux.admission)
    return app
