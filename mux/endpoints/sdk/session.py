"""The state of one SDK client."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import TypeAlias

from sanic.request import Request

from mux.endpoints.latest import Held
from mux.hub.subscriber import Subscriber
from mux.wire.publication import JOINED, LEFT, Encoder, Publication
from mux.wire.sdk.encoder import Pushes, frames
from mux.wire.websocket.encoder import Compressor
from mux.wire.websocket.parser import WebSocketParser

MAX_EARLY_BYTES = 1024 * 1024
"""Most bytes that are kept for a client until the reply to its `connect` has been written."""


class Unusual:
    """A subscription that is given more or less than the pushes of its channel, or not at once."""

    __slots__ = ("has_joins", "is_latest", "is_withheld")

    def __init__(self) -> None:
        self.has_joins = False
        """True when the client is told who joins and leaves."""
        self.is_withheld = False
        """True while the client is still given what came before."""
        self.is_latest = False
        """True when the client is given only the newest message whenever it does not keep up."""


class Early:
    """Frames that wait for the reply to `connect`, of a client that the server lets into channels."""

    __slots__ = ("begin", "frames", "is_too_much", "size")

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.size = 0
        """The size of the frames in bytes."""
        self.is_too_much = False
        """True when more has come than is kept."""
        self.begin: list[Callable[[], None]] = []
        """Functions to call when the reply has been written."""

    def keep(self, frame: bytes) -> None:
        """Keep what has come for the client."""
        self.size += len(frame)
        self.is_too_much = self.size > MAX_EARLY_BYTES
        if not self.is_too_much:
            self.frames.append(frame)


class SdkSession:
    """The state of one SDK client.

    Args:
        pushes: encodes what its channels are given.
        token: the token of its handshake, which counts when `connect` has none.
        address: where it is from; its tokens that are not valid are counted by that.
        request: its handshake, where the app decides what a client may do; None elsewhere.
        has_native_pings: whether it is pinged by frames of WebSocket.
        compressor: compresses for it; None when it has not agreed on that.
    """

    __slots__ = (
        "address",
        "app_until",
        "at",
        "compressor",
        "early",
        "has_left",
        "has_native_pings",
        "has_token",
        "hold",
        "is_busy",
        "is_connected",
        "is_refused",
        "owes_pong",
        "parser",
        "pushes",
        "request",
        "served",
        "token",
        "unusual",
        "user",
        "wants_notice",
    )

    def __init__(
        self,
        pushes: Pushes,
        token: str | None,
        address: str,
        request: Request | None,
        *,
        has_native_pings: bool,
        compressor: Compressor | None,
    ) -> None:
        self.parser: WebSocketParser | None = None
        self.has_left = False
        self.pushes = pushes
        self.token = token
        self.address = address
        self.request = request
        self.has_native_pings = has_native_pings
        self.compressor = compressor
        self.has_token = False
        self.at = 0
        """The place of the next command in the frame that is being handled."""
        self.is_busy = False
        """True while a command waits for something: those after it wait for it."""
        self.is_connected = False
        self.wants_notice = False
        """True when the client is told before the server leaves, and is not closed then."""
        self.is_refused = False
        """True when `connect` was answered with an error: nothing else is."""
        self.owes_pong = False
        self.unusual: dict[bytes, Unusual] | None = None
        """The unusual ones of its subscriptions, by Redis channel."""

        self.user = ""
        """The subject of the token that the client has connected with; empty when it has none."""
        self.app_until = inf
        """Unix time in seconds until which the app lets the client stay, whatever tokens it has."""
        self.hold: Encoder | None = None
        """Holds the newest messages while the client does not keep up; None while it does."""
        self.early: Early | None = None
        """Frames that wait for the reply to `connect`; None when none have to."""
        self.served: frozenset[bytes] = frozenset()
        """The Redis channels of its subscriptions that the server has begun."""

    @property
    def is_compressed(self) -> bool:
        """True when the client may send compressed messages."""
        return self.compressor is not None

    @property
    def has_own_encoder(self) -> bool:
        """True while encode() is to be used, and not the encoder that most clients have."""
        return self.unusual is not None or self.early is not None

    def encode(self, channel: bytes, publications: Sequence[Publication]) -> bytes:
        """Encode for a client that has unusual subscriptions, or that waits for the reply to its `connect`."""
        frame = self._encode(channel, publications)
        if self.compressor is not None:
            frame = self.compressor.compress(frame)
        if self.early is None:
            return frame
        self.early.keep(frame)
        return b""

    def _encode(self, channel: bytes, publications: Sequence[Publication]) -> bytes:
        unusual = None if self.unusual is None else self.unusual.get(channel)
        if unusual is None:
            return self.pushes.encode(channel, publications)
        if unusual.is_withheld:
            self.pushes.note(channel, publications)
            return b""
        if unusual.is_latest and self.hold is not None:
            messages = [one for one in publications if one[1] not in (JOINED, LEFT)]
            if messages:
                self.hold(channel, messages)
            publications = [one for one in publications if one[1] in (JOINED, LEFT)]
            if not publications:
                return b""
        return (self.pushes.encode_all if unusual.has_joins else self.pushes.encode)(channel, publications)


SdkClient: TypeAlias = Subscriber[SdkSession]


def divert(client: SdkClient, take: Encoder) -> Encoder | None:
    """Hold what comes in some subscriptions of a client, unless it is gone (endpoints.latest.Divert)."""
    if client.session is None:
        return None
    client.session.hold = take
    return client.encode


def restore(client: SdkClient, encode: Encoder) -> None:
    """Hold nothing any more."""
    if client.session is not None:
        client.session.hold = None


def conflated(client: SdkClient, held: Held) -> bytes:
    """Return what a client is written that was behind: the newest messages, which tell how many were left out."""
    session = client.session
    if session is None:
        return b""
    skipped = held.skipped
    return frames(
        [session.pushes.newest(joined, one, skipped[joined, channel]) for joined, channel, one in held.in_order()]
    )


def use_encoder(client: SdkClient, session: SdkSession) -> None:
    """Encode for a client as its session wants it; what waits for it has been delivered, or is to be encoded so too."""
    client.encode = session.encode if session.has_own_encoder else session.pushes.usual(session.compressor)


def unusual_of(client: SdkClient, session: SdkSession, redis_channel: bytes) -> Unusual:
    """Return what is unusual about a subscription that has just begun."""
    if session.unusual is None:
        session.unusual = {}
        use_encoder(client, session)
    return session.unusual.setdefault(redis_channel, Unusual())


def forget_unusual(client: SdkClient, session: SdkSession, redis_channel: bytes) -> None:
    """Forget what was unusual about a subscription."""
    if session.unusual is None:
        return
    session.unusual.pop(redis_channel, None)
    if not session.unusual:
        session.unusual = None
        use_encoder(client, session)
