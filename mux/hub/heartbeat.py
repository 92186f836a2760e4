"""Ping clients that send nothing, and find those that do not answer.

A wheel turns by one spoke at a time, and a full turn takes one ping interval. Every connection hangs on one spoke, so
one timer serves all of them, and pings never leave in one burst. Where ticks have to be closer, a spoke has several.

Any bytes count as an answer: a client that sends is alive, and is not pinged meanwhile. A client of a kind that cannot
answer (Endpoint.is_answered) is pinged to keep proxies from closing its connection, and is never found silent: the
kernel, which waits for acknowledgements, finds that its machine is gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from math import ceil, inf

from mux.hub.subscriber import AnySubscriber

SPOKES = 25
"""Fewest spokes of a wheel: at the default of 25 s between pings it turns by one spoke a second."""

MAX_SPOKES = 100
"""Most spokes of a wheel. An answer is waited for too long by one spoke at most, a hundredth of the ping interval."""


class Heartbeat:
    """Every connection of this process, and whether it is alive.

    Args:
        ping_seconds: how often a silent client is pinged.
        pong_seconds: how long it has to answer, rounded up to a spoke; less than ping_seconds.
        longest_tick_seconds: how far apart ticks may be.
    """

    def __init__(self, *, ping_seconds: float, pong_seconds: float, longest_tick_seconds: float = inf) -> None:
        ticks = max(SPOKES, ceil(ping_seconds / longest_tick_seconds))
        self._ticks_per_spoke = ceil(ticks / MAX_SPOKES)
        self._ticks = 0
        spokes = ceil(ticks / self._ticks_per_spoke)
        spoke_seconds = ping_seconds / spokes
        self.tick_seconds = spoke_seconds / self._ticks_per_spoke
        """Seconds between two calls of tick()."""
        self._grace = min(spokes - 1, ceil(pong_seconds / spoke_seconds))
        self._wheel: list[set[AnySubscriber]] = [set() for _ in range(spokes)]
        self._position = 0
        # Half a turn away, so that the first clients of a process are not pinged as soon as they are in.
        self._next = spokes // 2

    def __len__(self) -> int:
        return sum(map(len, self._wheel))

    def __iter__(self) -> Iterator[AnySubscriber]:
        return chain.from_iterable(self._wheel)

    def spoke(self, number: int) -> list[AnySubscriber] | None:
        """Return a copy of one spoke; None when there is none. A connection stays on its spoke."""
        return list(self._wheel[number]) if number < len(self._wheel) else None

    def add(self, subscriber: AnySubscriber) -> None:
        """Watch a connection; its first ping comes within one interval."""
        subscriber.spoke = self._next
        self._wheel[self._next].add(subscriber)
        self._next = (self._next + 1) % len(self._wheel)

    def discard(self, subscriber: AnySubscriber) -> None:
        """Stop watching a connection, whether or not it was watched."""
        self._wheel[subscriber.spoke].discard(subscriber)

    def tick(self) -> list[AnySubscriber]:
        """Ping the clients that are due, and return those that did not answer in time."""
        self._ticks = (self._ticks + 1) % self._ticks_per_spoke
        if self._ticks:
            return []
        self._position = (self._position + 1) % len(self._wheel)
        silent = []
        for subscriber in self._wheel[self._position - self._grace]:
            if subscriber.awaited:
                # A client that is not read from cannot answer: its silence is our doing.
                if not subscriber.has_sent and subscriber.transport.is_reading():
                    silent.append(subscriber)
                subscriber.awaited = subscriber.has_sent = False
        for subscriber in self._wheel[self._position]:
            if subscriber.has_sent:
                subscriber.has_sent = False
            else:
                subscriber.awaited = subscriber.ping()
        return silent
