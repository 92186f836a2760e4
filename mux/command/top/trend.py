"""Remember what one look at a fleet cannot show: how rates went, and which counters have just grown.

1. Growth is found per process and added up: the sums of the fleet also shrink, when a process leaves.
2. A process that is seen for the first time has grown by nothing: its past is not news.

Pure: no I/O, no clock; now is given, in seconds of any clock that does not go back.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import pairwise

from mux.command.top.stats import Look

NEWS_SECONDS = 10.0
"""A counter that has grown is shown as news for this time: somebody who looks up sees it."""

REMEMBERED_LOOKS = 300
"""Most points of a curve: five minutes, and more than most terminals are wide."""

_CURVES = ("connections", "received_per_second", "delivered_per_second", "published_per_second")


@dataclass(frozen=True, slots=True)
class Counters:
    """The counters of trouble, or by how much they have grown within NEWS_SECONDS."""

    gaps: float = 0
    evicted: float = 0


class Trend:
    """The past of a fleet, from look to look."""

    def __init__(self) -> None:
        self.curves: dict[str, deque[float]] = {name: deque(maxlen=REMEMBERED_LOOKS) for name in _CURVES}
        """The last totals, oldest first, by the key of the answer."""
        self._looks: deque[tuple[float, dict[str, Counters]]] = deque()

    def take(self, look: Look, now: float) -> None:
        """Remember a look."""
        for name, curve in self.curves.items():
            curve.append(getattr(look.total, name))
        counters = {one.id: Counters(one.numbers.gaps, sum(one.numbers.evicted.values())) for one in look.processes}
        if look.missing and self._looks:
            # The missing process may be back in a moment, with what happened to it meanwhile.
            counters = self._looks[-1][1] | counters
        self._looks.append((now, counters))
        while len(self._looks) > 1 and now - self._looks[1][0] >= NEWS_SECONDS:
            self._looks.popleft()

    def growth(self, process_id: str, now: float) -> Counters:
        """Return by how much the counters of a process have grown; one that went back began anew."""
        gaps = evicted = 0.0
        known = [(at, counters[process_id]) for at, counters in self._looks if process_id in counters]
        for (_, before), (at, after) in pairwise(known):
            if now - at < NEWS_SECONDS:
                gaps += max(0, after.gaps - before.gaps)
                evicted += max(0, after.evicted - before.evicted)
        return Counters(gaps, evicted)

    def total_growth(self, now: float) -> Counters:
        """Return by how much the counters of all processes have grown."""
        each = [self.growth(process_id, now) for process_id in (self._looks[-1][1] if self._looks else ())]
        return Counters(sum(one.gaps for one in each), sum(one.evicted for one in each))
