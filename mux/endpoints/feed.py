"""/feed/<channel>: what one client sends, every client of the channel receives.

    WebSocket   joins the channel; every message is published
    POST        publishes the body
    GET         426: there is nothing to see without an upgrade

Nothing is delivered from here. What is published goes to Redis and comes back with everybody else's,
so that every client on every process sees the same order, the sender included.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, cast
from uuid import uuid4

from sanic import Sanic
from sanic.http import Http
from sanic.request import Request
from sanic.response import HTTPResponse, text
from websockets.frames import CloseCode

from mux.broker.broker import Broker
from mux.endpoints.takeover import may_take_over, plain_connections
from mux.endpoints.websocket import WebSocketClient, WebSocketEndpoint
from mux.errors import BrokerError, BrokerRefused, ClientError, MessageTooLarge, OriginRefused, ServerFull, TooSlow
from mux.hub.admission import Admission
from mux.hub.allowance import Allowance, Pace
from mux.hub.hub import Hub
from mux.settings import Settings
from mux.wire.channel import Namespace, binary_variant, channel_from_path
from mux.wire.origin import OriginPolicy
from mux.wire.resp import Reply

RETRY_AFTER = {"Retry-After": "2"}
"""Seconds: the longest pause between two tries to reach Redis (broker.LAST_RETRY_SECONDS)."""

ANNOUNCEMENT_BYTES = 64
"""An announcement is no larger, and is delivered however small messages have to be."""

BINARY_TYPE = "application/octet-stream"
"""A POST with this Content-Type is known to be binary (RFC 9110, section 8.3)."""


class Feed:
    """The feed endpoint of one process.

    Args:
        hub: who is connected.
        broker: where messages go.
        settings: prefix, announce, allowed_origin, and what limits a client.
        admission: whether there is room for one more.
    """

    def __init__(self, hub: Hub, broker: Broker, settings: Settings, admission: Admission[WebSocketClient]) -> None:
        self._hub = hub
        self._admission = admission
        self._body_seconds = settings.handshake_seconds
        self._broker = broker
        self._namespace = Namespace(settings.prefix)
        self._announce = settings.announce
        self._max_message_bytes = settings.max_message_bytes
        self._origins = OriginPolicy(settings.allowed_origin)
        self._paused: set[WebSocketClient] = set()
        self._websockets = WebSocketEndpoint(
            hub,
            max_message_bytes=settings.max_message_bytes,
            on_message=self._publish_from,
            on_leave=self._announce_leave,
            on_lost=admission.left,
            pace=_pace(settings),
        )
        self.is_draining = False
        """True when no new client is admitted."""

    def mount(self, app: Sanic[Any, Any]) -> None:
        """Add the routes to an app."""
        # A channel may have slashes, so the rest of the path is its name, and a last slash belongs to it.
        route = "/feed/<channel:path>"

        @app.get(route, name="mux_feed", strict_slashes=True)
        @may_take_over
        async def connect(request: Request, channel: str) -> HTTPResponse | None:
            return self._connect(request, channel)

        # As a stream, so that a body over the limit is refused before it is in memory.
        @app.post(route, name="mux_feed_post", strict_slashes=True, stream=True)
        async def publish(request: Request, channel: str) -> HTTPResponse:
            return await self._post(request, channel)

    def resume(self) -> None:
        """Read again from the clients that were told to wait; Redis keeps up."""
        paused, self._paused = self._paused, set()
        for client in paused:
            if not client.transport.is_closing():
                client.transport.resume_reading()

    def _connect(self, request: Request, channel: str) -> HTTPResponse | None:
        try:
            redis_channel = self._admit(request, channel)
        except ClientError as error:
            return self._refuse(error)
        if self.is_draining:
            self._hub.refused["draining"] += 1
            return _unavailable("the server is going away")
        if _has_body(request):
            return text("a request to upgrade has no body\n", 400)
        if request.headers.get("upgrade", "").lower() != "websocket" or request.version != "1.1":
            return text(
                "this is a WebSocket feed: connect to it with a WebSocket client, or POST to publish\n",
                426,
                {"Upgrade": "websocket", "Connection": "Upgrade"},
            )
        address = request.client_ip if self._admission.counts_addresses else ""
        try:
            self._admission.check(clients=len(self._hub), plain=plain_connections(request), address=address)
        except ServerFull as error:
            return self._refuse(error, RETRY_AFTER)
        return self._websockets.accept(request, partial(self._join, redis_channel, address))

    def _refuse(self, error: ClientError, headers: dict[str, str] | None = None) -> HTTPResponse:
        self._hub.refused[error.counted_as] += 1
        return text(f"{error}\n", error.http_status, headers)

    async def _post(self, request: Request, channel: str) -> HTTPResponse:
        if "upgrade" in request.headers:
            # Sanic sets no time limit for it, and there is nothing to upgrade to.
            return text("a POST publishes its body; to upgrade, use GET\n", 400)
        try:
            redis_channel = self._admit(request, channel)
            payload = await self._body(request)
        except ClientError as error:
            return self._refuse(error)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() == BINARY_TYPE:
            redis_channel = binary_variant(redis_channel)
        try:
            await self._broker.publish(redis_channel, payload)
        except BrokerRefused as error:
            return text(f"Redis refused the message: {error}\n", 502)
        except BrokerError as error:
            return _unavailable(str(error))
        return HTTPResponse(status=204)

    def _admit(self, request: Request, channel: str) -> bytes:
        """Return the Redis channel a request may use, or raise ClientError."""
        origins = request.headers.getall("origin", [])
        if len(origins) > 1:
            raise OriginRefused("a request has at most one Origin")
        if origins:  # request.host reads the headers of proxies, which costs
            self._origins.check(origins[0], request.host)
        return self._namespace.redis_channel(channel_from_path(channel))

    async def _body(self, request: Request) -> bytes:
        too_large = MessageTooLarge(f"a message may have at most {self._max_message_bytes} bytes")
        stream = cast("Http", request.stream)
        if int(request.headers.get("content-length", 0)) > self._max_message_bytes:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(self._body_seconds):
                while (chunk := await stream.read()) is not None:
                    body += chunk
                    if len(body) > self._max_message_bytes:
                        raise too_large
        except TimeoutError:
            raise TooSlow(f"the body was not complete after {self._body_seconds:g} s") from None
        return bytes(body)

    def _join(self, redis_channel: bytes, address: str, client: WebSocketClient) -> None:
        self._admission.entered(client, address)
        self._hub.router.join(client, redis_channel)
        if self._announce:
            client.identity = uuid4()
        self._announce_to(redis_channel, client, "joined")

    def _announce_leave(self, client: WebSocketClient, channels: list[bytes]) -> None:
        if client in self._paused:
            # It has a goodbye to say, or to hear.
            self._paused.discard(client)
            if not client.transport.is_closing():
                client.transport.resume_reading()
        for redis_channel in channels:
            self._announce_to(redis_channel, client, "left")

    def _announce_to(self, redis_channel: bytes, client: WebSocketClient, what: str) -> None:
        if client.identity is not None:
            message = f"Client {client.identity} has {what}"
            # Nobody sent it, so nobody is told when it is lost.
            self._broker.send(redis_channel, message.encode(), _ignore)

    def _publish_from(self, client: WebSocketClient, payload: bytes, binary: bool) -> None:
        redis_channel = client.channels
        assert isinstance(redis_channel, bytes), "a feed client has one channel"
        if binary:
            redis_channel = binary_variant(redis_channel)
        self._broker.send(redis_channel, payload, partial(self._published, client))
        if not self._broker.is_writable:
            client.transport.pause_reading()
            self._paused.add(client)

    def _published(self, client: WebSocketClient, reply: Reply) -> None:
        if isinstance(reply, BrokerRefused):
            self._websockets.close(client, CloseCode.INTERNAL_ERROR, "Redis refused the message")
        elif isinstance(reply, BrokerError):
            self._websockets.close(client, CloseCode.TRY_AGAIN_LATER, "Redis is away: the last messages may be lost")


def _has_body(request: Request) -> bool:
    return "transfer-encoding" in request.headers or request.headers.get("content-length", "0") != "0"


def _pace(settings: Settings) -> Pace[WebSocketClient]:
    messages, control_frames = settings.max_messages_per_second, settings.max_control_frames_per_second
    return Pace(
        Allowance(per_second=messages, burst=settings.max_messages_burst) if messages else None,
        Allowance(per_second=control_frames, burst=settings.max_control_frames_burst) if control_frames else None,
    )


def _ignore(reply: Reply) -> None:
    pass


def _unavailable(reason: str) -> HTTPResponse:
    return text(f"{reason}\n", 503, RETRY_AFTER)
