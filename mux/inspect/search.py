"""Find the first channels of one process, in slices of half a millisecond.

There may be a million channels, and clients are served meanwhile, so one slice is searched in each turn of the event
loop, and only the best names are kept. No iterator is kept over a turn: a dict that changes under one can end the
process. Nor is the table of channels copied, which takes too long. The search goes over the connections instead, for
the router knows the channels of each: every connection is on one spoke of the heartbeat's wheel and stays there, a
spoke is a small part of them, and one spoke is copied at a time.

So a channel is found when a client subscribes to it from the beginning of the search to its end. It is found once for
each of its subscribers, and kept once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from time import perf_counter

from mux.hub.hub import Hub
from mux.hub.subscriber import AnySubscriber

SLICE_STEPS = 512
"""Most steps in one slice, which take half a millisecond; a connection is a step, and so is each of its channels,
and each spoke."""


@dataclass(frozen=True, slots=True)
class Found:
    """The first channels of one process, in order."""

    names: list[bytes]
    is_complete: bool
    """True when no other name has the prefix."""
    seconds: float
    """The time for which the search has held the event loop, in all slices together."""


async def search(hub: Hub, *, prefix: bytes, count: int, rates: Mapping[bytes, float] | None = None) -> Found:
    """Return the first channels whose names in Redis begin with prefix; by rate, or by subscribers without rates.

    Channels of the same rank are in the order of their names.
    """
    best = _Best(hub, prefix, count, rates)
    connections: list[AnySubscriber] = []
    spokes, seconds, has_more = 0, 0.0, True
    while has_more:
        began = perf_counter()
        names: list[bytes] = []
        steps = 0
        while steps < SLICE_STEPS:
            if connections:
                channels = hub.router.channels(connections.pop())
                names.extend(channels)
                steps += 1 + len(channels)
            elif (spoke := hub.spoke(spokes)) is not None:
                connections = spoke
                spokes += 1
                steps += 1
            else:
                has_more = False
                break
        best.take(names)
        seconds += perf_counter() - began
        await asyncio.sleep(0)
    began = perf_counter()
    best.trim()
    return Found(list(best.kept), best.is_complete, seconds + perf_counter() - began)


class _Best:
    """The best of all names that were taken."""

    def __init__(self, hub: Hub, prefix: bytes, count: int, rates: Mapping[bytes, float] | None) -> None:
        self._subscribers = hub.router.count
        self._prefix = prefix
        self._count = count
        self._rates = rates
        self._worst = (inf, b"")
        self.kept: dict[bytes, float] = {}
        """At least the best names, and in order after trim()."""

    @property
    def is_complete(self) -> bool:
        """True when no name with the prefix was left out."""
        return self._worst[0] == inf

    def take(self, names: list[bytes]) -> None:
        kept, prefix, rates, subscribers = self.kept, self._prefix, self._rates, self._subscribers
        worst, worst_name = self._worst
        for name in names:
            value = -subscribers(name) if rates is None else -rates.get(name, 0.0)
            if (value < worst or (value == worst and name < worst_name)) and name.startswith(prefix):
                kept[name] = value
        if len(kept) >= 2 * self._count:
            self.trim()

    def trim(self) -> None:
        best = sorted((value, name) for name, value in self.kept.items())
        if len(best) > self._count:
            del best[self._count :]
            self._worst = best[-1]
        self.kept = {name: value for value, name in best}
