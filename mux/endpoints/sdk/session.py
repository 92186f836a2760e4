"""The state of one SDK client."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from sanic.request import Request

from mux.hub.subscriber import Subscriber
from mux.wire.publication import Publication
from mux.wire.sdk.encoder import Pushes
from mux.wire.websocket.parser import WebSocketParser


class Unusual:
    """A subscription that is given more or less than the pushes of its channel, or not at once."""

    __slots__ = ("has_joins", "is_withheld")

    def __init__(self) -> None:
        self.has_joins = False
        """True when the client is told who joins and leaves."""
        self.is_withheld = False
        """True while the client is still given what came before."""


class SdkSession:
    """The state of one SDK client.

    Args:
        pushes: encodes what its channels are given.
        token: the token of its handshake, which counts when `connect` has none.
        address: where it is from; its tokens that are not valid are counted by that.
        request: its handshake, where the app decides what a client may do; None elsewhere.
        has_native_pings: whether it is pinged by frames of WebSocket.
    """

    __slots__ = (
        "address",
        "at",
        "has_left",
        "has_native_pings",
        "has_token",
        "is_busy",
        "is_connected",
        "is_refused",
        "owes_pong",
        "parser",
        "pushes",
        "request",
        "token",
        "unusual",
    )

    is_compressed = False
    """The class has it, so it takes no memory of a session."""

    def __init__(
        self, pushes: Pushes, token: str | None, address: str, request: Request | None, *, has_native_pings: bool
    ) -> None:
        self.parser: WebSocketParser | None = None
        self.has_left = False
        self.pushes = pushes
        self.token = token
        self.address = address
        self.request = request
        self.has_native_pings = has_native_pings
        self.has_token = False
        self.at = 0
        """The place of the next command in the frame that is being handled."""
        self.is_busy = False
        """True while a command waits for something: those after it wait for it."""
        self.is_connected = False
        self.is_refused = False
        """True when `connect` was answered with an error: nothing else is."""
        self.owes_pong = False
        self.unusual: dict[bytes, Unusual] | None = None
        """The unusual ones of its subscriptions, by Redis channel."""

    def encode(self, channel: bytes, publications: Sequence[Publication]) -> bytes:
        """Encode for a client that has unusual subscriptions."""
        unusual = None if self.unusual is None else self.unusual.get(channel)
        if unusual is None:
            return self.pushes.encode(channel, publications)
        if unusual.is_withheld:
            self.pushes.note(channel, publications)
            return b""
        return (self.pushes.encode_all if unusual.has_joins else self.pushes.encode)(channel, publications)


SdkClient: TypeAlias = Subscriber[SdkSession]
