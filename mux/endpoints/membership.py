"""A client joins a channel and leaves it: the others in the channel and the app are told if they are to be.

A connection may be in many channels. Its address is counted once (Hub.connected), and what is here is done for each
channel, whatever kind of client it is. An announcement is a message like any other: it goes to Redis and comes back
in its place among the rest, to the client it is about as well. What tells it from the same words of a client is the
Redis channel it travels in, which no client can name.

A client that listens to a wildcard is in none of the channels that it hears: nothing is announced there. The app is
told that it has joined the wildcard, and left it.

A client stays for as long as its grants hold (endpoints.expiry).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import inf

from mux import reasons
from mux.broker.outbox import Outbox
from mux.endpoints.expiry import Expiry
from mux.endpoints.hooks import Hooks
from mux.grants.grants import OPEN, Grants
from mux.hub.router import Router
from mux.hub.subscriber import AnySubscriber
from mux.settings.settings import Settings
from mux.wire.channel import is_wildcard, marked
from mux.wire.publication import JOINED, LEFT, Kind, signed
from mux.wire.sdk.info import info_of

SUBJECT_CHARACTERS = 255
"""Most characters of a subject in an announcement; a longer subject is cut."""

ANNOUNCEMENT_BYTES = {"uuid": 64, "subject": 64 + 4 * SUBJECT_CHARACTERS}
"""Most bytes of an announcement, by announce_as. It is delivered even where max_message_bytes is smaller."""


class Membership:
    """The membership of clients in channels of one process: it lets them join, and tells others of it.

    Args:
        router: delivers to the clients of a channel.
        outbox: publishes announcements.
        hooks: tell the app.
        settings: announce and announce_as.
    """

    def __init__(self, router: Router, outbox: Outbox, hooks: Hooks, settings: Settings) -> None:
        self._router = router
        self._outbox = outbox
        self._hooks = hooks
        self._is_announced = settings.announce
        self._tells_subjects = settings.announce_as == "subject"
        self._now = 0.0
        self._expiry: Expiry[AnySubscriber] = Expiry(self._expire)

    def join(self, client: AnySubscriber, redis_channel: bytes, grants: Grants | None) -> None:
        """Add a connected client to a channel, with what it may do from now on."""
        self.hold(client, grants)
        self.enter(client, redis_channel)

    def hold(self, client: AnySubscriber, grants: Grants | None) -> None:
        """Give a client what it may do from now on."""
        self._expiry.forget(client, _end_of(client))
        client.grants = grants
        self._expiry.watch(client, _end_of(client))

    def narrow(self, client: AnySubscriber, grants: Grants) -> None:
        """Let what a client may do end no later than other grants, and give it their subject if it has none."""
        held = client.grants or OPEN
        self.hold(client, replace(held, subject=held.subject or grants.subject, until=min(held.until, grants.until)))

    def enter(self, client: AnySubscriber, redis_channel: bytes) -> None:
        """Add a client to one more channel."""
        self._router.join(client, redis_channel)
        self._announce(client, redis_channel, JOINED)
        self._hooks.tell_joined(client, redis_channel)

    def left(self, client: AnySubscriber, redis_channels: Iterable[bytes]) -> None:
        """Tell of a client that it has left all its channels."""
        self._expiry.forget(client, _end_of(client))
        self.tell_left(client, redis_channels)

    def tell_left(self, client: AnySubscriber, redis_channels: Iterable[bytes]) -> None:
        """Tell of a client that it has left some channels."""
        for redis_channel in redis_channels:
            self._announce(client, redis_channel, LEFT)
        self._hooks.tell_left(client, redis_channels)

    def renew(self, client: AnySubscriber, until: float) -> bool:
        """Let the grants of a client end at another time, a Unix time in seconds; return False when it has none."""
        if client.grants is None:
            return False
        self.hold(client, replace(client.grants, until=until))
        return True

    def tick(self, now: float) -> None:
        """End the clients whose grants have ended; to be called about once a second with the Unix time in seconds."""
        self._now = now
        self._expiry.tick(now)

    def _expire(self, client: AnySubscriber) -> None:
        if _end_of(client) <= self._now:  # it may have been renewed since it was due
            client.endpoint.close(client, reasons.TOKEN_EXPIRED)

    def _announce(self, client: AnySubscriber, redis_channel: bytes, kind: Kind) -> None:
        if not self._is_announced or is_wildcard(redis_channel):
            return
        did = "joined" if kind == JOINED else "left"
        subject = self._subject_of(client) if self._tells_subjects else ""
        name = str(client.name_in(redis_channel))
        message = f"Client {subject or name} has {did}".encode()
        if subject:  # SDK clients are told the name as well
            message = signed(message, info_of(name, subject))
        self._outbox.announce(marked(redis_channel, kind), message)

    def _subject_of(self, client: AnySubscriber) -> str:
        """Return the subject of a client's token in one line; nothing when there is none."""
        subject = "" if client.grants is None else client.grants.subject or ""
        return "".join(char if char.isprintable() else "?" for char in subject[:SUBJECT_CHARACTERS])


def _end_of(client: AnySubscriber) -> float:
    """Return when the grants of a client end."""
    return inf if client.grants is None else client.grants.until
