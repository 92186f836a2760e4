"""Hand a request over to Sanic, and hear when its answer is written.

Sanic's protocol gets one whole request at a time, and is not the event loop's: the doorstep (conversation.py) stands
between it and the transport. The head has been read, and is not written out and read again: Sanic's Request is made of
it. So neither Sanic's parser nor its timers are needed, and what they leave open stays closed:

1. It asks for more bytes only when it has answered. That is the sign that the next request may come.
2. It does not close the transport; the doorstep does, when the client has read.
3. What it writes to a client that has gone is dropped. Sanic raises then, and logs a traceback for it.

These names of HttpProtocol are in use; tests/doorstep/test_handover.py fails first when one is gone.
"""

from __future__ import annotations

from asyncio import Transport
from typing import Any, Protocol, cast

from sanic import Sanic
from sanic.compat import Header
from sanic.exceptions import ServiceUnavailable
from sanic.http import Http
from sanic.models.server_types import Signal
from sanic.server.protocols.websocket_protocol import WebSocketProtocol

from mux.doorstep.arrivals import Arrivals, Connection
from mux.wire.http.head import RequestHead

PRIVATE_NAMES = ("_can_write", "_data_received", "_task", "recv_buffer", "request_class", "state")
"""Attributes of sanic.server.protocols.http_protocol.HttpProtocol, as of Sanic 25.12."""

PRIVATE_NAMES_OF_STREAM = (
    "dispatch",
    "head_only",
    "keep_alive",
    "request",
    "request_body",
    "request_bytes",
    "request_bytes_left",
    "upgrade_websocket",
    "url",
)
"""Private names of sanic.http.Http that its http1_request_header() sets, and OneRequest in its place."""

LISTENED_TO = frozenset(("http.lifecycle.read_head", "http.lifecycle.request", "http.lifecycle.send"))
"""Sanic's signals while it reads a head and while it writes, which nobody listens to in most apps."""


class Front(Protocol):
    """The object that stands before Sanic's protocol."""

    def wrote(self) -> None:
        """A part of the answer was written."""

    def answered(self) -> None:
        """The whole of the answer was written, and another request may come."""

    def finished(self) -> None:
        """Sanic writes no more, and takes no other request."""


class Door(Connection, Protocol):
    """The connection of a conversation, as its deadlines know it."""

    address: str
    app: Sanic[Any, Any]
    arrivals: Arrivals
    connections: set[Any]
    kept: object

    def new_handover(self, front: Front) -> Handover:
        """Return a protocol of Sanic's for the requests of the connection."""

    def leave_all(self) -> None:
        """Leave all that knows the connection."""


class OneRequest(Http):
    """Sanic's stream of requests, which takes each head as the doorstep has read it."""

    __slots__ = ()

    async def http1_request_header(self) -> None:
        """Make Sanic's Request of the request that waits; its body is in the buffer."""
        protocol = cast("Handover", self.protocol)
        waiting, protocol.waiting = protocol.waiting, None
        assert waiting is not None, "receive_more() has returned for it"
        head, body_bytes = waiting
        app, request_class = protocol.app, protocol.request_class
        raw = head.canonical(body_bytes) if protocol.shows_heads else b""
        if protocol.has_listeners:
            await self.dispatch("http.lifecycle.read_head", inline=True, context={"head": raw})
        request = request_class(
            url_bytes=head.target.encode(),
            headers=Header(head.forwarded(body_bytes)),
            version=head.version,
            method=head.method,
            transport=cast("Any", protocol.transport),
            app=app,
            head=raw,
        )
        request_class._current.set(request)  # noqa: SLF001 - as Sanic does it
        if protocol.has_listeners:
            await self.dispatch("http.lifecycle.request", inline=True, context={"request": request})
        self.url = head.target
        self.keep_alive = head.is_kept and not head.is_websocket and app.config.KEEP_ALIVE
        self.head_only = head.method == "HEAD"
        self.upgrade_websocket = head.is_websocket
        self.request_body = cast("Any", body_bytes > 0)
        self.request_bytes = self.request_bytes_left = body_bytes
        self.request, request.stream = request, self
        protocol.state["requests_count"] += 1


class Handover(WebSocketProtocol):
    """Sanic's protocol behind a doorstep. It knows the WebSockets of an app as well."""

    __slots__ = ("front", "has_listeners", "shows_heads", "waiting")
    HTTP_CLASS = OneRequest

    def __init__(
        self, front: Front, app: Sanic[Any, Any], loop: Any, state: Any, unix: Any, *, shows_heads: bool
    ) -> None:
        config = app.config
        super().__init__(
            loop=loop,
            app=app,
            signal=Signal(),
            connections=set(),
            state=state,
            unix=unix,
            websocket_max_size=config.WEBSOCKET_MAX_SIZE,
            websocket_ping_timeout=config.WEBSOCKET_PING_TIMEOUT,
            websocket_ping_interval=config.WEBSOCKET_PING_INTERVAL,
        )
        self.front: Front | None = front
        self.shows_heads = shows_heads
        """True when handlers may ask for a head as bytes."""
        self.has_listeners = any(signal.name in LISTENED_TO for signal in app.signal_router.routes)
        self.waiting: tuple[RequestHead, int] | None = None
        """A request that is to be answered, and how many bytes its body has."""

    def take(self, transport: Transport, head: RequestHead, body: bytes, early: bytes = b"") -> None:
        """Answer a request; the first one or, after answered(), the next. early is what has come after it."""
        self.waiting = head, len(body)
        if self.transport is None:
            self.connection_made(transport)  # type: ignore[no-untyped-call]
            if self.front is not None:
                self.connections.discard(self)  # a set of its own: they would hold each other for ever
        if body or early:
            self.recv_buffer += body + early
        self._data_received.set()

    def take_for_good(self, transport: Transport, head: RequestHead, early: bytes, connections: set[Any]) -> None:
        """Answer a request, and have its connection from now on, among these; early is what has come after it.

        Sanic answers this one request and no other, for the head does not ask for the connection to be kept.
        """
        self.front, self.connections = None, connections
        connections.add(self)
        transport.set_protocol(self)
        self.take(transport, head, b"", early)

    def give_up(self) -> None:
        """End a handler that has taken too long; 503 when it has not begun to answer."""
        task = self._task
        if task is not None and self.http is not None:
            self.http.exception = ServiceUnavailable("Response Timeout")
            task.cancel()

    def check_timeouts(self) -> None:
        """Leave the time to the doorstep."""

    async def receive_more(self) -> None:
        """Wait for the next request, unless one waits."""
        if self.waiting is not None:
            return
        self._data_received.clear()
        if self.front is not None:
            self.front.answered()
        await self._data_received.wait()

    async def send(self, data: bytes) -> None:
        """Write, unless nobody is there."""
        transport: Transport | None = self.transport
        if transport is None or transport.is_closing():
            return
        if self.has_listeners or not self._can_write.is_set():
            await super().send(data)  # type: ignore[no-untyped-call]
        else:
            transport.write(data)
        if self.front is not None:
            self.front.wrote()

    def close(self, timeout: float | None = None) -> None:
        """Say that there is nothing more to write."""
        if self.websocket is not None or self.front is None:
            super().close(timeout)
        else:
            self.front.finished()
