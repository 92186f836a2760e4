"""A straight line through samples, and whether it goes up.

Least squares; the standard error of the slope says how much of it the scatter can explain. A quantity
grows when its slope is more than three standard errors above zero and what that adds up to over the
run is more than the measurement is good for.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

Sample = tuple[float, float]
"""(seconds, quantity)."""

ERRORS = 3.0
"""A slope of pure noise is further from zero once in about a thousand runs."""

WARM_UP = 0.3
"""The part of a run in which caches and pools fill; it is left out."""


@dataclass(frozen=True, slots=True)
class Slope:
    """A fitted line.

    Attributes:
        per_second: how much the quantity grows in a second.
        error: standard error of that.
        seconds: from the first sample that counts to the last.
        level: the mean.
    """

    per_second: float
    error: float
    seconds: float
    level: float

    @property
    def growth(self) -> float:
        """How much the quantity has grown over the run, along the line."""
        return self.per_second * self.seconds

    def grows(self, resolution: float) -> bool:
        """Tell whether it goes up by more than noise; less than resolution over the run is none."""
        return self.growth > resolution and self.per_second > ERRORS * self.error


def fit(samples: list[Sample], warm_up: float = WARM_UP) -> Slope:
    """Fit a line to what comes after the warm-up.

    Raises:
        ValueError: fewer than three samples are left, or all are of one moment.
    """
    kept = samples[int(len(samples) * warm_up) :]
    count = len(kept)
    mean_x = sum(x for x, _ in kept) / count if kept else 0.0
    spread = sum((x - mean_x) ** 2 for x, _ in kept)
    if count < 3 or not spread:
        raise ValueError(f"{count} samples are too few for a line")
    mean_y = sum(y for _, y in kept) / count
    per_second = sum((x - mean_x) * (y - mean_y) for x, y in kept) / spread
    residue = sum((y - mean_y - per_second * (x - mean_x)) ** 2 for x, y in kept)
    return Slope(per_second, sqrt(residue / (count - 2) / spread), kept[-1][0] - kept[0][0], mean_y)
