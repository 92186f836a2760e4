"""One client's socket, as the hub sees it.

The event loop calls a Subscriber as it calls any asyncio protocol; the router writes to it. It knows
how to write, when it is behind, and whom to tell what it hears: the endpoint, one object for all
clients of a kind, which knows what the client's bytes mean.

Rules:

1. write() never raises, never changes who is subscribed and never ends the connection. It tells the hub when
   bytes pile up for the client; the hub evicts between dispatches.
2. Nothing here is per message or per channel: this object is most of what an idle client costs.
3. What waits takes little more memory than it has bytes. uvloop keeps 800 bytes beside each write that it cannot make,
   so small ones are put together here while the socket takes no more, and large ones are not copied.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Generic, Protocol, TypeAlias, TypeVar
from uuid import UUID

from mux.hub.slot import Slot
from mux.reasons import Reason
from mux.wire.publication import Encoder

SMALL_BYTES = 1024
"""Less than that is put together with what else waits."""

TOGETHER_BYTES = 16 * 1024
"""When so much has been put together it is one write."""

S = TypeVar("S")


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


class Endpoint(Protocol[S]):
    """What a kind of client does with what it hears; one object serves them all."""

    @property
    def ping(self) -> bytes:
        """What keeps a connection in use, and what a live client answers."""

    @property
    def is_answered(self) -> bool:
        """True if a live client answers the ping, and False if nothing can be known from its silence."""

    def inflation(self, data: bytes) -> int:
        """Return how many of the bytes written to a client its encoding has added to what was published."""

    def received(self, subscriber: Subscriber[S], data: bytes) -> None:
        """Take bytes from the client."""

    def lost(self, subscriber: Subscriber[S]) -> None:
        """Clean up; the connection is gone. Called once."""

    def close(self, subscriber: Subscriber[S], reason: Reason) -> None:
        """Tell the client why its connection ends, as this kind of client understands it, and end it."""


class Backlog(Protocol):
    """Who keeps an eye on clients that read too slowly."""

    def blocked(self, subscriber: AnySubscriber) -> None:
        """Its socket takes no more."""

    def unblocked(self, subscriber: AnySubscriber) -> None:
        """Its socket takes bytes again."""

    def piled_up(self, subscriber: AnySubscriber, data: bytes) -> None:
        """These bytes were written while its socket takes no more. Nothing may be ended here."""


class Subscriber(Generic[S]):
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
        "behind",
        "encode",
        "endpoint",
        "has_sent",
        "identity",
        "joined",
        "session",
        "spoke",
        "transport",
    )

    def __init__(self, transport: Transport, *, endpoint: Endpoint[S], encode: Encoder, backlog: Backlog) -> None:
        self.transport = transport
        self.endpoint = endpoint
        self.encode = encode
        self.backlog = backlog
        self.session: S | None = None
        """The endpoint keeps here what it knows of the client; None when that is nothing, or the client was evicted."""
        self.identity: UUID | None = None
        """What the client is called where it is announced."""
        self.joined: Slot[bytes] = None
        """The router keeps here the channels the client listens to, and nobody else reads them."""
        self.spoke = 0
        """The spoke of the heartbeat's wheel on which the client hangs."""
        self.awaited = False
        """True while the heartbeat waits for an answer to its ping."""
        self.has_sent = False
        """True when bytes have come from the client since the heartbeat last asked."""
        self.behind: bytearray | None = None
        """Small writes that wait to be put together while the socket takes no more; None while it does."""

    @property
    def is_blocked(self) -> bool:
        """True while the socket takes no more and what is written piles up here."""
        return self.behind is not None

    @property
    def pending_bytes(self) -> int:
        """How many bytes wait to be sent."""
        return self.transport.get_write_buffer_size() + len(self.behind or b"")

    def write(self, data: bytes) -> None:
        """Send bytes, or keep them until the socket takes them."""
        if self.behind is not None:
            self._write_behind(data)
            return
        try:
            self.transport.write(data)
        except RuntimeError:
            return  # uvloop says so of a closed handle; connection_lost() is on its way
        # mypy does not know that the transport may have called pause_writing().
        if self.behind is not None:
            self.backlog.piled_up(self, data)  # type: ignore[unreachable]

    def _write_behind(self, data: bytes) -> None:
        assert self.behind is not None, "the socket takes no more"
        is_small = len(data) < SMALL_BYTES
        if is_small:
            self.behind += data
        if not is_small or len(self.behind) >= TOGETHER_BYTES:
            self._pass_on()
        try:
            if not is_small:
                self.transport.write(data)
        except RuntimeError:
            return
        self.backlog.piled_up(self, data)

    def _pass_on(self) -> None:
        """Give the transport what was put together."""
        if self.behind:
            together = bytes(self.behind)
            self.behind.clear()
            with suppress(RuntimeError):  # as in write()
                self.transport.write(together)

    def ping(self) -> bool:
        """Ask for a sign of life; return whether one can be expected."""
        self.write(self.endpoint.ping)
        return self.endpoint.is_answered

    def close(self) -> None:
        """End both sides, after what waits to be sent."""
        self._pass_on()
        self.transport.close()

    def finish(self) -> None:
        """End our side only, where that is possible, after what waits to be sent.

        Closing a socket with unread bytes in it sends a reset, and a reset can overtake the goodbye that tells
        the client why. So the client closes first; the hub bounds how long that may take.
        """
        transport = self.transport
        if transport.is_closing():
            return
        if not transport.can_write_eof():
            self.close()
            return
        self._pass_on()
        try:
            transport.write_eof()
        except OSError:
            transport.abort()  # the client has reset the connection, and asyncio has not looked yet

    # What follows is called by the event loop (asyncio.Protocol). connection_made() is not: the
    # transport was made for somebody else's protocol.

    def data_received(self, data: bytes) -> None:
        self.has_sent = True
        self.endpoint.received(self, data)

    def eof_received(self) -> None:
        """Let the transport close: a client that sends no more has left."""
        self._pass_on()

    def pause_writing(self) -> None:
        self.behind = bytearray()
        self.backlog.blocked(self)

    def resume_writing(self) -> None:
        behind, self.behind = self.behind, None
        self.backlog.unblocked(self)
        if behind:
            self.write(bytes(behind))

    def connection_lost(self, exc: Exception | None) -> None:
        self.endpoint.lost(self)


AnySubscriber: TypeAlias = Subscriber[Any]
"""A subscriber of any kind: only its endpoint knows what its session is."""
