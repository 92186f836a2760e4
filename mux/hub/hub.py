"""The clients of this process: which listen, which are behind, which are silent, which are leaving.

The hub puts the router, the heartbeat and the deadlines together, and alone ends a connection against the client's
will. It does so between dispatches, never inside one. A connection that it ends leaves its channels when the event
loop reports it lost, the same way as every other.

1. A client is behind when its socket takes no more. Bytes that leave show that it reads, however much still waits; so
   it is unwritable when none have left for a while.
2. The bytes that wait are bounded for each client, and for all together: then the clients with most are ended.
3. No deadline runs while the process stands still (hub.measures.RunningTime).
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from heapq import nlargest
from itertools import islice
from math import inf

from mux import reasons
from mux.hub.admission import Admission
from mux.hub.heartbeat import Heartbeat
from mux.hub.measures import Deadlines, Pending, RunningTime
from mux.hub.router import Router
from mux.hub.subscriber import AnySubscriber
from mux.reasons import Reason
from mux.wire.resp import Push

CLOSING_SECONDS = 5.0
"""A client has so long to finish the closing handshake; RFC 6455, section 7.1.1, asks for a reasonable time."""

TICK_SECONDS = 0.02
"""Shortest time between two ticks. With thousands of clients ticks are close, and each does a little."""

PINGED_PER_TICK = 36
"""Approximate number of clients that one tick pings when there are thousands; this takes a fifth of a millisecond."""

TICKS_PER_DEADLINE = 5
"""A deadline may be met early by one tick, so by a fifth at the most."""

HIGH_WATER_BYTES = 4096
"""A client is behind when more than that waits for it. With all others the bytes that wait are not measured, so they
are few: asyncio's 64 KiB are 1.2 GB with 18,000 clients."""

LOW_WATER_BYTES = 1024
"""A client is no longer behind when no more than that waits for it."""

RELIEF = 8
"""When too much waits for all clients together, clients are ended until an eighth of the bound is free, so that all
who are behind need not be measured again soon."""

MAX_INFLATION = 8
"""Up to so many times max_pending_bytes may wait for a client whose encoding adds much: a line end of a text is seven
bytes of an event stream, and its reader may be as many texts behind as any other client."""

MEASURED_PER_TICK = 200
"""Most clients that are measured in one tick; the others follow in the next, TICK_SECONDS later."""

ENDED_PER_TICK = 20
"""Most clients that are ended in one tick for each kind of deadline; the others follow TICK_SECONDS later."""

ENDED_AT_ONCE = 1000
"""Most clients that are ended in one turn because too much waits; the others follow in the next dispatch or tick."""

logger = logging.getLogger("mux.hub")


