"""Who must have got something done, and by when.

Every entry of one Deadlines has the same time to run, so the dict is in order of expiry and looking
for what is overdue costs nothing when nothing is. The clock is the caller's: tick() tells the time,
and what is started between two ticks counts from the earlier one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Deadlines(Generic[T]):
    """A set of things, each with the same number of seconds to leave it.

    Args:
        seconds: how long a thing may stay.
    """

    __slots__ = ("_due", "_now", "_seconds")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._now: float | None = None
        self._due: dict[T, float] = {}

    def __len__(self) -> int:
        return len(self._due)

    def __iter__(self) -> Iterator[T]:
        return iter(self._due)

    def start(self, thing: T) -> None:
        """Give thing its time, unless its time is running already."""
        self._due.setdefault(thing, (self._now or 0.0) + self._seconds)

    def stop(self, thing: T) -> None:
        """Take thing out, whether or not it is in."""
        self._due.pop(thing, None)

    def tick(self, now: float) -> list[T]:
        """Set the time, in seconds on any clock that does not go back; take out and return what is overdue."""
        if self._now is None:  # the clock may begin anywhere
            self._due = {thing: now + due for thing, due in self._due.items()}
        self._now = now
        overdue: list[T] = []
        for thing, due in self._due.items():
            if due > now:
                break
            overdue.append(thing)
        for thing in overdue:
            del self._due[thing]
        return overdue
