"""A client joins a channel and leaves it, and the others in the channel are told if they are to be.

A connection may be in many channels. Its address is counted once (Hub.connected), and what is here is done for each
channel, whatever kind of client it is. An announcement is a message like any other: it goes to Redis and comes back
in its place among the rest, to the client it is about as well. What tells it from the same words of a client is the
Redis channel it travels in, which no client can name.
"""

from __future__ import annotations

from collections.abc import Iterable

from mux.broker.outbox import Outbox
from mux.hub.router import Router
from mux.hub.subscriber import AnySubscriber
from mux.wire.channel import marked
from mux.wire.publication import JOINED, LEFT, Kind

SUBJECT_CHARACTERS = 255
"""A longer subject is cut where a client is announced as its subject."""

ANNOUNCEMENT_BYTES = {"uuid": 64, "subject": 64 + 4 * SUBJECT_CHARACTERS}
"""An announcement is no larger, and is delivered however small messages have to be."""


class Membership:
    """Which clients are in which channels of one process.

    Args:
        router: delivers to the clients of a channel.
        outbox: publishes announcements.
        is_announced: whether the others are told.
        tells_subjects: whether they are told the subject of a client's token, if it has one.
    """

    def __init__(self, router: Router, outbox: Outbox, *, is_announced: bool, tells_subjects: bool = False) -> None:
        self._router = router
        self._outbox = outbox
        self._is_announced = is_announced
        self._tells_subjects = tells_subjects

    def join(self, client: AnySubscriber, redis_channel: bytes) -> None:
        """Add a connected client to a channel."""
        self._router.join(client, redis_channel)
        if self._is_announced:
            self._announce(client, redis_channel, JOINED)

    def left(self, client: AnySubscriber, redis_channels: Iterable[bytes]) -> None:
        """Announce that a client has left channels."""
        if self._is_announced:
            for redis_channel in redis_channels:
                self._announce(client, redis_channel, LEFT)

    def _announce(self, client: AnySubscriber, redis_channel: bytes, kind: Kind) -> None:
        did = "joined" if kind == JOINED else "left"
        subject = self._subject_of(client) if self._tells_subjects else ""
        message = f"Client {subject or client.name_in(redis_channel)} has {did}".encode()
        self._outbox.announce(marked(redis_channel, kind), message)

    def _subject_of(self, client: AnySubscriber) -> str:
        """Return the subject of a client's token in one line; nothing when there is none."""
        subject = "" if client.grants is None else client.grants.subject or ""
        return "".join(char if char.isprintable() else "?" for char in subject[:SUBJECT_CHARACTERS])
