"""How long the rest takes, from what the same work took before.

A step is a work and a server. What it took in an earlier round it will take again; until it has been done once,
it takes as long as the same work took with others, and a work that nobody has done yet as long as a step on average.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from statistics import fmean

Step = tuple[str, str]
"""A work, and who does it."""


class Pace:
    """The steps of a run, done one after the other.

    Args:
        steps: all of them, in order.
        clock: gives seconds; of tests.
    """

    def __init__(self, steps: Sequence[Step], clock: Callable[[], float] = time.monotonic) -> None:
        self._left = list(reversed(steps))
        self._clock = clock
        self._began = clock()
        self._spent = 0.0
        self._seen: defaultdict[Step, list[float]] = defaultdict(list)

    def done(self) -> None:
        """Count the next step as done."""
        now = self._clock()
        self._seen[self._left.pop()].append(now - self._began)
        self._spent += now - self._began
        self._began = now

    def skipped(self) -> None:
        """Count the next step as done without having been begun."""
        self._left.pop()

    @property
    def seconds_left(self) -> float | None:
        """How long all that is left takes; None before there is anything to judge by."""
        if not self._seen:
            return None
        left = sum(map(self._expected, self._left))
        return max(0.0, left - (self._clock() - self._began))

    @property
    def share(self) -> float:
        """How much is done, 0 to 1, by time."""
        left = self.seconds_left
        if left is None:
            return 0.0
        spent = self._spent + self._clock() - self._began
        return spent / (spent + left) if spent + left else 1.0

    def said(self) -> str:
        """Return it in words."""
        left = self.seconds_left
        if left is None:
            return "time left: not known yet"
        return f"about {left:.0f} s left" if left < 90 else f"about {left / 60:.0f} min left"

    def _expected(self, step: Step) -> float:
        seen = self._seen.get(step) or [
            seconds for (work, _), took in self._seen.items() if work == step[0] for seconds in took
        ]
        return fmean(seen or [seconds for took in self._seen.values() for seconds in took])
