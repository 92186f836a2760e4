"""One client's socket, as the hub sees it.

The event loop calls a Subscriber as any asyncio protocol, and the router writes to it. It gives the client's bytes to
its endpoint, one object for all clients of a kind, which knows what they mean.

Rules:

1. write() never raises, never changes who is subscribed and never ends the connection. It tells the hub when bytes
   pile up for the client, and the hub evicts between dispatches.
2. Nothing here is per message or per channel: this object is most of the memory that an idle client costs.
3. Bytes that wait take little more memory than they are. uvloop keeps 800 bytes beside each write that it cannot make,
   so small ones are put together here while the socket takes no more, and large ones are not copied.
"""

from __future__ import annotations

from contextlib import suppress
from hashlib import blake2b
from typing import Any, Generic, Protocol, TypeAlias, TypeVar
from uuid import UUID, uuid4

from mux.grants.grants import Grants
from mux.hub.slot import Slot
from mux.reasons import Reason
from mux.wire.publication import Encoder

SMALL_BYTES = 1024
"""Writes of fewer bytes are put together."""

TOGETHER_BYTES = 16 * 1024
"""Writes that were put together are passed on at this size."""

S = TypeVar("S")


class Transport(Protocol):
    """The methods of asyncio's and uvloop's transports that are used."""

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
    """Handles all clients of a kind."""

    def ping(self, subscriber: Subscriber[S]) -> bytes:
        """Return the bytes that keep a connection in use, and that a live client answers."""

    @property
    def is_answered(self) -> bool:
        """True if a live client answers the ping, and False if its silence proves nothing."""

    @property
    def is_named_once(self) -> bool:
        """True if a client of this kind has one name in all channels, which it knows."""

    def inflation(self, data: bytes) -> int:
        """Return how many of the bytes written to a client its encoding has added to what was published."""

    def received(self, subscriber: Subscriber[S], data: bytes) -> None:
        """Take bytes from the client."""

    def lost(self, subscriber: Subscriber[S]) -> None:
        """Clean up; the connection is gone. Called once."""

    def last_words(self, subscriber: Subscriber[S], reason: Reason) -> bytes:
        """Return what a client is told that is cut off, if anything."""

    def close(self, subscriber: Subscriber[S], reason: Reason) -> None:
        """Tell the client why its connection ends, as this kind of client understands it, and end it."""


class Backlog(Protocol):
    """Watches clients that read too slowly."""

    def blocked(self, subscriber: AnySubscriber) -> None:
        """Note that the socket of a client takes no more bytes."""

    def unblocked(self, subscriber: AnySubscriber) -> None:
        """Note that the socket of a client takes bytes again."""

    def piled_up(self, subscriber: AnySubscriber, data: bytes) -> None:
        """Note that bytes were written for a client whose socket takes no more. No connection may be ended here."""


class Subscriber(Generic[S]):
    """One connection.

    Args:
        transport: the socket; the caller has set, or sets next, this object as its protocol.
        endpoint: handles this kind of client.
        encode: turns publications into bytes that this client reads.
        backlog: is told when the client does not keep up.
    """

    __slots__ = (
        "awaited",
        "backlog",
        "behind",
        "encode",
        "endpoint",
        "grants",
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
        """The endpoint's own knowledge of the client; None when there is none, or the client was evicted."""
        self.grants: Grants | None = None
        """The rights of the client, and their end; None when everything is open."""
        self.identity: UUID | None = None
        """The secret from which the names of the client are made; None until it has a name."""
        self.joined: Slot[bytes] = None
        """The channels that the client listens to. Only the router reads them."""
        self.spoke = 0
        """The spoke of the heartbeat's wheel on which the client hangs."""
        self.awaited = False
        """True while the heartbeat waits for an answer to its ping."""
        self.has_sent = False
        """True when bytes have come from the client since the heartbeat last asked."""
        self.behind: bytearray | None = None
        """Small writes that wait to be put together while the socket takes no more bytes; None while it takes them."""

    @property
    def is_blocked(self) -> bool:
        """True while the socket takes no more bytes."""
        return self.behind is not None

    @property
    def pending_bytes(self) -> int:
        """The number of bytes that wait to be sent."""
        return self.transport.get_write_buffer_size() + len(self.behind or b"")

    def name_in(self, channel: bytes) -> UUID:
        """Return what the client is called in a channel: the same whenever it joins, and another in every channel.

        So nobody learns from names who is in two channels; unless it is of a kind that has one name.
        """
        self.identity = self.identity or uuid4()
        if self.endpoint.is_named_once:
            return self.identity
        return UUID(bytes=blake2b(channel, key=self.identity.bytes, digest_size=16).digest(), version=4)

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
        if not data:
            return  # what there is for the client is held elsewhere
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
        """Give the transport the small writes, together."""
        if self.behind:
            together = bytes(self.behind)
            self.behind.clear()
            with suppress(RuntimeError):  # as in write()
                self.transport.write(together)

    def ping(self) -> bool:
        """Send a ping; return whether a live client answers it."""
        self.write(self.endpoint.ping(self))
        return self.endpoint.is_answered

    def close(self) -> None:
        """End both sides, after the bytes that wait to be sent."""
        self._pass_on()
        self.transport.close()

    def finish(self) -> None:
        """End our side only, where that is possible, after the bytes that wait to be sent.

        Closing a socket with unread bytes in it sends a reset, which can overtake the goodbye before it. So the client
        closes first, and the hub bounds how long that may take.
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
            transport.abort()  # the client has reset the connection, and asyncio has not noticed yet

    # The event loop calls what follows (asyncio.Protocol). It has called connection_made() of an earlier protocol.

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
