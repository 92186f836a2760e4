"""Everyone connected to this process: who listens, who is behind, who is silent, who is leaving.

The hub puts the router, the heartbeat and the deadlines together, and is the only one that ends a
connection against the client's will. It does so between dispatches, never inside one. A connection
it ends leaves its channels when the event loop reports it lost, the same way as every other.
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterable

from mux.hub.deadlines import Deadlines
from mux.hub.heartbeat import Heartbeat
from mux.hub.router import Router
from mux.hub.subscriber import AnySubscriber
from mux.wire.resp import Push

CLOSING_SECONDS = 5.0
"""How long a client has to finish the closing handshake. RFC 6455, section 7.1.1, asks for a reasonable
time and names none; a browser answers within a round trip."""

TICKS_PER_DEADLINE = 5
"""A deadline may be met early by one tick, so by a fifth at the most; at the defaults a tick is a second."""

logger = logging.getLogger("mux.hub")


class Hub:
    """The clients of one process.

    Args:
        max_pending_bytes: a client with more than that waiting to be sent is evicted.
        max_unwritable_seconds: a client whose socket takes nothing for so long is evicted.
        ping_seconds: see Heartbeat.
        pong_seconds: see Heartbeat.
        max_message_bytes: see Router.
    """

    def __init__(
        self,
        *,
        max_pending_bytes: int,
        max_unwritable_seconds: float,
        ping_seconds: float,
        pong_seconds: float,
        max_message_bytes: int = sys.maxsize,
    ) -> None:
        self.router = Router(max_message_bytes)
        self.max_pending_bytes = max_pending_bytes
        self.evicted: Counter[str] = Counter()
        """How many connections were ended against their will, by reason."""
        self.refused: Counter[str] = Counter()
        """How many requests were refused and clients closed for breaking a rule, by reason."""
        self.on_empty: Callable[[], None] | None = None
        """Called when the last connection is gone."""
        # Deadlines are exact to a tick, so a tick is a small part of the shortest.
        self._heartbeat = Heartbeat(
            ping_seconds=ping_seconds,
            pong_seconds=pong_seconds,
            longest_tick_seconds=min(max_unwritable_seconds, CLOSING_SECONDS) / TICKS_PER_DEADLINE,
        )
        self._unwritable: Deadlines[AnySubscriber] = Deadlines(max_unwritable_seconds)
        self._closing: Deadlines[AnySubscriber] = Deadlines(CLOSING_SECONDS)
        self._overflowing: set[AnySubscriber] = set()
        self._connections = 0

    @property
    def tick_seconds(self) -> float:
        """How often tick() is to be called."""
        return self._heartbeat.tick_seconds

    @property
    def pending_bytes(self) -> int:
        """What waits for clients whose sockets take no more; what the others have waiting is little."""
        return sum(subscriber.transport.get_write_buffer_size() for subscriber in self._unwritable)

    def __len__(self) -> int:
        """How many connections there are, those that are closing included."""
        return self._connections

    def connected(self, subscriber: AnySubscriber) -> None:
        """Watch a new connection."""
        self._connections += 1
        self._heartbeat.add(subscriber)

    def closing(self, subscriber: AnySubscriber) -> None:
        """Give a connection that has said goodbye a little time to end."""
        self._heartbeat.discard(subscriber)
        self._closing.start(subscriber)

    def disconnected(self, subscriber: AnySubscriber) -> None:
        """Forget a connection that has ended."""
        self._connections -= 1
        self._heartbeat.discard(subscriber)
        self._closing.stop(subscriber)
        self._unwritable.stop(subscriber)
        self._overflowing.discard(subscriber)
        if not self._connections and self.on_empty is not None:
            self.on_empty()

    def open_connections(self) -> list[AnySubscriber]:
        """Return the connections that are not closing."""
        return list(self._heartbeat)

    def closing_connections(self) -> list[AnySubscriber]:
        """Return the connections that are closing."""
        return list(self._closing)

    def dispatch(self, messages: Iterable[Push]) -> None:
        """Deliver a batch from Redis, then end the connections it was too much for."""
        self.router.dispatch(messages)
        if self._overflowing:
            self.evict_overflowing()

    def tick(self, now: float) -> None:
        """Ping who is due and end who is overdue; to be called every tick_seconds.

        Args:
            now: seconds, on any clock that does not go back.
        """
        for subscriber in self._heartbeat.tick():
            self._evict(subscriber, "silent")
        for subscriber in self._unwritable.tick(now):
            self._evict(subscriber, "unwritable")
        for subscriber in self._closing.tick(now):
            subscriber.transport.abort()
        self.evict_overflowing()

    def evict_overflowing(self) -> None:
        """End the connections that have too much pending; to be called after writing outside dispatch()."""
        while self._overflowing:
            self._evict(self._overflowing.pop(), "overflow")

    def _evict(self, subscriber: AnySubscriber, reason: str) -> None:
        transport = subscriber.transport
        if transport.is_closing():
            return
        self.evicted[reason] += 1
        if reason == "silent":
            logger.debug("dropped a client that did not answer its ping")
        else:
            logger.warning(
                "evicted a slow consumer (%s) with %d bytes pending", reason, transport.get_write_buffer_size()
            )
        transport.abort()

    # What follows is how subscribers report (subscriber.Backlog).

    def blocked(self, subscriber: AnySubscriber) -> None:
        self._unwritable.start(subscriber)

    def unblocked(self, subscriber: AnySubscriber) -> None:
        self._unwritable.stop(subscriber)

    def overflowed(self, subscriber: AnySubscriber) -> None:
        self._overflowing.add(subscriber)
