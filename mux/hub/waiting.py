"""The bytes that wait or are held for the clients of a process, and those kept of messages that clients have begun.

1. They are bounded for each client, and for all together: then those with most are named, for the hub to end.
2. Only clients that are behind are measured. Bytes that leave show that a client reads, however much still waits.
3. Work over all clients is done in parts: some are measured in each tick, and some are named in each turn.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import nlargest
from itertools import islice

from mux.hub.measures import Pending
from mux.hub.subscriber import AnySubscriber

RELIEF = 8
"""When too much waits for all clients together, clients are ended until an eighth of the bound is free, so that all
who are behind need not be measured again soon."""

MAX_INFLATION = 8
"""Up to so many times max_bytes may wait for a client whose encoding adds much: a line end of a text is seven bytes of
an event stream, and its reader may be as many texts behind as any other client."""

MEASURED_PER_TICK = 200
"""Most clients that are measured in one tick; the others follow in the next, TICK_SECONDS later."""

ENDED_AT_ONCE = 1000
"""Most clients that are ended in one turn because too much waits; the others follow in the next dispatch or tick."""


class Waiting:
    """The amounts of bytes by client.

    Args:
        max_bytes: with more than that waiting to be sent, a client overflows; bytes that its encoding has added do not
            count, up to MAX_INFLATION times as much.
        max_total_bytes: with more than that waiting, all clients together are too much.
        on_taken: called with a client that was behind and has taken bytes.
    """

    def __init__(self, *, max_bytes: int, max_total_bytes: int, on_taken: Callable[[AnySubscriber], object]) -> None:
        self._max_bytes = max_bytes
        self._max_total_bytes = max_total_bytes
        self._on_taken = on_taken
        self.overflowing: set[AnySubscriber] = set()
        """Clients for which too much waits."""
        self._outgoing: Pending[AnySubscriber] = Pending()
        self._inflation: dict[AnySubscriber, int] = {}
        self._incoming: Pending[AnySubscriber] = Pending()
        self._held: Pending[AnySubscriber] = Pending()
        self._unmeasured: list[AnySubscriber] = []

    @property
    def total_bytes(self) -> int:
        """All bytes that wait; a tick old at most."""
        return self._outgoing.total + self._incoming.total + self._held.total

    @property
    def is_too_much(self) -> bool:
        """True when more than max_total_bytes wait."""
        return self._outgoing.total + self._incoming.total + self._held.total > self._max_total_bytes

    @property
    def has_more(self) -> bool:
        """True when clients are left to be measured in the next tick."""
        return bool(self._unmeasured)

    def blocked(self, subscriber: AnySubscriber) -> None:
        """Measure a client from now on: its socket takes no more."""
        self._outgoing.note(subscriber, 0)

    def unblocked(self, subscriber: AnySubscriber) -> None:
        """Measure a client no more: its socket takes bytes again, or is gone."""
        self._outgoing.forget(subscriber)
        self._inflation.pop(subscriber, None)

    def piled_up(self, subscriber: AnySubscriber, data: bytes) -> None:
        """Measure a client that is behind, for which bytes were written."""
        self.has_taken(subscriber, len(data))
        inflation = subscriber.endpoint.inflation(data)
        if inflation:
            # Of all that was written since it is behind. Some of it may have left, hence MAX_INFLATION.
            self._inflation[subscriber] = self._inflation.get(subscriber, 0) + inflation
        amount = self._outgoing.amounts[subscriber]
        if amount > self._max_bytes:
            inflation = self._inflation.get(subscriber, 0)
            if max(amount - inflation, amount // MAX_INFLATION) > self._max_bytes:
                self.overflowing.add(subscriber)

    def keep(self, subscriber: AnySubscriber, count: int) -> None:
        """Note how many bytes of a client's messages are kept, as they are not whole or not due; 0 when none are."""
        if count:
            self._incoming.note(subscriber, count)
        elif subscriber in self._incoming.amounts:
            self._incoming.forget(subscriber)

    def hold(self, subscriber: AnySubscriber, count: int) -> None:
        """Note how many bytes are held back for a client until it takes more; 0 when none are."""
        if count:
            self._held.note(subscriber, count)
        else:
            self._held.forget(subscriber)
        if count > self._max_bytes:
            self.overflowing.add(subscriber)

    def forget(self, subscriber: AnySubscriber) -> int:
        """Forget the bytes of a client that is ended, and return how many they were."""
        kept = self._incoming.amounts.get(subscriber, 0) + self._held.amounts.get(subscriber, 0)
        amount = subscriber.pending_bytes + kept
        self._outgoing.forget(subscriber)
        self._incoming.forget(subscriber)
        self._held.forget(subscriber)
        return amount

    def has_taken(self, subscriber: AnySubscriber, written: int = 0) -> bool:
        """Measure a client; tell whether bytes have left for it since the last time, beside those written meanwhile."""
        size = subscriber.pending_bytes
        if size >= self._outgoing.note(subscriber, size) + written:
            return False
        self._on_taken(subscriber)
        return True

    def measure(self) -> None:
        """Measure some clients that are behind, each in its turn; to be called once a tick."""
        if not self._unmeasured:
            self._unmeasured = list(self._outgoing.amounts)
        for _ in range(min(MEASURED_PER_TICK, len(self._unmeasured))):
            subscriber = self._unmeasured.pop()
            if subscriber in self._outgoing.amounts:
                self.has_taken(subscriber)

    def take_overflowing(self) -> list[AnySubscriber]:
        """Take out and return clients for which too much waits, at most ENDED_AT_ONCE."""
        overflowing = list(islice(self.overflowing, ENDED_AT_ONCE))
        self.overflowing.difference_update(overflowing)
        return overflowing

    def largest(self) -> list[AnySubscriber]:
        """Return the clients with which most waits, as many as it takes for the sum to be well within its bound."""
        # Not all are sorted and measured again, which takes 20 ms for 18,000: the others follow in the next dispatch.
        outgoing = self._outgoing.amounts
        clients = outgoing.keys() | self._incoming.amounts.keys() | self._held.amounts.keys()
        candidates = nlargest(ENDED_AT_ONCE, clients, key=self._amount)
        for subscriber in candidates:
            if subscriber in outgoing:
                self._outgoing.note(subscriber, subscriber.pending_bytes)
        excess = self.total_bytes - self._max_total_bytes
        if excess <= 0:
            return []
        excess += self._max_total_bytes // RELIEF
        largest: list[AnySubscriber] = []
        for subscriber in sorted(candidates, key=self._amount, reverse=True):
            if excess <= 0:
                break
            excess -= self._amount(subscriber)
            largest.append(subscriber)
        return largest

    def _amount(self, subscriber: AnySubscriber) -> int:
        return sum(one.amounts.get(subscriber, 0) for one in (self._outgoing, self._incoming, self._held))
