"""Ping clients that send nothing, and find those that do not answer.

A wheel of many spokes takes one ping interval to turn, and every connection hangs on one spoke. So one timer serves all
of them, and pings, and the answers to them, come a few at a time: 720 at once made messages 8 ms late.

Any bytes count as an answer: a client that sends is alive, and is not pinged meanwhile. A client of a kind that cannot
answer (Endpoint.is_answered) is pinged to keep proxies from closing its connection, and is never found silent: the
kernel, which waits for acknowledgements, finds that its machine is gone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import chain

from mux.hub.subscriber import AnySubscriber

SPOKES = 500
"""Spokes of a wheel. With 18,000 clients 36 are on each, whose pings take a fifth of a millisecond."""


class Heartbeat:
    """Every connection of this process, and whether it is alive.

    Args:
        ping_seconds: how often a silent client is pinged.
        pong_seconds: how long it has to answer; less than ping_seconds.
    """

    def __init__(self, *, ping_seconds: float, pong_seconds: float) -> None:
        self._spoke_seconds = ping_seconds / SPOKES
        self._pong_seconds = pong_seconds
        # Dicts without values, for a set of so few takes twice the memory.
        self._wheel: list[dict[AnySubscriber, None]] = [{} for _ in range(SPOKES)]
        self._turned = 0  # spokes, in all turns together
        self._pinged: deque[tuple[float, dict[AnySubscriber, None]]] = (
            deque()
        )  # spokes that have time to answer, with its end
        # Half a turn away, so that the first clients of a process are not pinged as soon as they are in.
        self._next = SPOKES // 2

    def __len__(self) -> int:
        return sum(map(len, self._wheel))

    def __iter__(self) -> Iterator[AnySubscriber]:
        return chain.from_iterable(self._wheel)

    def spoke(self, number: int) -> list[AnySubscriber] | None:
        """Return a copy of one spoke; None when there is none. A connection stays on its spoke."""
        return list(self._wheel[number]) if number < SPOKES else None

    def add(self, subscriber: AnySubscriber) -> None:
        """Watch a connection; its first ping comes within one interval."""
        subscriber.spoke = self._next
        self._wheel[self._next][subscriber] = None
        self._next = (self._next + 1) % SPOKES

    def discard(self, subscriber: AnySubscriber) -> None:
        """Stop watching a connection, whether or not it was watched."""
        self._wheel[subscriber.spoke].pop(subscriber, None)

    def tick(self, seconds: float) -> list[AnySubscriber]:
        """Turn the wheel: ping the clients that are due, and return those that did not answer in time.

        Args:
            seconds: for how long the wheel has turned, this time included.
        """
        silent = []
        while self._pinged and self._pinged[0][0] <= seconds:
            for subscriber in self._pinged.popleft()[1]:
                if subscriber.awaited:
                    # A client that is not read from cannot answer: its silence is our doing.
                    if not subscriber.has_sent and subscriber.transport.is_reading():
                        silent.append(subscriber)
                    subscriber.awaited = subscriber.has_sent = False
        while (self._turned + 1) * self._spoke_seconds <= seconds:
            self._turned += 1
            spoke = self._wheel[self._turned % SPOKES]
            for subscriber in spoke:
                if subscriber.has_sent:
                    subscriber.awaited = subscriber.has_sent = False
                else:
                    subscriber.awaited = subscriber.ping()
            if spoke:
                self._pinged.append((seconds + self._pong_seconds, spoke))
        return silent
