"""Hand a request over to Sanic, and hear when its answer is written.

Sanic's protocol gets one whole request at a time, and is not the event loop's: the doorstep (doorstep.py) stands
between it and the transport. So none of Sanic's own timers is needed, and what it leaves open stays closed:

1. It asks for more bytes only when it has answered. That is the sign that the next request may come.
2. It does not close the transport; the doorstep does, when the client has read.
3. What it writes to a client that has gone is dropped. Sanic raises then, and logs a traceback for it.

These names of HttpProtocol are in use; tests/doorstep/test_handover.py fails first when one is gone.
"""

from __future__ import annotations

from asyncio import Transport
from typing import Any, Protocol

from sanic import Sanic
from sanic.exceptions import ServiceUnavailable
from sanic.http import Http
from sanic.models.server_types import Signal
from sanic.server.protocols.websocket_protocol import WebSocketProtocol

from mux.wire.http.head import MAX_HEAD_BYTES

PRIVATE_NAMES = ("_data_received", "_task", "recv_buffer")
"""Attributes of sanic.server.protocols.http_protocol.HttpProtocol, as of Sanic 25.12."""


class Front(Protocol):
    """What stands before Sanic's protocol."""

    def wrote(self) -> None:
        """A part of the answer was written."""

    def answered(self) -> None:
        """The whole of the answer was written, and another request may come."""

    def finished(self) -> None:
        """Nothing more is written, and no other request is taken."""


class OneRequest(Http):
    """Sanic's reading of a request whose head the doorstep has let pass, whatever its size."""

    __slots__ = ()
    HEADER_MAX_SIZE = 2 * MAX_HEAD_BYTES  # a head that is handed on may be a little longer than what was sent


class Handover(WebSocketProtocol):
    """Sanic's protocol behind a doorstep. It knows the WebSockets of an app as well."""

    __slots__ = ("front",)
    HTTP_CLASS = OneRequest

    def __init__(self, front: Front, app: Sanic[Any, Any], loop: Any, state: Any, unix: Any) -> None:
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

    def take(self, transport: Transport, request: bytes) -> None:
        """Answer a request; the first one or, after answered(), the next."""
        if self.transport is None:
            self.connection_made(transport)  # type: ignore[no-untyped-call]
            if self.front is not None:
                self.connections.discard(self)  # a set of its own: they would hold each other for ever
        self.recv_buffer += request
        self._data_received.set()

    def give_up(self) -> None:
        """End a handler that has taken too long; 503 when it has not begun to answer."""
        task = self._task
        if task is not None and self.http is not None:
            self.http.exception = ServiceUnavailable("Response Timeout")
            task.cancel()

    def check_timeouts(self) -> None:
        """Leave the time to the doorstep."""

    async def receive_more(self) -> None:
        """Wait for the next request."""
        self._data_received.clear()
        if self.front is not None:
            self.front.answered()
        await self._data_received.wait()

    async def send(self, data: bytes) -> None:
        """Write, unless nobody is there."""
        transport: Transport | None = self.transport
        if transport is None or transport.is_closing():
            return
        await super().send(data)  # type: ignore[no-untyped-call]
        if self.front is not None:
            self.front.wrote()

    def close(self, timeout: float | None = None) -> None:
        """Say that there is nothing more to write."""
        if self.websocket is not None or self.front is None:
            super().close(timeout)
        else:
            self.front.finished()
