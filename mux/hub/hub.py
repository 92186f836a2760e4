"""The clients of this process: which listen, which are behind, which are silent, which are leaving.

The hub puts the router, the heartbeat and the deadlines together, and alone ends a connection against the client's
will. It does so between dispatches, never inside one. A connection that it ends leaves its channels when the event
loop reports it lost, the same way as every other.

1. A client is behind when its socket takes no more. Bytes that leave show that it reads, however much still waits; so
   it is unwritable when none have left for a while.
2. The bytes that wait are bounded for each client, and for all together (waiting.py).
3. No deadline runs while the process stands still (hub.measures.RunningTime).
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from math import inf

from mux import reasons
from mux.hub.admission import Admission
from mux.hub.heartbeat import Heartbeat
from mux.hub.measures import Deadlines, RunningTime
from mux.hub.router import Router
from mux.hub.subscriber import AnySubscriber
from mux.hub.waiting import Waiting
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

ENDED_PER_TICK = 20
"""Most clients that are ended in one tick for each kind of deadline; the others follow TICK_SECONDS later."""

logger = logging.getLogger("mux.hub")


class Hub:
    """The clients of one process.

    Args:
        max_pending_bytes: a client with more than that waiting to be sent is evicted; see Waiting.
        max_unwritable_seconds: a client whose socket takes nothing for so long is evicted.
        ping_seconds: see Heartbeat.
        pong_seconds: see Heartbeat.
        max_message_bytes: see Router.
        is_channel: see Router.
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
        is_channel: Callable[[bytes], bool] = lambda channel: True,
    ) -> None:
        self.router = Router(max_message_bytes, is_channel)
        self.admission: Admission[AnySubscriber] = Admission() if admission is None else admission
        self.evicted: Counter[str] = Counter()
        """Connections that were ended against the client's will, by reason."""
        self.evicted_bytes = 0
        """Bytes that waited for them, together."""
        self.rewritten: Counter[str] = Counter()
        """Messages that were not JSON, and were made JSON for clients that read nothing else, by what they were."""
        self.skipped = 0
        """Messages that were left out for clients that did not keep up and had asked for the newest alone."""
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
        self._waiting = Waiting(
            max_bytes=max_pending_bytes,
            max_total_bytes=max_pending_total_bytes,
            on_taken=self._unwritable.restart,
        )
        self._when_writable: dict[AnySubscriber, list[Callable[[], object]]] = {}
        self._connections = 0

    @property
    def tick_seconds(self) -> float:
        """Seconds until tick() is to be called again."""
        pings = self._ping_seconds * PINGED_PER_TICK / max(1, self._connections)
        return min(self._longest_tick, TICK_SECONDS if self._has_more else max(TICK_SECONDS, pings))

    @property
    def pending_bytes(self) -> int:
        """Bytes that wait for clients that are behind, and that are kept of messages of clients; a tick old at most."""
        return self._waiting.total_bytes

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
        self._waiting.overflowing.discard(subscriber)
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

    def is_closing(self, subscriber: AnySubscriber) -> bool:
        """Tell whether a connection has said goodbye."""
        return subscriber in self._closing

    def closing_connections(self) -> list[AnySubscriber]:
        """Return the connections that are closing."""
        return list(self._closing)

    def keep(self, subscriber: AnySubscriber, count: int, *, is_late_soon: bool = False) -> None:
        """Note how many bytes of messages that are not whole, or not due, are kept of a client; 0 when there are none.

        When is_late_soon, the client has to send the rest within message_seconds from the first call that says so,
        until one that does not.
        """
        self._waiting.keep(subscriber, count)
        if is_late_soon:
            self._unfinished.start(subscriber)
        elif self._unfinished:
            self._unfinished.stop(subscriber)

    def hold(self, subscriber: AnySubscriber, count: int) -> None:
        """Note how many bytes are held back for a client that is behind; 0 when none are. As piled_up()."""
        self._waiting.hold(subscriber, count)

    def when_writable(self, subscriber: AnySubscriber, call: Callable[[], object]) -> None:
        """Call a function, once, when the socket of a subscriber takes bytes again, or is gone."""
        self._when_writable.setdefault(subscriber, []).append(call)

    def evict(self, subscriber: AnySubscriber, reason: Reason) -> None:
        """End a connection because its client does not keep up; not inside a dispatch."""
        self._evict([subscriber], reason)

    def dispatch(self, messages: Sequence[Push], first: int = 1, *, is_own_taken: bool = False) -> bool:
        """Deliver a batch from Redis, then end the connections it was too much for; as Router.dispatch()."""
        has_own = self.router.dispatch(messages, first, is_own_taken=is_own_taken)
        self.evict_overflowing()
        return has_own

    def deliver(self, is_late: Callable[[], bool] | None = None) -> bool:
        """Deliver what waits, then end the connections it was too much for; as Router.deliver()."""
        has_more = self.router.deliver(is_late)
        self.evict_overflowing()
        return has_more

    def tick(self, now: float) -> None:
        """Ping clients that are due and end those that are overdue; to be called every tick_seconds with the time."""
        if not self._time.advance(now):
            return
        seconds = self._time.seconds
        self._evict(self._heartbeat.tick(seconds), reasons.SILENT)
        self._waiting.measure()
        unwritable, unfinished, closing = (
            deadlines.tick(seconds, ENDED_PER_TICK) for deadlines in (self._unwritable, self._unfinished, self._closing)
        )
        self._evict([client for client in unwritable if not self._waiting.has_taken(client)], reasons.UNWRITABLE)
        for subscriber in unfinished:
            self.refuse(reasons.TOO_SLOW)
            subscriber.endpoint.close(subscriber, reasons.TOO_SLOW)
        for subscriber in closing:
            subscriber.transport.abort()
        most = max(len(unwritable), len(unfinished), len(closing))
        self._has_more = most == ENDED_PER_TICK or self._waiting.has_more
        self.evict_overflowing()

    def evict_overflowing(self) -> None:
        """End the connections with which too much waits; to be called after writing outside dispatch()."""
        waiting = self._waiting
        if waiting.overflowing:
            self._evict(waiting.take_overflowing(), reasons.OVERFLOW)
        if waiting.is_too_much:
            self._evict(waiting.largest(), reasons.MEMORY)

    def _evict(self, subscribers: Collection[AnySubscriber], reason: Reason) -> None:
        count = pending = 0
        for subscriber in subscribers:
            transport = subscriber.transport
            if transport.is_closing():
                continue
            count += 1
            pending += self._waiting.forget(subscriber)
            if not subscriber.is_blocked and (told := subscriber.endpoint.last_words(subscriber, reason)):
                subscriber.write(told)
            subscriber.session = None  # what it sent goes at once, and not only when the loop reports it lost
            transport.abort()
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
        self._waiting.blocked(subscriber)
        self._unwritable.start(subscriber)

    def unblocked(self, subscriber: AnySubscriber) -> None:
        self._waiting.unblocked(subscriber)
        self._unwritable.stop(subscriber)
        if self._when_writable:
            for call in self._when_writable.pop(subscriber, ()):
                call()

    def piled_up(self, subscriber: AnySubscriber, data: bytes) -> None:
        self._waiting.piled_up(subscriber, data)
