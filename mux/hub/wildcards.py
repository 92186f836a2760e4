"""Find the messages that are for listeners to wildcards, and let them wait for their delivery.

A wildcard `feed:orders.*` stands for all channels that begin with `feed:orders.`. A message costs one lookup for each
distinct length of what is before the star, however many wildcards there are.

    batch ──► one lookup for each length ──► a list for each wildcard, in the order of the messages of all its channels

1. The messages of a wildcard keep the order of their numbers, over all its channels: a client that has one of them has
   all before it.
2. A wildcard hears channels that clients can name, and nothing else that is published in Redis.

Pure: no I/O, no clock, no asyncio.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Sequence
from typing import cast

from mux.hub.slot import Slot, added, removed
from mux.hub.subscriber import AnySubscriber
from mux.wire.channel import LAST_MARK, WILDCARD
from mux.wire.publication import GUESS, Matched, Publication, opened
from mux.wire.resp import Push


class Wildcards:
    """The wildcards that are listened to.

    Args:
        max_message_bytes: see Router.
        is_channel: tells whether clients can name a Redis channel.
    """

    __slots__ = ("_counts", "_is_channel", "_max_message_bytes", "_slots", "lengths", "waiting")

    def __init__(self, max_message_bytes: int, is_channel: Callable[[bytes], bool]) -> None:
        self._max_message_bytes = max_message_bytes
        self._is_channel = is_channel
        self._slots: dict[bytes, Slot[AnySubscriber]] = {}  # by what is before the star
        self._counts: Counter[int] = Counter()  # how many wildcards have as many bytes before the star
        self.lengths: list[int] = []
        """The distinct lengths of what is before the stars; none when nobody listens to a wildcard."""
        self.waiting: dict[bytes, list[Matched]] = {}
        """The messages that wait to be delivered, by what is before the star."""

    def __len__(self) -> int:
        """Return the number of wildcards that have a subscriber."""
        return len(self._slots)

    def slot(self, wildcard: bytes) -> Slot[AnySubscriber]:
        """Return the subscribers of a wildcard."""
        return self._slots.get(wildcard[:-1])

    def join(self, subscriber: AnySubscriber, wildcard: bytes) -> None:
        """Add a subscriber to a wildcard for which nothing waits; it may be there already."""
        stem = wildcard[:-1]
        if stem not in self._slots:
            self._counts[len(stem)] += 1
            self.lengths = sorted(self._counts)
        self._slots[stem] = added(self._slots.get(stem), subscriber)

    def leave(self, subscriber: AnySubscriber, wildcard: bytes) -> None:
        """Take a subscriber from a wildcard for which nothing waits; it may have left already."""
        stem = wildcard[:-1]
        if stem not in self._slots:
            return
        slot = removed(self._slots[stem], subscriber)
        if slot is not None:
            self._slots[stem] = slot
            return
        del self._slots[stem]
        self._counts -= Counter([len(stem)])  # one that is left at nothing is gone
        self.lengths = sorted(self._counts)

    def collect(self, messages: Sequence[Push], first: int, heard: Container[bytes]) -> tuple[int, int]:
        """Take what is for wildcards from a batch, and let it wait.

        Args:
            messages: the batch.
            first: the number of its first message.
            heard: the channels that have a subscriber of their own.

        Returns:
            The number of messages that no client but these listens to, and how many of them are too large.
        """
        lengths, slots, waiting = self.lengths, self._slots, self.waiting
        own = oversized = 0
        for number, (_, _, channel, payload) in enumerate(messages, first):
            kind = GUESS
            if channel[-1] <= LAST_MARK:
                payload, kind = opened(payload, channel[-1])
                channel = channel[:-1]
            size = len(channel)
            stems = [channel[:length] for length in lengths if length <= size and channel[:length] in slots]
            if not stems or not self._is_channel(channel):
                continue
            own += channel not in heard
            if len(payload) > self._max_message_bytes:
                oversized += channel not in heard
                continue
            one = payload, kind, number, channel
            for stem in stems:
                waiting.setdefault(stem, []).append(one)
        return own, oversized

    def take(self, most: int | None = None) -> tuple[bytes, list[Publication]]:
        """Return a wildcard for which something waits, and of that as many messages as are wanted, which wait no more.

        Each of them is Matched.
        """
        stem, batch = next(iter(self.waiting.items()))
        if most is None or len(batch) <= most:
            del self.waiting[stem]
        else:
            batch, self.waiting[stem] = batch[:most], batch[most:]
        return stem + WILDCARD, cast("list[Publication]", batch)

    def pop(self, wildcard: bytes, default: None) -> list[Publication] | None:
        """Return what waits for a wildcard, which waits no more, or the default. Each message is Matched."""
        return cast("list[Publication] | None", self.waiting.pop(wildcard[:-1], default))
