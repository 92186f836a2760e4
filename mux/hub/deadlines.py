"""Things that each have the same time to get something done, and those whose time is over.

Every entry of one Deadlines has the same time to run, so the dict is in order of expiry and looking
for what is overdue costs nothing when nothing is. The clock is the caller's: tick() tells the time,
and what is started between two ticks counts from the earlier one.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, takewhile
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

    def restart(self, thing: T) -> None:
        """Give thing all of its time anew, whether or not it had some."""
        self.stop(thing)
        self.start(thing)

    def stop(self, thing: T) -> None:
        """Take thing out, whether or not it is in."""
        self._due.pop(thing, None)

    def tick(self, now: float, at_most: int | None = None) -> list[T]:
        """Set the time; take out and return what is overdue.

        Args:
            now: seconds, on any clock that does not go back.
            at_most: how many things are returned; the others stay until the next tick. None is any number.
        """
        if self._now is None:  # the clock may begin anywhere
            self._due = {thing: now + due for thing, due in self._due.items()}
        self._now = now
        late = takewhile(lambda entry: entry[1] <= now, self._due.items())
        overdue = [thing for thing, _ in islice(late, at_most)]
        for thing in overdue:
            del self._due[thing]
        return overdue
