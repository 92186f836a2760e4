"""The differences between protocols on top of WebSocket: the state of their clients, and a table of their ways."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import Any, NamedTuple, Protocol, TypeAlias

from mux.endpoints.latest import Held
from mux.hub.subscriber import Subscriber
from mux.reasons import Reason
from mux.wire.publication import GUESS, Encoder, Publication
from mux.wire.websocket.encoder import PING, encode
from mux.wire.websocket.parser import WebSocketParser


class WebSocketSession:
    """The state of one WebSocket client.

    Args:
        publishes_to: the Redis channel of what the client sends; None when it may publish nothing.
    """

    __slots__ = ("has_left", "parser", "publishes_to")

    is_compressed = False
    """True when the client may send compressed messages. The class has it, so it takes no memory of a session."""

    def __init__(self, publishes_to: bytes | None) -> None:
        self.publishes_to = publishes_to
        self.has_left = False
        self.parser: WebSocketParser | None = None
        """The client's bytes go through it; None while the client has sent nothing that must be kept."""


class CompressedSession(WebSocketSession):
    """The state of one WebSocket client that compression was agreed on with."""

    __slots__ = ()

    is_compressed = True


WebSocketClient: TypeAlias = Subscriber[WebSocketSession]


class Session(Protocol):
    """The state of a client of any protocol on top of WebSocket."""

    parser: WebSocketParser | None
    has_left: bool
    """True when the client has left its channels for good, and nothing it has sent is handled any more."""

    @property
    def is_compressed(self) -> bool:
        """True when the client may send compressed messages."""


class Outcome(Enum):
    """The result of handing a message over."""

    DONE = auto()
    MORE = auto()
    """A part of it was handled: it is handed over again in the client's next turn."""
    LATER = auto()
    """It is handed over again when go_on() says so."""


def _conflated(client: Subscriber[Any], held: Held) -> bytes:
    count = held.skipped.total()
    told: list[Publication] = [(b'{"mux":{"skipped":%d}}' % count, GUESS, 0)] if count else []
    return encode(b"", told) + held.encoded()


class Dialect(NamedTuple):
    """The ways in which one protocol on top of WebSocket differs from others."""

    encode: Encoder = encode
    """Turns publications into bytes, as long as the client has no other encoder."""
    ping: Callable[[Subscriber[Any]], bytes] = lambda client: PING
    """Returns the ping for a client."""
    is_always_pinged: bool = False
    """True when a client is pinged on time also while it sends something."""
    is_named_once: bool = False
    """True when a client has one name in all channels."""
    code: Callable[[Reason], int] = lambda reason: reason.code
    """Returns the code by which a client is closed."""
    conflated: Callable[[Subscriber[Any], Held], bytes] = _conflated
    """Returns what a client is written that was behind: how many messages were left out, and the newest."""
    notice: Callable[[Subscriber[Any]], bytes] = lambda client: b""
    """Returns what tells a client that the server leaves, so that it goes by itself; nothing to have it closed."""


PLAIN = Dialect()
"""The dialect of clients whose messages are what is published."""
