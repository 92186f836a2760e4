"""How much happens in a second, from counters that are looked at once a second.

Whoever does the work adds to a plain integer and knows nothing of this. Pure: the time is given.
"""

from __future__ import annotations

from collections import deque

SAMPLES = 6
"""One a second: what is told is the mean of the last five seconds."""


class Pulse:
    """The growth per second of some counters."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, tuple[int, ...]]] = deque(maxlen=SAMPLES)

    def sample(self, now: float, *counters: int) -> None:
        """Take what the counters are now; to be called once a second."""
        self._samples.append((now, counters))

    def per_second(self, now: float, *counters: int) -> tuple[float, ...]:
        """Return the growth per second of each until now; 0 before the first sample."""
        if not self._samples or now <= self._samples[0][0]:
            return (0.0,) * len(counters)
        then, before = self._samples[0]
        return tuple(round((new - old) / (now - then), 3) for new, old in zip(counters, before, strict=True))
