"""One client's socket, as the hub sees it.

The event loop calls a Subscriber as it calls any asyncio protocol; the router writes to it. It knows
how to write, when it is behind, and whom to tell what it hears: the endpoint, one object for all
clients of a kind, which knows what the client's bytes mean.

Rules:

1. write() never raises, never changes who is subscribed and never ends the connection. It tells the hub when
   bytes pile up for the client; the hub evicts between dispatches.
2. Nothing here is per message or per channel: this object is most of what an idle client costs.
"""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeAlias, TypeVar
from uuid import UUID

from mux.hub.slot import Slot
from mux.wire.publication import Encoder

P = TypeVar("P")


class Transport(Protocol):
    """What is used of asyncio's and uvloop's transports."""

    def write(self, data: bytes) -> None: ...
    def write_eof(self) -> None: ...
    def set_write_buffer_limits(self, high: int, low: int) -> None: ...
    def can_write_eof(self) -> bool: ...
    def get_write_buffer_size(self) -> int: ...
    def is_closing(self) -> bool: ...
    def is_reading(self) -> bool: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...


class Endpoint(Protocol[P]):
    """What a kind of client does with what it hears; one object serves them all."""

    @property
    def ping(self) -> bytes:
        """What keeps a connection in use, and what a live client answers."""

    @property
    def is_answered(self) -> bool:
        """True if a live client answers the ping, and False if nothing can be known from its silence."""

    def inflation(self, data: bytes) -> int:
        """Return how many of the bytes written to a client its encoding has added to what was published."""

    def received(self, subscriber: Subscriber[P], data: bytes) -> None:
        """Take bytes from the client."""

    def lost(self, subscriber: Subscriber[P]) -> None:
        """Clean up; the connection is gone. Called once."""

    def close(self, subscriber: Subscriber[P], code: int, reason: str) -> None:
        """Say goodbye as this kind of client understands it (RFC 6455, section 7.4)."""


class Backlog(Protocol):
    """Who keeps an eye on clients that read too slowly."""

    def blocked(self, subscriber: AnySubscriber) -> None:
        """Its socket takes no more."""

    def unblocked(self, subscriber: AnySubscriber) -> None:
        """Its socket takes bytes again."""

    def piled_up(self, subscriber: AnySubscriber, data: bytes) -> None:
        """These bytes were written while its socket takes no more. Nothing may be ended here."""


class Subscriber(Generic[P]):
    """One connection.

    Args:
        transport: the socket; the caller has set, or sets next, this object as its protocol.
        endpoint: the kind of client.
        encode: what turns publications into bytes this client reads.
        backlog: whom to tell when the client does not keep up.
    """

    __slots__ = (
        "awaited",
        "backlog",
        "channels",
        "encode",
        "endpoint",
        "heard",
        "identity",
        "is_blocked",
        "parser",
        "spoke",
        "transport",
    )

    def __init__(self, transport: Transport, *, endpoint: Endpoint[P], encode: Encoder, backlog: Backlog) -> None:
        self.transport = transport
        self.endpoint = endpoint
        self.encode = encode
        self.backlog = backlog
        self.parser: P | None = None
        """What the client's bytes go through; kept by the endpoint, None when there is nothing to keep."""
        self.identity: UUID | None = None
        """What the client is called where it is announced."""
        self.channels: Slot[bytes] = None
        """The channels it listens to; kept by the router."""
        self.spoke = 0
        """Where it hangs; kept by the heartbeat, as are the next two."""
        self.awaited = False
        self.heard = False
        self.is_blocked = False
        """True while the socket takes no more and what is written piles up here."""

    def write(self, data: bytes) -> None:
        """Send bytes, or keep them until the socket takes them."""
        try:
            self.transport.write(data)
        except RuntimeError:
            return  # uvloop says so of a closed handle; connection_lost() is on its way
        if self.is_blocked:
            self.backlog.piled_up(self, data)

    def ping(self) -> bool:
        """Ask for a sign of life; return whether one can be expected."""
        self.write(self.endpoint.ping)
        return self.endpoint.is_answered

    def finish(self) -> None:
        """End our side only, where that is possible, after what waits to be sent.

        Closing a socket with unread bytes in it sends a reset, and a reset can overtake the goodbye that tells
        the client why. So the client closes first; the hub bounds how long that may take.
        """
        transport = self.transport
        if transport.is_closing():
            return
        if not transport.can_write_eof():
            transport.close()
            return
        try:
            transport.write_eof()
        except OSError:
            transport.abort()  # the client has reset the connection, and asyncio has not looked yet

    # What follows is called by the event loop (asyncio.Protocol). connection_made() is not: the
    # transport was made for somebody else's protocol.

    def data_received(self, data: bytes) -> None:
        self.heard = True
        self.endpoint.received(self, data)

    def eof_received(self) -> None:
        """Let the transport close: a client that sends no more has left."""

    def pause_writing(self) -> None:
        self.is_blocked = True
        self.backlog.blocked(self)

    def resume_writing(self) -> None:
        self.is_blocked = False
        self.backlog.unblocked(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.endpoint.lost(self)


AnySubscriber: TypeAlias = Subscriber[Any]
"""A subscriber of any kind: what a client says is between its parser and its endpoint."""
