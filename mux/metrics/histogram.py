"""Histograms that cost two additions for each number, and the lag of the event loop.

The buckets of a histogram are powers of two, so that the bucket of a number is the length of its bits.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator

LAG_TICK_SECONDS = 0.1
"""LoopLag.tick() is to be called this often; ten calls a second cost a ten-thousandth of a core."""

STALL_SECONDS = 1.0
"""A longer lag is noticed by clients, and is logged."""

RECENT_TICKS = 50
"""The longest recent lag is of so many ticks, which are five seconds."""

logger = logging.getLogger("mux.loop")


class Histogram:
    """Counts whole numbers by their size.

    Args:
        buckets: how many; the first counts numbers up to 1, each next one up to twice as much, the last all others.
    """

    __slots__ = ("counts", "total")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * buckets
        """Numbers counted, by bucket."""
        self.total = 0
        """The sum of all numbers."""

    def observe(self, number: int) -> None:
        """Count a number, which is not negative."""
        # Of n - 1, so that a power of two is the largest number of its bucket.
        bucket = (number - 1).bit_length() if number else 0
        counts = self.counts
        counts[bucket if bucket < len(counts) else -1] += 1
        self.total += number


def upper_bounds(buckets: int) -> Iterator[int | None]:
    """Yield the largest number of each bucket of a Histogram; None for the last, which has none."""
    for bucket in range(buckets - 1):
        yield 1 << bucket
    yield None


class LoopLag:
    """Measures how late the event loop is, with a timer that should go off every 0.1 s.

    For as long as it is late the loop did something else, or the process did not run.
    """

    def __init__(self) -> None:
        self.lags = Histogram(buckets=24)  # up to 2**22 µs, which is 4.2 s, and longer
        """Lags in microseconds."""
        self.stalls = 0
        """Lags longer than a second."""
        self._recent: deque[float] = deque(maxlen=RECENT_TICKS)
        self._due: float | None = None

    @property
    def longest(self) -> float:
        """The longest lag of the last five seconds, in seconds."""
        return max(self._recent, default=0.0)

    def tick(self, now: float) -> None:
        """Take the time, in seconds on a clock that does not go back; a stall is logged.

        The next call is due 0.1 s later.
        """
        if self._due is not None:
            lag = max(0.0, now - self._due)
            self.lags.observe(int(lag * 1e6))
            self._recent.append(lag)
            if lag > STALL_SECONDS:
                self.stalls += 1
                logger.warning("the event loop stood still for %.1f s: nobody was served", lag)
        self._due = now + LAG_TICK_SECONDS
