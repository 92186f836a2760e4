"""Take every read from the broker to the hub, time its delivery, and have the journal keep it.

A batch is the messages that one read from Redis completed. All that happens to it before and beside its delivery
happens here, once per read and never per message.

1. Clients come first: a batch is delivered before anything else is done with it.
2. A message that is delivered has its number in the journal: the first has 1.
3. While reads are withheld nothing is delivered, and order is kept: what is withheld is delivered before what comes.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from mux.hub.hub import Hub
from mux.journal.journal import Journal
from mux.metrics.histogram import Histogram
from mux.wire.resp import Push


class BatchIntake:
    """The way of batches into one process.

    Args:
        hub: delivers them.
        journal: counts and keeps them.
    """

    def __init__(self, hub: Hub, journal: Journal) -> None:
        self._hub = hub
        self._journal = journal
        self.batch_sizes = Histogram(buckets=16)
        """Messages per batch: up to 2**14 = 16,384, and more."""
        self.fan_out_times = Histogram(buckets=24)
        """Microseconds per batch: up to 2**22, which is 4.2 s, and more."""
        self.after_batch: Callable[[list[Push]], None] | None = None
        """Is called with every batch that has been delivered; None when nobody wants to count messages."""
        self.withhold: Callable[[bytes, list[Push], bool], None] | None = None
        """Takes every read while it is set, and nothing is delivered; what it took comes back to deliver()."""
        self.follow: Callable[[list[Push], int], bool] | None = None
        """Is called with each batch in which processes talk, and the number of its first message, and then with every
        further one for as long as it returns True."""
        self._is_followed = False
        self.brings_copy = False
        """True while reads bring a copy of another journal, which is not to be kept in this one."""

    def take(self, read: bytes, messages: list[Push], is_whole: bool) -> bool:
        """Have the hub deliver the batch of a read, unless reads are withheld.

        Args:
            read: the bytes.
            messages: what they completed.
            is_whole: whether a message or reply is known to have ended where they end.

        Returns:
            Whether that is to be known of the next read.

        Raises:
            BrokerGarbled: see Router.dispatch().
        """
        if self.withhold is not None:
            self.withhold(read, messages, is_whole)
            return False
        return self.deliver(read, messages, is_whole)

    def deliver(self, read: bytes, messages: list[Push], is_whole: bool, *, is_own_taken: bool = False) -> bool:
        """Have the hub deliver the batch of a read, as take(); is_own_taken as for Router.dispatch()."""
        journal = self._journal
        has_talk = False
        began = perf_counter()
        if messages:
            first = journal.last + 1
            has_talk = self._hub.dispatch(messages, first, is_own_taken=is_own_taken)
            if (has_talk or self._is_followed) and self.follow is not None:
                self._is_followed = self.follow(messages, first)
            if self.after_batch is not None:
                self.after_batch(messages)
            self.fan_out_times.observe(int((perf_counter() - began) * 1e6))
            self.batch_sizes.observe(len(messages))
        return journal.keep(read, len(messages), began, is_whole=is_whole, has_talk=has_talk or self.brings_copy)
