"""End what ends with a token, within some seconds, and not all together: connections, and single subscriptions.

Tokens that were made together end together, and their clients come back with new ones; so those that are due in the
same moment are ended in batches (goodbye.spread). One that is due alone is ended at once.

There is no timer here: the process calls tick(). What does not end costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from math import ceil, isinf
from random import Random
from typing import Generic, TypeVar

from mux.goodbye.spread import spread
from mux.hub.slot import Slot, added, members, removed

SPREAD_SECONDS = 5.0
"""Seconds over which everything is ended that is due in the same second."""

STALE_SECONDS = 64
"""The heap is made anew when it has more than twice the seconds in which something ends, and this many more."""

T = TypeVar("T")


class Expiry(Generic[T]):
    """Things that end, by the second.

    Args:
        end: ends one that is due, which must know whether it is to be ended still.
        dice: decides which of many is ended when.
    """

    def __init__(self, end: Callable[[T], object], dice: Random | None = None) -> None:
        self._end = end
        self._dice = dice or Random()  # noqa: S311 - nothing is kept secret by it
        self._ends: dict[int, Slot[T]] = {}
        self._seconds: list[int] = []  # a heap; has every key of _ends, and others
        self._batches: list[tuple[float, list[T]]] = []

    def __len__(self) -> int:
        """Return how many things are to end."""
        return sum(len(members(slot)) for slot in self._ends.values())

    def watch(self, thing: T, until: float) -> None:
        """End a thing at a Unix time in seconds, unless that is infinite."""
        if isinf(until):
            return
        second = ceil(until)
        if second not in self._ends:
            heappush(self._seconds, second)
        self._ends[second] = added(self._ends.get(second), thing)

    def forget(self, thing: T, until: float) -> None:
        """Take a thing out that is to end at a time, whether or not it is in."""
        second = None if isinf(until) else ceil(until)
        if second is None or second not in self._ends:
            return
        slot = removed(self._ends[second], thing)
        if slot is not None:
            self._ends[second] = slot
            return
        del self._ends[second]
        if len(self._seconds) > 2 * len(self._ends) + STALE_SECONDS:
            self._seconds = list(self._ends)
            heapify(self._seconds)

    def tick(self, now: float) -> None:
        """End those that are due; to be called about once a second with the time in seconds of Unix time."""
        due: list[T] = []
        while self._seconds and self._seconds[0] <= now:
            due += members(self._ends.pop(heappop(self._seconds), None))
        self._batches += [(now + wait, batch) for wait, batch in spread(due, SPREAD_SECONDS, self._dice)]
        waiting = []
        for when, batch in self._batches:
            if when > now:
                waiting.append((when, batch))
                continue
            for thing in batch:
                self._end(thing)
        self._batches = waiting
