"""The latencies of messages, of every delivery and not of a sample.

Values gather in a list and are counted by NumPy in buckets of 12 significant bits: an error below 0.05 %. To take each
by itself would cost more than receiving it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PERCENTILES = (50.0, 90.0, 99.0, 99.9)

LONGEST_US = 3_600_000_000
"""The longest latency that is counted, in microseconds: an hour, for no run is longer."""

_BITS = 12
_BUCKETS = (LONGEST_US.bit_length() - _BITS + 1) << _BITS
_GATHER = 50_000

Counts = NDArray[np.int64]


class Latencies:
    """Latencies in microseconds."""

    def __init__(self) -> None:
        self._one_by_one: list[int] = []
        self.add = self._one_by_one.append
        """Take one value; call gather() now and then."""
        self._counts: Counts = np.zeros(_BUCKETS, dtype=np.int64)

    def add_many(self, values: NDArray[np.int64]) -> None:
        """Take an array of values."""
        clipped = np.clip(values, 0, LONGEST_US)
        shift = np.maximum(0, np.frexp(clipped)[1] - _BITS)
        self._counts += np.bincount((shift << _BITS) + (clipped >> shift), minlength=_BUCKETS)

    def gather(self, at_least: int = _GATHER) -> None:
        """Count what came one by one, if it is so many."""
        if len(self._one_by_one) >= at_least:
            self.add_many(np.array(self._one_by_one, dtype=np.int64))
            self._one_by_one.clear()

    def counts(self) -> Counts:
        """Return what there is so far, by bucket."""
        self.gather(1)
        return self._counts


def at_percentile(counts: Counts, percent: float) -> float:
    """Return the microseconds within which so many percent of the deliveries came; 0 when there were none."""
    reached = np.cumsum(counts)
    bucket = int(np.searchsorted(reached, max(1.0, reached[-1] * percent / 100))) if reached[-1] else 0
    return float((bucket & ((1 << _BITS) - 1)) << (bucket >> _BITS))
