"""Route publications to the subscribers of their channel.

A Router owns one dict from channel to its subscribers, and with it each subscriber's own list of its channels.
Dispatch is a lookup, one encoding and one write for each subscriber, in the caller's stack frame: no task, no queue,
no await. That keeps the cost of a delivery flat, and is safe because of three rules:

1. write() never raises and never changes who is subscribed. It may set flags.
2. Removal happens between dispatches, never inside one.
3. A batch may be collected and delivered later, with those that come until then. Before anybody joins or leaves a
   channel, what waits for the channel is delivered, so that everybody gets what it got without the wait.

Channels are Redis channels here, so a message without a subscriber costs one miss in the dict and is never cut, copied
or decoded. Wildcards are subscribed to like channels and kept apart (hub.wildcards): a process without one looks once
in a batch whether there is any. A subscriber of a channel and of a wildcard for it is given a message for each, in
order for each.

Pure: no I/O, no clock, no asyncio.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence

from mux.errors import BrokerGarbled
from mux.hub.slot import Slot, added, members, removed
from mux.hub.subscriber import AnySubscriber
from mux.hub.wildcards import Wildcards
from mux.wire.channel import LAST_MARK, is_wildcard
from mux.wire.publication import GUESS, Encoder, Publication, opened
from mux.wire.resp import Push

MATCHES_AT_ONCE = 512
"""Most messages of one wildcard that are delivered between two looks at the clock, as each may be of another channel:
about half a millisecond of encoding."""

FIELDS = 4
"""A message is its type, the pattern, the Redis channel and the payload."""


class Router:
    """The subscribers of each channel, and the channels of each subscriber.

    Args:
        max_message_bytes: a larger message, which any other program may publish in Redis, is dropped and counted.
        is_channel: tells whether clients can name a Redis channel; wildcards hear no other.
    """

    __slots__ = (
        "_max_message_bytes",
        "_own",
        "_subscribers",
        "_waiting",
        "_wildcards",
        "delivered",
        "on_delivered",
        "oversized",
        "received",
        "unheard",
    )

    def __init__(
        self, max_message_bytes: int = sys.maxsize, is_channel: Callable[[bytes], bool] = lambda channel: True
    ) -> None:
        self._max_message_bytes = max_message_bytes
        self._subscribers: dict[bytes, Slot[AnySubscriber]] = {}
        self._own: dict[bytes, Callable[[bytes, int], None]] = {}
        self._waiting: dict[bytes, list[Publication]] = {}
        self._wildcards = Wildcards(max_message_bytes, is_channel)
        self.on_delivered: Callable[[], None] | None = None
        """Called when deliver() has left nothing that waits. Nobody may join or leave there."""
        self.received = 0
        """Messages that came from Redis, without those that processes send to one another."""
        self.unheard = 0
        """Messages received that no client of this process listened to."""
        self.oversized = 0
        """Messages received that had a subscriber and were too large to be delivered."""
        self.delivered = 0
        """Messages handed to sockets: one message to a thousand subscribers counts a thousand."""

    def __len__(self) -> int:
        """Return the number of channels and wildcards that have a subscriber."""
        return len(self._subscribers) + len(self._wildcards)

    def __contains__(self, channel: object) -> bool:
        """Tell whether a channel has a subscriber of its own."""
        return channel in self._subscribers

    def join(self, subscriber: AnySubscriber, channel: bytes) -> None:
        """Add a subscriber to a channel or wildcard; it may be there already."""
        self.deliver_channel(channel)
        if is_wildcard(channel):
            self._wildcards.join(subscriber, channel)
        else:
            self._subscribers[channel] = added(self._subscribers.get(channel), subscriber)
        subscriber.joined = added(subscriber.joined, channel)

    def leave(self, subscriber: AnySubscriber, channel: bytes) -> None:
        """Take a subscriber from a channel or wildcard; it may have left already."""
        self.deliver_channel(channel)
        subscriber.joined = removed(subscriber.joined, channel)
        if is_wildcard(channel):
            self._wildcards.leave(subscriber, channel)
            return
        slot = removed(self._subscribers.get(channel), subscriber)
        if slot is None:
            self._subscribers.pop(channel, None)
        else:
            self._subscribers[channel] = slot

    def is_listening(self, subscriber: AnySubscriber) -> bool:
        """Tell whether a subscriber listens to any channel."""
        return subscriber.joined is not None

    def channels(self, subscriber: AnySubscriber) -> Collection[bytes]:
        """Return the channels and wildcards that a subscriber listens to; not a copy."""
        return members(subscriber.joined)

    def leave_all(self, subscriber: AnySubscriber) -> list[bytes]:
        """Take a subscriber from all its channels and return them; none, when it has left before."""
        channels = list(members(subscriber.joined))
        for channel in channels:
            self.leave(subscriber, channel)
        return channels

    def listen(self, channel: bytes, take: Callable[[bytes, int], None]) -> None:
        """Have a function called with every payload, and its number, that comes on a channel no client can name.

        The function is called inside dispatch(), after clients have been written to, and must not take long. A payload
        may have any size. Such messages are not the feed's and are not counted with its messages.
        """
        self._own[channel] = take

    def take_own(self, messages: Sequence[Push], first: int) -> None:
        """Call those that listen() with what is theirs of a batch, and deliver nothing.

        Raises:
            BrokerGarbled: a message has not four items.
        """
        if any(len(message) != FIELDS for message in messages):
            raise BrokerGarbled("a message that cannot be")
        for number, (_, _, channel, payload) in enumerate(messages, first):
            if channel in self._own:
                self._own[channel](payload, number)

    def subscribers(self, channel: bytes) -> Collection[AnySubscriber]:
        """Return the subscribers of a channel, or of a wildcard; not a copy."""
        return members(self._slot(channel))

    def _slot(self, channel: bytes) -> Slot[AnySubscriber]:
        return self._wildcards.slot(channel) if is_wildcard(channel) else self._subscribers.get(channel)

    def count(self, channel: bytes) -> int:
        """Return how many subscribers a channel has, or a wildcard."""
        slot = self._slot(channel)
        return len(slot) if isinstance(slot, set) else int(slot is not None)

    def dispatch(self, messages: Sequence[Push], first: int = 1, *, is_own_taken: bool = False) -> bool:
        """Deliver one batch from Redis, after those that wait: per channel in order, one write to each subscriber.

        Arguments, result and errors are those of collect().
        """
        has_own = self.collect(messages, first, is_own_taken=is_own_taken)
        self.deliver()
        return has_own

    def collect(self, messages: Sequence[Push], first: int = 1, *, is_own_taken: bool = False) -> bool:
        """Take one batch from Redis, and let it wait to be delivered.

        Args:
            messages: the batch.
            first: the number of its first message.
            is_own_taken: whether take_own() was called with the batch before.

        Returns:
            Whether a message was for one that listens by listen(); then everything has been delivered.

        Raises:
            BrokerGarbled: a message has not four items; nothing of the batch is taken.
        """
        table, own, max_bytes = self._subscribers, self._own, self._max_message_bytes
        batches: dict[bytes, list[Publication]] = {}
        between_processes: list[tuple[bytes, bytes, int]] = []
        unheard = 0
        try:
            for number, (_, _, channel, payload) in enumerate(messages, first):
                kind = GUESS
                if channel not in table:
                    # Only a miss is looked up twice, so that a message without a mark costs nothing more.
                    if channel[-1] > LAST_MARK or (plain := channel[:-1]) not in table:
                        if channel in own:
                            between_processes.append((channel, payload, number))
                        else:
                            unheard += 1
                        continue
                    payload, kind = opened(payload, channel[-1])
                    channel = plain
                if len(payload) > max_bytes:
                    self.oversized += 1
                    continue
                batch = batches.get(channel)
                if batch is None:
                    batches[channel] = [(payload, kind, number)]
                else:
                    batch.append((payload, kind, number))
        except ValueError as error:  # costs nothing as long as nothing is raised
            raise BrokerGarbled(f"a message that cannot be: {error}") from error
        if self._wildcards.lengths:
            own_messages, oversized = self._wildcards.collect(messages, first, table)
            unheard -= own_messages
            self.oversized += oversized
        self.received += len(messages) - len(between_processes)
        self.unheard += unheard
        if self._waiting:
            for channel, batch in batches.items():
                self._waiting.setdefault(channel, []).extend(batch)
        else:
            self._waiting = batches
        if between_processes and not is_own_taken:
            self.deliver()
            for channel, payload, number in between_processes:
                own[channel](payload, number)
        return bool(between_processes)

    def deliver(self, is_late: Callable[[], bool] | None = None) -> bool:
        """Deliver what waits, or what of it there is time for; return whether more waits.

        Args:
            is_late: is asked after each channel, and each part of a wildcard; True leaves the others for the next call.
        """
        batches, table = self._waiting, self._subscribers
        self._waiting = {}
        rest = iter(batches.items())
        for channel, batch in rest:
            slot = table[channel]
            if isinstance(slot, set):
                self._fan_out(slot, channel, batch)
            else:
                assert slot is not None, "a channel without a subscriber is not in the table"
                slot.write(slot.encode(channel, batch))
                self.delivered += len(batch)
            if is_late is not None and is_late():
                self._waiting = dict(rest)
                break
        matched = self._wildcards.waiting
        while matched and not self._waiting:
            wildcard, batch = self._wildcards.take(None if is_late is None else MATCHES_AT_ONCE)
            self._fan_out(self.subscribers(wildcard), wildcard, batch)
            if is_late is not None and is_late():
                break
        if self._waiting or matched:
            return True
        if self.on_delivered is not None:
            self.on_delivered()
        return False

    def deliver_channel(self, channel: bytes) -> None:
        """Deliver what waits for a channel or wildcard; to be done before a subscriber is given another encoder."""
        waiting = self._wildcards if is_wildcard(channel) else self._waiting
        if batch := waiting.pop(channel, None):
            self._fan_out(self.subscribers(channel), channel, batch)

    def deliver_to(self, subscriber: AnySubscriber) -> None:
        """Deliver what waits for the channels of a subscriber."""
        if self._waiting or self._wildcards.waiting:
            for channel in members(subscriber.joined):
                self.deliver_channel(channel)

    def _fan_out(self, subscribers: Collection[AnySubscriber], channel: bytes, batch: list[Publication]) -> None:
        encode: Encoder | None = None
        buffers: dict[Encoder, bytes] = {}
        for subscriber in subscribers:
            # Nearly always every subscriber of a channel is of the same kind as the one before it.
            if subscriber.encode is not encode:
                encode = subscriber.encode
                if encode not in buffers:
                    buffers[encode] = encode(channel, batch)
                buffer = buffers[encode]
            subscriber.write(buffer)
        self.delivered += len(subscribers) * len(batch)
