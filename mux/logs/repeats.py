"""Sum up what is said over and over.

A stranger can make a server log the same thing a thousand times a second. Of each kind of line the first few are let
through, the others of the next seconds are counted, and the count is told once.

Pure: the time is given.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

MOST = 10
"""Most lines of a kind that are let through in a period."""

PERIOD_SECONDS = 10.0
"""A period begins with the first line of a kind."""

MAX_KINDS = 1000
"""Most kinds that are told apart at the same time; all others count as one more kind."""


@dataclass(slots=True)
class _Period:
    ends: float
    seen: int = 0
    last: str = ""


class Repeats:
    """Counts of the lines that came lately, by kind."""

    def __init__(self, *, most: int = MOST, seconds: float = PERIOD_SECONDS) -> None:
        self._most = most
        self._seconds = seconds
        self._periods: dict[Hashable, _Period] = {}

    def admits(self, kind: Hashable, text: str, now: float) -> bool:
        """Count a line, and return whether it is to be let through.

        Args:
            kind: lines of the same kind are repeats.
            text: what the summary quotes of the last one.
            now: seconds, on a clock that does not go back; take() is called with it before.
        """
        if kind not in self._periods and len(self._periods) >= MAX_KINDS:
            kind = None
        period = self._periods.get(kind)
        if period is None:
            period = self._periods[kind] = _Period(now + self._seconds)
        period.seen += 1
        period.last = text
        return period.seen <= self._most

    def take(self, now: float) -> list[tuple[int, str]]:
        """Forget the periods that have ended; return how many lines of each were left out, and the last one."""
        ended = [kind for kind, period in list(self._periods.items()) if period.ends <= now]
        periods = [self._periods.pop(kind) for kind in ended]
        return [(period.seen - self._most, period.last) for period in periods if period.seen > self._most]

    @property
    def next_end(self) -> float | None:
        """When the first period ends of which lines were left out."""
        periods = list(self._periods.values())
        return min((period.ends for period in periods if period.seen > self._most), default=None)
