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
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Protocol, TypeAlias, cast

from mux.hub.hub import Hub
from mux.hub.subscriber import AnySubscriber
from mux.wire.channel import is_wildcard
from mux.wire.publication import BINARY, Encoder, Publication, matched

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
        self.newest: dict[tuple[bytes, bytes], Publication] = {}
        """The newest messages, by the channel or wildcard that the client has joined, and by their own channel."""
        self.skipped: Counter[tuple[bytes, bytes]] = Counter()
        """The number of messages that were left out, by the same two names."""
        self.size = 0
        """The bytes of memory that all of it takes, approximately."""

    def take(self, joined: bytes, publications: Sequence[Publication]) -> int:
        """Take messages that came by a channel or wildcard; return how many were left out."""
        if is_wildcard(joined):
            return sum(self._take((joined, one[3]), [cast("Publication", one)]) for one in matched(publications))
        return self._take((joined, joined), publications)

    def _take(self, key: tuple[bytes, bytes], publications: Sequence[Publication]) -> int:
        newest = next((one for one in reversed(publications) if one[1] <= BINARY), None)
        count = len(publications)
        if newest is not None:
            before = self.newest.get(key)
            self.newest[key] = newest
            self.size += len(newest[0]) - (len(before[0]) if before else -HELD_BYTES)
            count -= before is None
        if count:
            self.skipped[key] += count
        return count

    def drop(self, joined: Collection[bytes]) -> None:
        """Hold nothing any more that came by some channels and wildcards."""
        for key in [key for key in self.newest if key[0] in joined]:
            self.size -= len(self.newest.pop(key)[0]) + HELD_BYTES
            self.skipped.pop(key, None)

    def in_order(self) -> list[tuple[bytes, bytes, Publication]]:
        """Return the messages that are held, in order: for each what was joined, its own channel, and the message."""
        return sorted(((*key, newest) for key, newest in self.newest.items()), key=lambda one: one[2][2])

    def encoded(self) -> bytes:
        """Return what is held for a client of one channel or wildcard, as its encoder has it."""
        found = self.in_order()
        return self.encode(found[0][0], [newest for _, _, newest in found]) if found else b""


class Conflating(Protocol):
    """The endpoint of a kind of client that may ask for the newest messages."""

    def conflated(self, client: AnySubscriber, held: Held) -> bytes:
        """Return what a client is written that was behind: what was left out, and the newest messages."""


Divert: TypeAlias = Callable[[AnySubscriber, Encoder], Encoder | None]
"""Gives what comes for a client to another encoder; returns the client's own, or None when nothing is to be held."""


class Latest:
    """The clients of one process that ask for the newest messages (hub.subscriber.Backlog).

    Args:
        hub: has the clients.
        note: takes note of messages that are not written.
        divert: begins to hold what comes for a client.
        restore: gives a client its own encoder back.
    """

    def __init__(
        self, hub: Hub, note: Encoder, divert: Divert, restore: Callable[[AnySubscriber, Encoder], None]
    ) -> None:
        self._hub = hub
        self._note = note
        self._divert = divert
        self._restore = restore
        self._held: dict[AnySubscriber, Held] = {}
        self.blocked = hub.blocked
        self.unblocked = hub.unblocked

    def watch(self, client: AnySubscriber) -> None:
        """Give a client the newest messages from now on, whenever it does not keep up."""
        client.backlog = self

    def piled_up(self, client: AnySubscriber, data: bytes) -> None:
        """Hold the newest messages for a client from now on; what was written before waits for it."""
        self._hub.piled_up(client, data)
        if client in self._held:
            return
        encode = self._divert(client, partial(self._take, client))
        if encode is not None:
            self._held[client] = Held(encode)
            self._hub.when_writable(client, partial(self._writable, client))

    def settle(self, client: AnySubscriber) -> None:
        """Write what is held for a client, if anything is, and hold nothing any more."""
        if client not in self._held:
            return
        self._hub.router.deliver_to(client)  # what waits is held, too
        held = self._held.pop(client)
        self._restore(client, held.encode)
        self._hub.hold(client, 0)
        if (held.newest or held.skipped) and not client.transport.is_closing():
            client.write(cast("Conflating", client.endpoint).conflated(client, held))

    def drop(self, client: AnySubscriber, joined: Collection[bytes]) -> None:
        """Hold nothing any more of channels and wildcards that a client has left."""
        held = self._held.get(client)
        if held is not None:
            held.drop(joined)
            self._hub.hold(client, held.size)

    def _take(self, client: AnySubscriber, channel: bytes, publications: Sequence[Publication]) -> bytes:
        self._note(channel, publications)
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


def divert(withholding: Collection[Encoder], client: AnySubscriber, take: Encoder) -> Encoder | None:
    """Hold what comes for a client, unless it is still given what came before; as Divert.

    Args:
        withholding: the encoders of clients that are.
        client: does not keep up.
        take: holds messages.
    """
    encode = client.encode
    if encode in withholding:
        return None
    client.encode = take
    return encode


def restore(client: AnySubscriber, encode: Encoder) -> None:
    """Give a client its own encoder back."""
    client.encode = encode
