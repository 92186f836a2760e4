"""How late the event loop is.

A timer that should go off every 0.1 s tells by how much it is late: for that long the loop did something else,
or the process did not run. So a stall is seen whole but for the 0.1 s in which it began. The heartbeat's tick
could tell it as well, but it comes once a second, and would miss most of a stall of a second.
"""

from __future__ import annotations

import logging
from collections import deque

from mux.metrics.histogram import Histogram

LAG_TICK_SECONDS = 0.1
"""How often tick() is to be called: ten calls a second cost a ten-thousandth of a core."""

STALL_SECONDS = 1.0
"""A lag that clients notice; a longer one is logged."""

RECENT_TICKS = 50
"""Five seconds."""

logger = logging.getLogger("mux.loop")


class LoopLag:
    """How late a timer was, each time."""

    def __init__(self) -> None:
        self.lags = Histogram(buckets=24)  # up to 2**22 µs, which is 4.2 s, and longer
        """Microseconds, each time."""
        self.stalls = 0
        """How many were longer than a second."""
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
