"""A client that costs nothing, so that what is timed is the code that serves it."""

from __future__ import annotations

from typing import Any, cast

from mux.hub.hub import Hub
from mux.hub.subscriber import AnySubscriber, Endpoint, Subscriber, Transport
from mux.wire.publication import Encoder
from mux.wire.websocket.encoder import encode


class _NullTransport:
    """Takes everything at once and keeps nothing; a subscriber that is never behind asks for no more."""

    __slots__ = ()

    def write(self, data: bytes) -> None: ...
    def set_write_buffer_limits(self, high: int, low: int) -> None: ...


def new_hub() -> Hub:
    """Return a hub whose limits nobody reaches."""
    return Hub(max_pending_bytes=1 << 30, max_unwritable_seconds=3600, ping_seconds=3600, pong_seconds=60)


def null_client(hub: Hub, encode: Encoder = encode) -> AnySubscriber:
    """Return a subscriber that says nothing and keeps nothing of what it is told; by default one of WebSocket's."""
    transport = cast("Transport", _NullTransport())
    endpoint = cast("Endpoint[Any]", None)  # only a client that speaks has need of it
    return Subscriber(transport, endpoint=endpoint, encode=encode, backlog=hub)
