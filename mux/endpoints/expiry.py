"""End connections whose tokens have ended, each within some seconds, and not all together.

Tokens that were made together end together, and their clients come back with new ones; so clients that are due in the
same moment are ended in batches (goodbye.spread). A client whose token ends alone is ended at once.

There is no timer here: the process calls tick(). A client whose grants do not end costs nothing.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from math import ceil, isinf
from random import Random

from mux import reasons
from mux.goodbye.spread import spread
from mux.hub.slot import Slot, added, members, removed
from mux.hub.subscriber import AnySubscriber

SPREAD_SECONDS = 5.0
"""Seconds over which clients whose tokens end in the same second are ended."""

STALE_SECONDS = 64
"""The heap is made anew when it has more than twice the seconds in which a token ends, and this many more."""


class Expiry:
    """The clients of one process whose tokens end, by the second.

    Args:
        dice: decides which client of many is ended when.
    """

    def __init__(self, dice: Random | None = None) -> None:
        self._dice = dice or Random()  # noqa: S311 - nothing is kept secret by it
        self._ends: dict[int, Slot[AnySubscriber]] = {}
        self._seconds: list[int] = []  # a heap; has every key of _ends, and others
        self._batches: list[tuple[float, list[AnySubscriber]]] = []

    def __len__(self) -> int:
        """Return how many clients have a token that ends."""
        return sum(len(members(slot)) for slot in self._ends.values())

    def watch(self, client: AnySubscriber) -> None:
        """End a client when its grants end, if they do."""
        second = _end_of(client)
        if second is None:
            return
        if second not in self._ends:
            heappush(self._seconds, second)
        self._ends[second] = added(self._ends.get(second), client)

    def forget(self, client: AnySubscriber) -> None:
        """Take a client out, whether or not it is in."""
        second = _end_of(client)
        if second is None or second not in self._ends:
            return
        slot = removed(self._ends[second], client)
        if slot is not None:
            self._ends[second] = slot
            return
        del self._ends[second]
        if len(self._seconds) > 2 * len(self._ends) + STALE_SECONDS:
            self._seconds = list(self._ends)
            heapify(self._seconds)

    def tick(self, now: float) -> None:
        """End those that are due; to be called about once a second with the time in seconds of Unix time."""
        due: list[AnySubscriber] = []
        while self._seconds and self._seconds[0] <= now:
            due += members(self._ends.pop(heappop(self._seconds), None))
        self._batches += [(now + wait, batch) for wait, batch in spread(due, SPREAD_SECONDS, self._dice)]
        waiting = []
        for when, batch in self._batches:
            if when > now:
                waiting.append((when, batch))
                continue
            for client in batch:
                client.endpoint.close(client, reasons.TOKEN_EXPIRED)
        self._batches = waiting


def _end_of(client: AnySubscriber) -> int | None:
    """Return the second by which the grants of a client have ended; None when they do not end."""
    return None if client.grants is None or isinf(client.grants.until) else ceil(client.grants.until)
