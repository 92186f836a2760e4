"""The parts of suites: the one message they send, a client that costs nothing, and mux' broker by itself.

The message has 128 bytes of ASCII, about a small JSON event. It is long enough for the two-byte length of a WebSocket
frame (RFC 6455, section 5.2), which starts at 126, and short enough that copying it costs little beside the system
call that sends it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, cast

from mux.broker.broker import Broker
from mux.broker.holding import Holding
from mux.broker.location import parse_location
from mux.hub.hub import Hub
from mux.hub.subscriber import AnySubscriber, Endpoint, Subscriber, Transport
from mux.settings.settings import Settings
from mux.wire.publication import Encoder
from mux.wire.resp import Push
from mux.wire.websocket.encoder import encode

PREFIX = b"feed:"
"""The default prefix of mux; the baselines use the same Redis channels."""

PATTERN = b"feed:*"

PAYLOAD_BYTES = 128

PAYLOAD = b"x" * PAYLOAD_BYTES

_MASK = b"\x37\xfa\x21\x3d"  # the example of RFC 6455, section 5.7


def masked(payload: bytes) -> bytes:
    """Return the text frame a client sends; payload is below 64 KiB."""
    size = len(payload)
    head = bytes((0x81, 0x80 | size)) if size < 126 else b"\x81\xfe" + size.to_bytes(2)
    return head + _MASK + bytes(byte ^ _MASK[at % 4] for at, byte in enumerate(payload))


def wait_until_joined(client: socket.socket, end: bytes = b"\r\n\r\n") -> None:
    """Read until a server has let a client in, which its answer's end tells.

    Raises:
        AssertionError: it was refused.
    """
    answer = b""
    while end not in answer:
        chunk = client.recv(4096)
        assert chunk, f"ended: {answer!r}"
        answer += chunk
        assert answer[9:12] in (b"101", b"200"), f"refused: {answer!r}"


def push(redis_channel: bytes, *, protocol: int, payload: bytes = PAYLOAD) -> bytes:
    """Return what Redis sends to a connection with PSUBSCRIBE: an array in RESP2, a push in RESP3."""
    words = (b"pmessage", PATTERN, redis_channel, payload)
    bulks = b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
    return b"%b4\r\n%b" % (b">" if protocol == 3 else b"*", bulks)


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


def own_broker(redis_url: str, pattern: bytes, on_messages: Callable[[list[Push]], None]) -> Broker:
    """Return a broker with the default settings, subscribed to a pattern once started."""
    settings = Settings()
    return Broker(
        parse_location(redis_url),
        pattern,
        probe_prefix=PREFIX + b"$probe:",
        probe_seconds=settings.probe_seconds,
        holding=Holding(max_bytes=settings.max_held_bytes, max_seconds=settings.max_held_seconds),
        on_read=lambda read, messages, is_whole: on_messages(messages) if messages else None,
        on_writable=lambda: None,
        on_gap=lambda gap: None,
    )
