"""Count how often a number was how large, at the cost of two additions.

Buckets are powers of two, so that the bucket of a number is the length of its bits and nothing is searched.
"""

from __future__ import annotations

from collections.abc import Iterator


class Histogram:
    """How often whole numbers, in one unit, were how large.

    Args:
        buckets: how many; the first holds what is at most 1, each next one twice as much, the last all the rest.
    """

    __slots__ = ("counts", "total")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * buckets
        """How often, by bucket."""
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
