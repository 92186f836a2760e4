"""How a run went: deliveries a second and the p99 from moment to moment, each of what came since the one before."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.loadgen.latencies import Counts, quantile

MOMENT_US = 400_000
"""What is told sooner than so long after the last waits for the next: crowds tell at different times."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What was seen between two looks."""

    seconds: float
    """Since the start of the schedule."""
    delivered_per_second: float
    p99_us: int


class Course:
    """Moment after moment.

    Args:
        start_us: when the schedule starts, on the clock of the stamps.
    """

    def __init__(self, start_us: int) -> None:
        self.moments: list[Moment] = []
        self._start_us = self._at_us = start_us
        self._delivered = 0
        self._counts: Counts = np.zeros(1, dtype=np.int64)

    def take(self, now_us: int, delivered: int, counts: Counts) -> None:
        """Take how much was delivered so far, and how late."""
        if now_us - self._at_us < MOMENT_US:
            return
        seconds = (now_us - self._at_us) / 1e6
        rate = (delivered - self._delivered) / seconds
        since_start = (now_us - self._start_us) / 1e6
        self.moments.append(Moment(since_start, rate, quantile(counts - self._counts, 99)))
        self._at_us, self._delivered, self._counts = now_us, delivered, counts
