"""What one look at a fleet cannot show: how rates went, and which counters have just grown.

The server gives rates and counters; the terminal remembers. What is kept is bounded, by looks and by the
processes of the last one.

1. Growth is told of per process and added up: the sums of the fleet also shrink, when a process leaves.
2. A process seen for the first time has grown by nothing: its past is not news.

Pure: no I/O, no clock; now is given, in seconds of any clock that does not go back.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from mux.command.top.stats import Look, Numbers

NEWS_SECONDS = 10.0
"""How long a counter that has grown is shown as news: long enough to be seen by somebody who looks up."""

REMEMBERED_LOOKS = 300
"""Five minutes, and more than most terminals are wide."""

_CURVES = ("connections", "received_per_second", "delivered_per_second", "published_per_second")


@dataclass(frozen=True, slots=True)
class Growth:
    """By how much counters grew within the last NEWS_SECONDS."""

    gaps: float = 0
    evicted: float = 0


@dataclass(slots=True)
class _Known:
    gaps: float
    evicted: float
    news: deque[tuple[float, Growth]] = field(default_factory=deque)


class Trend:
    """What is remembered of a fleet, from look to look."""

    def __init__(self) -> None:
        self.curves: dict[str, deque[float]] = {name: deque(maxlen=REMEMBERED_LOOKS) for name in _CURVES}
        """The last totals, oldest first, by the key of the answer."""
        self._known: dict[str, _Known] = {}

    def take(self, look: Look, now: float) -> None:
        """Remember a look."""
        for name, curve in self.curves.items():
            curve.append(getattr(look.total, name))
        known, self._known = self._known, {}
        for process in look.processes:
            self._known[process.id] = _compare(known.get(process.id), process.numbers, now)
        if look.missing:
            # It may be back in a moment, with what happened to it meanwhile.
            self._known = known | self._known

    def growth(self, process_id: str, now: float) -> Growth:
        """Return what is news of a process."""
        known = self._known.get(process_id)
        return _sum(known, now) if known is not None else Growth()

    def total_growth(self, now: float) -> Growth:
        """Return what is news of the fleet."""
        each = [_sum(known, now) for known in self._known.values()]
        return Growth(sum(one.gaps for one in each), sum(one.evicted for one in each))


def _compare(known: _Known | None, numbers: Numbers, now: float) -> _Known:
    evicted = sum(numbers.evicted.values())
    if known is None:
        return _Known(numbers.gaps, evicted)
    # A counter that went back is one that began anew.
    grown = Growth(max(0, numbers.gaps - known.gaps), max(0, evicted - known.evicted))
    known.gaps, known.evicted = numbers.gaps, evicted
    if grown != Growth():
        known.news.append((now, grown))
    while known.news and now - known.news[0][0] >= NEWS_SECONDS:
        known.news.popleft()
    return known


def _sum(known: _Known, now: float) -> Growth:
    news = [grown for at, grown in known.news if now - at < NEWS_SECONDS]
    return Growth(sum(grown.gaps for grown in news), sum(grown.evicted for grown in news))