class Hub:
    """The clients of one process.

    Args:
        max_pending_bytes: a client with more than that waiting to be sent is evicted; bytes that its encoding has
            added do not count, up to MAX_INFLATION times as much.
        max_unwritable_seconds: a client whose socket takes nothing for so long is evicted.
        ping_seconds: see Heartbeat.
        pong_seconds: see Heartbeat.
        max_message_bytes: see Router.
        max_pending_total_bytes: when more waits with all clients together, those with most are evicted.
        message_seconds: how long a client has from the first byte of a message to the last.
        admission: counts connections by address; without it, any number may come from one.
    """

    def __init__(
        self,
        *,
        max_pending_bytes: int,
        max_unwritable_seconds: float,
        ping_seconds: float,
        pong_seconds: float,
        max_message_bytes: int = sys.maxsize,
        max_pending_total_bytes: int = sys.maxsize,
        message_seconds: float = inf,
        admission: Admission[AnySubscriber] | None = None,
    ) -> None:
        self.router = Router(max_message_bytes)
        self.admission: Admission[AnySubscriber] = Admission() if admission is None else admission
        self._max_pending_bytes = max_pending_bytes
        self.evicted: Counter[str] = Counter()
        """Connections that were ended against the client's will, by reason."""
        self.evicted_bytes = 0
        """Bytes that waited for them, together."""
        self.refused: Counter[str] = Counter()
        """Requests that were refused, and clients that were closed for breaking a rule, by reason."""
        self.on_empty: Callable[[], None] | None = None
        """Called when the last connection is gone."""
        self._heartbeat = Heartbeat(ping_seconds=ping_seconds, pong_seconds=pong_seconds)
        # Deadlines are exact to a tick, so a tick is a small part of the shortest.
        shortest = min(ping_seconds / TICKS_PER_DEADLINE, max_unwritable_seconds, message_seconds, CLOSING_SECONDS)
        self._longest_tick = shortest / TICKS_PER_DEADLINE
        self._ping_seconds = ping_seconds
        self._has_more = False  # to do in the next tick
        self._time = RunningTime(self._longest_tick)
        self._unwritable: Deadlines[AnySubscriber] = Deadlines(max_unwritable_seconds)
        self._unfinished: Deadlines[AnySubscriber] = Deadlines(message_seconds)
        self._closing: Deadlines[AnySubscriber] = Deadlines(CLOSING_SECONDS)
        self._overflowing: set[AnySubscriber] = set()
        self._max_pending_total_bytes = max_pending_total_bytes
        self._outgoing: Pending[AnySubscriber] = Pending()
        self._inflation: dict[AnySubscriber, int] = {}
        self._incoming: Pending[AnySubscriber] = Pending()
        self._unmeasured: list[AnySubscriber] = []
        self._when_writable: dict[AnySubscriber, Callable[[], object]] = {}
        self._connections = 0

    @property
    def tick_seconds(self) -> float:
        """Seconds until tick() is to be called again."""
        pings = self._ping_seconds * PINGED_PER_TICK / max(1, self._connections)
        return min(self._longest_tick, TICK_SECONDS if self._has_more else max(TICK_SECONDS, pings))

    @property
    def pending_bytes(self) -> int:
        """Bytes that wait for clients that are behind, and that are kept of messages of clients; a tick old at most."""
        return self._outgoing.total + self._incoming.total

    def __len__(self) -> int:
        """Return the number of connections, those that are closing included."""
        return self._connections

    def refuse(self, reason: Reason) -> None:
        """Count a request that is refused, or a client that is closed for breaking a rule."""
        self.refused[reason.counted_as] += 1

    def connected(self, subscriber: AnySubscriber, address: str = "") -> None:
        """Watch a new connection, and count it by its address unless that is empty."""
        self.admission.entered(subscriber, address)
        subscriber.transport.set_write_buffer_limits(HIGH_WATER_BYTES, LOW_WATER_BYTES)
        self._connections += 1
        self._heartbeat.add(subscriber)

    def closing(self, subscriber: AnySubscriber) -> None:
        """Give a connection that has said goodbye a little time to end."""
        self._heartbeat.discard(subscriber)
        self._closing.start(subscriber)

    def disconnected(self, subscriber: AnySubscriber) -> None:
        """Forget a connection that has ended."""
        self.admission.left(subscriber)
        self._connections -= 1
        self._heartbeat.discard(subscriber)
        self._closing.stop(subscriber)
        self.unblocked(subscriber)
        self.keep(subscriber, 0)
        self._overflowing.discard(subscriber)
        if not self._connections and self.on_empty is not None:
            self.on_empty()

    def open_connections(self) -> list[AnySubscriber]:
        """Return the connections that are not closing."""
        return list(self._heartbeat)

    def spoke(self, number: int) -> list[AnySubscriber] | None:
        """Return some of the connections that are not closing; None when there is no spoke of this number.

        Every such connection is on one spoke, and stays there.
        """
        return self._heartbeat.spoke(number)

    def closing_connections(self) -> list[AnySubscriber]:
        """Return the connections that are closing."""
        return list(self._closing)

    def keep(self, subscriber: AnySubscriber, count: int, *, is_late_soon: bool = False) -> None:
        """Note how many bytes of messages that are not whole, or not due, are kept of a client; 0 when there are none.

        When is_late_soon, the client has to send the rest within message_seconds from the first call that says so,
        until one that does not.
        """
        if count:
            self._incoming.note(subscriber, count)
        elif subscriber in self._incoming.amounts:
            self._incoming.forget(subscriber)
        if is_late_soon:
            self._unfinished.start(subscriber)
        elif self._unfinished:
            self._unfinished.stop(subscriber)

    def when_writable(self, subscriber: AnySubscriber, call: Callable[[], object]) -> None:
        """Call a function, once, when the socket of a subscriber takes bytes again, or is gone."""
        self._when_writable[subscriber] = call

    def evict(self, subscriber: AnySubscriber, reason: Reason) -> None:
        """End a connection because its client does not keep up; not inside a dispatch."""
        self._evict([subscriber], reason)

    def dispatch(self, messages: Sequence[Push], first: int = 1, *, is_own_taken: bool = False) -> bool:
        """Deliver a batch from Redis, then end the connections it was too much for; as Router.dispatch()."""
        has_own = self.router.dispatch(messages, first, is_own_taken=is_own_taken)
        self.evict_overflowing()
        return has_own

    def deliver(self, most_channels: int | None = None) -> bool:
        """Deliver what waits, then end the connections it was too much for; as Router.deliver()."""
        has_more = self.router.deliver(most_channels)
        self.evict_overflowing()
        return has_more

    def tick(self, now: float) -> None:
        """Ping clients that are due and end those that are overdue; to be called every tick_seconds with the time."""
        if not self._time.advance(now):
            return
        seconds = self._time.seconds
        self._evict(self._heartbeat.tick(seconds), reasons.SILENT)
        self._measure()
        unwritable, unfinished, closing = (
            deadlines.tick(seconds, ENDED_PER_TICK) for deadlines in (self._unwritable, self._unfinished, self._closing)
        )
        self._evict([client for client in unwritable if not self._has_taken(client)], reasons.UNWRITABLE)
        for subscriber in unfinished:
            self.refuse(reasons.TOO_SLOW)
            subscriber.endpoint.close(subscriber, reasons.TOO_SLOW)
        for subscriber in closing:
            subscriber.transport.abort()
        most = max(len(unwritable), len(unfinished), len(closing))
        self._has_more = most == ENDED_PER_TICK or bool(self._unmeasured)
        self.evict_overflowing()

    def evict_overflowing(self) -> None:
        """End the connections with which too much waits; to be called after writing outside dispatch()."""
        if self._overflowing:
            overflowing = list(islice(self._overflowing, ENDED_AT_ONCE))
            self._overflowing.difference_update(overflowing)
            self._evict(overflowing, reasons.OVERFLOW)
        if self.pending_bytes > self._max_pending_total_bytes:
            self._evict(self._largest(), reasons.MEMORY)

    def _largest(self) -> list[AnySubscriber]:
        """Return the clients with which most waits, as many as it takes for the sum to be well within its bound."""
        # Not all are sorted and measured again, which takes 20 ms for 18,000: the others follow in the next dispatch.
        outgoing, incoming = self._outgoing.amounts, self._incoming.amounts
        candidates = nlargest(ENDED_AT_ONCE, outgoing.keys() | incoming.keys(), key=self._amount)
        for subscriber in candidates:
            if subscriber in outgoing:
                self._outgoing.note(subscriber, subscriber.pending_bytes)
        excess = self.pending_bytes - self._max_pending_total_bytes
        if excess <= 0:
            return []
        excess += self._max_pending_total_bytes // RELIEF
        largest: list[AnySubscriber] = []
        for subscriber in sorted(candidates, key=self._amount, reverse=True):
            if excess <= 0:
                break
            excess -= self._amount(subscriber)
            largest.append(subscriber)
        return largest

    def _amount(self, subscriber: AnySubscriber) -> int:
        return self._outgoing.amounts.get(subscriber, 0) + self._incoming.amounts.get(subscriber, 0)

    def _measure(self) -> None:
        """Measure how many bytes wait for clients that are behind, each in its turn."""
        if not self._unmeasured:
            self._unmeasured = list(self._outgoing.amounts)
        for _ in range(min(MEASURED_PER_TICK, len(self._unmeasured))):
            subscriber = self._unmeasured.pop()
            if subscriber in self._outgoing.amounts:
                self._has_taken(subscriber)

    def _has_taken(self, subscriber: AnySubscriber, written: int = 0) -> bool:
        """Tell whether bytes have left for a client since it was last measured; if so, its time begins anew."""
        size = subscriber.pending_bytes
        if size >= self._outgoing.note(subscriber, size) + written:
            return False
        self._unwritable.restart(subscriber)
        return True

    def _evict(self, subscribers: Collection[AnySubscriber], reason: Reason) -> None:
        count = pending = 0
        for subscriber in subscribers:
            transport = subscriber.transport
            if transport.is_closing():
                continue
            count += 1
            pending += subscriber.pending_bytes + self._incoming.amounts.get(subscriber, 0)
            subscriber.session = None  # what it sent goes at once, and not only when the loop reports it lost
            transport.abort()
            self._outgoing.forget(subscriber)
            self._incoming.forget(subscriber)
        if not count:
            return
        self.evicted[reason.counted_as] += count
        self.evicted_bytes += pending
        plural = "" if count == 1 else "s"
        if reason is reasons.SILENT:
            logger.debug("dropped %d client%s that did not answer a ping", count, plural)
        else:
            text = "evicted %d slow consumer%s (%s) with %d bytes pending"
            logger.warning(text, count, plural, reason.counted_as, pending)

    # What follows is how subscribers report (subscriber.Backlog).

    def blocked(self, subscriber: AnySubscriber) -> None:
        self._outgoing.note(subscriber, 0)
        self._unwritable.start(subscriber)

    def unblocked(self, subscriber: AnySubscriber) -> None:
        self._outgoing.forget(subscriber)
        self._inflation.pop(subscriber, None)
        self._unwritable.stop(subscriber)
        if self._when_writable and (call := self._when_writable.pop(subscriber, None)) is not None:
            call()

    def piled_up(self, subscriber: AnySubscriber, data: bytes) -> None:
        self._has_taken(subscriber, len(data))
        inflation = subscriber.endpoint.inflation(data)
        if inflation:
            # Of all that was written since it is behind. Some of it may have left, hence MAX_INFLATION.
            self._inflation[subscriber] = self._inflation.get(subscriber, 0) + inflation
        amount = self._outgoing.amounts[subscriber]
        if amount > self._max_pending_bytes:
            inflation = self._inflation.get(subscriber, 0)
            if max(amount - inflation, amount // MAX_INFLATION) > self._max_pending_bytes:
                self._overflowing.add(subscriber)
