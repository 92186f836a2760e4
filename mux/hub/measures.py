"""Measures of connections: the time that the process ran, the time that each has left, the bytes that wait with each.

Pure: the clock is the caller's.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, takewhile
from typing import Generic, TypeVar

T = TypeVar("T")

CREDIBLE_TICKS = 2.0
"""Ticks are late when the loop is busy. A tick counts for at most so many times the time between two."""


class RunningTime:
    """A clock of the time in which this process runs; it is told the time every tick_seconds or more often.

    A process that was stopped (SIGSTOP), or whose machine was, wakes to a clock that has jumped. Nobody could read,
    write or answer meanwhile, so the jump counts for nothing, and no client is ended before the event loop has had a
    turn to read what waits in the sockets.
    """

    __slots__ = ("_has_slept", "_last", "_most", "seconds")

    def __init__(self, tick_seconds: float) -> None:
        self._most = CREDIBLE_TICKS * tick_seconds
        self._last: float | None = None
        self._has_slept = False
        self.seconds = 0.0
        """Seconds that the process has run, from the first call of advance() to the last."""

    def advance(self, now: float) -> bool:
        """Count the time since the last call; return False when the process stood still for most of it.

        A process that is late every time is busy and not asleep: of two calls at least one counts.
        """
        elapsed = 0.0 if self._last is None else now - self._last
        self._last = now
        self._has_slept = elapsed > self._most and not self._has_slept
        if self._has_slept:
            return False
        self.seconds += min(elapsed, self._most)
        return True


class Deadlines(Generic[T]):
    """Things that each have the same number of seconds to leave.

    So the dict is in order of expiry, and a tick without an overdue thing costs nothing. A thing that is started
    between two ticks counts from the earlier one, and the clock begins at 0.
    """

    __slots__ = ("_due", "_now", "_seconds")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._now = 0.0
        self._due: dict[T, float] = {}

    def __len__(self) -> int:
        return len(self._due)

    def __iter__(self) -> Iterator[T]:
        return iter(self._due)

    def __contains__(self, thing: object) -> bool:
        return thing in self._due

    def start(self, thing: T) -> None:
        """Give a thing its time, unless its time is running already."""
        self._due.setdefault(thing, self._now + self._seconds)

    def restart(self, thing: T) -> None:
        """Give a thing all of its time anew, whether or not it had some."""
        self._due.pop(thing, None)
        self._due[thing] = self._now + self._seconds

    def stop(self, thing: T) -> None:
        """Take a thing out, whether or not it is in."""
        self._due.pop(thing, None)

    def tick(self, now: float, at_most: int | None = None) -> list[T]:
        """Set the time in seconds; take out and return what is overdue, at most so many things."""
        self._now = now
        late = takewhile(lambda entry: entry[1] <= now, self._due.items())
        overdue = [thing for thing, _ in islice(late, at_most)]
        for thing in overdue:
            del self._due[thing]
        return overdue


class Pending(Generic[T]):
    """The bytes that wait with each thing, as last noted, and their sum."""

    __slots__ = ("amounts", "total")

    def __init__(self) -> None:
        self.amounts: dict[T, int] = {}
        """Bytes by thing. Only note() and forget() change it."""
        self.total = 0

    def note(self, thing: T, amount: int) -> int:
        """Set the amount of a thing, in bytes, and return what it was before."""
        before = self.amounts.get(thing, 0)
        self.amounts[thing] = amount
        self.total += amount - before
        return before

    def forget(self, thing: T) -> None:
        """Take a thing out, whether or not it is in."""
        self.total -= self.amounts.pop(thing, 0)
