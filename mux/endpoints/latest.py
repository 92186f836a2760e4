"""Give clients that ask for it, and do not keep up, the newest message of each channel instead of dropping them.

    the socket takes bytes        every message is written, as for any client
    it takes no more              the newest message of each channel is held, and those before it are counted
    it takes bytes again          what was left out is told, and what is held is written

1. Nobody else pays for it. Such a client reports to this object instead of the hub, and has an encoder of its own while
   it is behind; an idle one takes no memory beyond that of any other.
2. What is held goes in the order of the messages, and nothing is left out unless it is counted. So a client that comes
   back with the position of its last message is given what was left out after it.
3. Announcements are left out, so that they do not take the place of a message.
4. A client whose socket takes nothing for max_unwritable_seconds is ended like any other, and so is one for which more
   than max_pending_bytes are held.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Sequence
from functools import partial
from operator import itemgetter
from typing import Protocol, cast

from mux.hub.hub import Hub
from mux.hub.subscriber import AnySubscriber
from mux.wire.channel import is_wildcard
from mux.wire.publication import BINARY, Encoder, Matched, Publication, matched

HELD_BYTES = 256
"""Approximate bytes of memory that a held message takes beside its payload."""


class Held:
    """The newest messages for one client.

    Args:
        encode: the client's encoder while it keeps up.
    """

    __slots__ = ("encode", "newest", "size", "skipped")

    def __init__(self, encode: Encoder) -> None:
        self.encode = encode
        self.newest: dict[bytes, tuple[bytes, Publication]] = {}
        """By its channel, the newest message, with the channel or wildcard that it came by."""
        self.skipped: Counter[bytes] = Counter()
        """How many messages were left out of each channel."""
        self.size = 0
        """The bytes of memory that all of it takes, approximately."""

    def take(self, joined: bytes, publications: Sequence[Publication]) -> int:
        """Take messages that came by a channel or wildcard; return how many were left out."""
        count = 0
        if is_wildcard(joined):
            for one in matched(publications):
                count += self._take(joined, one[3], [cast("Publication", one)])
            return count
        return self._take(joined, joined, publications)

    def _take(self, joined: bytes, channel: bytes, publications: Sequence[Publication]) -> int:
        newest = next((one for one in reversed(publications) if one[1] <= BINARY), None)
        count = len(publications)
        if newest is not None:
            before = self.newest.get(channel)
            self.newest[channel] = joined, newest
            self.size += len(newest[0]) - (len(before[1][0]) if before else -HELD_BYTES)
            count -= before is None
        if count:
            self.skipped[channel] += count
        return count

    def in_order(self) -> list[Matched]:
        """Return the messages that are held, in order, each with its channel."""
        held = [(*one[:3], channel) for channel, (_, one) in self.newest.items()]
        return sorted(held, key=itemgetter(2))

    def encoded(self) -> bytes:
        """Return what is held for a client of one channel or wildcard, as its encoder has it."""
        if not self.newest:
            return b""
        (joined, _), *_ = self.newest.values()
        return self.encode(joined, sorted((one for _, one in self.newest.values()), key=itemgetter(2)))


class Conflating(Protocol):
    """The endpoint of a kind of client that may ask for the newest messages."""

    def conflated(self, client: AnySubscriber, held: Held) -> bytes:
        """Return what a client is written that was behind: what was left out, and the newest messages."""


class Latest:
    """The clients of one process that ask for the newest messages (hub.subscriber.Backlog).

    Args:
        hub: has the clients.
        withhold: takes note of messages that are not written.
        withholding: the encoders of clients that are still given what came before; they are not behind.
    """

    def __init__(self, hub: Hub, withhold: Encoder, withholding: Collection[Encoder]) -> None:
        self._hub = hub
        self._withhold = withhold
        self._withholding = withholding
        self._held: dict[AnySubscriber, Held] = {}
        self.blocked = hub.blocked
        self.unblocked = hub.unblocked

    def watch(self, client: AnySubscriber) -> None:
        """Give a client the newest messages from now on, whenever it does not keep up."""
        client.backlog = self

    def piled_up(self, client: AnySubscriber, data: bytes) -> None:
        """Hold the newest messages for a client from now on; what was written before waits for it."""
        self._hub.piled_up(client, data)
        if client not in self._held and client.encode not in self._withholding:
            self._held[client] = Held(client.encode)
            client.encode = partial(self._take, client)
            self._hub.when_writable(client, partial(self._writable, client))

    def settle(self, client: AnySubscriber) -> None:
        """Write what is held for a client, if anything is, and hold nothing any more."""
        if client not in self._held:
            return
        self._hub.router.deliver_to(client)  # what waits is held, too
        held = self._held.pop(client)
        client.encode = held.encode
        self._hub.hold(client, 0)
        if (held.newest or held.skipped) and not client.transport.is_closing():
            client.write(cast("Conflating", client.endpoint).conflated(client, held))

    def _take(self, client: AnySubscriber, channel: bytes, publications: Sequence[Publication]) -> bytes:
        self._withhold(channel, publications)
        held = self._held[client]
        self._hub.skipped += held.take(channel, publications)
        self._hub.hold(client, held.size)
        return b""

    def _writable(self, client: AnySubscriber) -> None:
        # The client first gets the small writes that were put together, which Subscriber has still to pass on.
        asyncio.get_running_loop().call_soon(self._release, client)

    def _release(self, client: AnySubscriber) -> None:
        if client.is_blocked and not client.transport.is_closing():
            self._hub.when_writable(client, partial(self._writable, client))
            return
        self.settle(client)
        self._hub.evict_overflowing()
