"""Take every read from the broker to the hub, time its delivery, and have the journal keep it.

A batch is the messages that one read from Redis completed. All that happens to it before and beside its delivery
happens here, once per read and never per message.

Of a torrent over thousands of channels one read has at most one message for each, and each would be a write of its own.
So reads are gathered: after a large one the loop polls again, for as long as each poll brings another large one, and
then every client gets all of it in one write. Where reads are small they are delivered at once.

A process may also be told to read from Redis only now and then: a message that comes alone costs a turn of the loop,
and ten messages in one read hardly more than that.

1. Clients come first: a batch that is not gathered is delivered before anything else is done with it.
2. A message that is delivered has its number in the journal: the first has 1.
3. While reads are withheld nothing is delivered, and order is kept: what is withheld is delivered before what comes.
4. Nothing holds the loop: gathered messages are delivered in slices, and Redis is not read from meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter

from mux.hub.hub import Hub
from mux.journal.journal import Journal
from mux.metrics.histogram import Histogram
from mux.wire.resp import Push

LARGE_BYTES = 8192
"""Fewest bytes of a read that is taken for a part of a torrent, so that more is read before it is delivered."""

GATHER_SECONDS = 0.008
"""Most seconds for which reads are gathered, at first: longer, and a short rush would make everybody wait."""

LONGEST_GATHER_SECONDS = 0.03
"""Most seconds for which reads are gathered when the process has not kept up for a while."""

GATHER_GROWTH = 1.25
"""Factor by which reads are gathered longer when the last gathering ended while more came: 30 ms after 0.1 s."""

GATHERED_BYTES = 8 * 1024 * 1024
"""Most bytes that are gathered; the last read may exceed it. As much waits in the socket when Redis is far ahead."""

SLICE_SECONDS = 0.004
"""Most seconds in which one turn of the loop gathers reads, and as many in which it delivers what was gathered. One
read, or one channel, may exceed them."""

AUTO_SECONDS = 0.002
"""Seconds between two reads under gather_ms=auto, while nine of ten messages have no listener here."""

AUTO_MESSAGES = 100
"""Fewest messages from which the process decides that nine of ten have no listener here."""


class BatchIntake:
    """The way of batches into one process.

    Args:
        hub: delivers them.
        journal: counts and keeps them.
        read_seconds: time between two reads, when they follow closely; None lets the process decide by what is heard.
    """

    def __init__(self, hub: Hub, journal: Journal, read_seconds: float | None = 0.0) -> None:
        self._hub = hub
        self._read_seconds = read_seconds or 0.0
        self._is_auto = read_seconds is None
        self._read_at = 0.0
        self._received = self._unheard = 0  # as the router counts them, when it was last decided
        self._timer: asyncio.TimerHandle | None = None
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
        self.pause_reading: Callable[[bool], None] = lambda is_paused: None
        """Is called with True when Redis is not to be read from, and with False when it is again."""
        self._gathering: asyncio.Handle | None = None
        self._gathered_bytes = self._gathered_messages = 0
        self._has_come = False  # a large read, since the loop was let poll
        self._gather_until = self._pause_at = self._seconds = 0.0
        self._gather_seconds = GATHER_SECONDS

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
        if self._gathering is not None or len(read) >= LARGE_BYTES:
            return self._gather(read, messages, is_whole)
        tells_end = self.deliver(read, messages, is_whole)
        self._pause_for_more()
        return tells_end

    def deliver(self, read: bytes, messages: list[Push], is_whole: bool, *, is_own_taken: bool = False) -> bool:
        """Have the hub deliver the batch of a read, as take(); is_own_taken as for Router.dispatch()."""
        journal = self._journal
        has_talk = False
        began = perf_counter()
        if messages:
            first = journal.last + 1
            has_talk = self._hub.dispatch(messages, first, is_own_taken=is_own_taken)
            self._show(messages, first, has_talk=has_talk)
            self.fan_out_times.observe(int((perf_counter() - began) * 1e6))
            self.batch_sizes.observe(len(messages))
        return journal.keep(read, len(messages), began, is_whole=is_whole, has_talk=has_talk or self.brings_copy)

    def _show(self, messages: list[Push], first: int, *, has_talk: bool) -> None:
        if (has_talk or self._is_followed) and self.follow is not None:
            self._is_followed = self.follow(messages, first)
        if self.after_batch is not None:
            self.after_batch(messages)

    def _pause_for_more(self) -> None:
        """Read nothing for a while, if so it is wanted and reads follow each other closely."""
        if self._is_auto:
            self._decide()
        if self._read_seconds:
            before, self._read_at = self._read_at, perf_counter()
            if self._read_at - before < 2 * self._read_seconds:
                self.pause_reading(True)
                self._stop_timer()
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(self._read_seconds, self.pause_reading, False)

    def _decide(self) -> None:
        received, unheard = self._hub.router.received, self._hub.router.unheard
        if received - self._received >= AUTO_MESSAGES:
            is_unheard = (unheard - self._unheard) * 10 >= (received - self._received) * 9
            self._read_seconds = AUTO_SECONDS if is_unheard else 0.0
            self._received, self._unheard = received, unheard

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """Deliver what has been gathered, and stop the timer."""
        self.deliver_gathered()
        self._stop_timer()

    def deliver_gathered(self) -> None:
        """Deliver at once what has been gathered."""
        if self._gathering is not None:
            self._gathering.cancel()
            self._hub.deliver()
            self._end_gathering()

    def _gather(self, read: bytes, messages: list[Push], is_whole: bool) -> bool:
        journal, began = self._journal, perf_counter()
        has_talk = False
        if messages:
            has_talk = self._hub.router.collect(messages, journal.last + 1)
            self._show(messages, journal.last + 1, has_talk=has_talk)
        self._gathered_messages += len(messages)
        self._gathered_bytes += len(read)
        self._has_come |= len(read) >= LARGE_BYTES
        if self._gathering is None:
            self._gather_until, self._pause_at = began + self._gather_seconds, began + SLICE_SECONDS
            self._gathering = asyncio.get_running_loop().call_soon(self._poll_again)
        now = perf_counter()
        self._seconds += now - began
        if self._gathered_bytes >= GATHERED_BYTES or now > self._pause_at:
            self.pause_reading(True)  # one poll may bring dozens of reads
        return journal.keep(read, len(messages), began, is_whole=is_whole, has_talk=has_talk or self.brings_copy)

    def _poll_again(self) -> None:
        """Let the loop poll once more if its last poll has brought a large read; else deliver."""
        now = perf_counter()
        if self._has_come and self._gathered_bytes < GATHERED_BYTES and now < self._gather_until:
            self._has_come = False
            self._pause_at = now + SLICE_SECONDS
            self.pause_reading(False)
            self._gathering = asyncio.get_running_loop().call_soon(self._poll_again)
        else:
            longer = min(self._gather_seconds * GATHER_GROWTH, LONGEST_GATHER_SECONDS)
            self._gather_seconds = longer if self._has_come else GATHER_SECONDS
            self._deliver_slice()

    def _deliver_slice(self) -> None:
        began = perf_counter()
        until = began + SLICE_SECONDS
        has_more = self._hub.deliver(lambda: perf_counter() >= until)
        self._seconds += perf_counter() - began
        if has_more:
            self.pause_reading(True)
            self._gathering = asyncio.get_running_loop().call_soon(self._deliver_slice)
        else:
            self._end_gathering()

    def _end_gathering(self) -> None:
        self._gathering = None
        self.pause_reading(False)
        self.batch_sizes.observe(self._gathered_messages)
        self.fan_out_times.observe(int(self._seconds * 1e6))
        self._gathered_bytes = self._gathered_messages = 0
        self._seconds = 0.0
        self._pause_for_more()
