"""Coming and going: a client joins its channel, leaves it, and is gone; the others are told if they are to be.

It is the same for every kind of client. An announcement is a message like any other: it goes to Redis and comes back
in its place among the rest, to the client it is about as well. What tells it from the same words of a client is the
Redis channel it travels in, which no client can name.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import uuid4

from mux.broker.outbox import Outbox
from mux.hub.admission import Admission
from mux.hub.hub import Hub
from mux.hub.subscriber import AnySubscriber
from mux.wire.channel import marked
from mux.wire.publication import JOINED, LEFT, Kind

ANNOUNCEMENT_BYTES = 64
"""An announcement is no larger, and is delivered however small messages have to be."""


class Membership:
    """Who is in the channels of one process.

    Args:
        hub: whose router knows who listens to what.
        outbox: publishes announcements.
        admission: who counts clients by address.
        is_announced: whether the others are told.
    """

    def __init__(self, hub: Hub, outbox: Outbox, admission: Admission[AnySubscriber], *, is_announced: bool) -> None:
        self._hub = hub
        self._outbox = outbox
        self._admission = admission
        self._is_announced = is_announced

    def join(self, redis_channel: bytes, address: str, client: AnySubscriber) -> None:
        """Add a connected client to the channel it came for; address as for Admission.check()."""
        self._admission.entered(client, address)
        self._hub.router.join(client, redis_channel)
        if self._is_announced:
            client.identity = uuid4()
        self._tell((redis_channel,), client, JOINED)

    def left(self, client: AnySubscriber, channels: Iterable[bytes]) -> None:
        """Tell that a client has left channels."""
        self._tell(channels, client, LEFT)

    def lost(self, client: AnySubscriber) -> None:
        """Forget a client that is gone."""
        self._admission.left(client)

    def _tell(self, channels: Iterable[bytes], client: AnySubscriber, kind: Kind) -> None:
        if client.identity is not None:
            message = f"Client {client.identity} has {'joined' if kind == JOINED else 'left'}".encode()
            for redis_channel in channels:
                self._outbox.announce(marked(redis_channel, kind), message)
