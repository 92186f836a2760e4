"""The times in which messages may have been missed.

Redis keeps nothing for a subscriber that is away. So between the last moment a subscription is known to have been good
and the moment it is good again, anything may have passed, and mux never keeps quiet about it.

Two clocks tell when that was, and neither is enough. The clock on the wall is what others compare with, and it is
set now and then; the monotonic one stands still while the machine sleeps. A gap begins at the earlier of what the
two say, so it may be told too long, and never too short or negative.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor
from time import monotonic, time


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time on two clocks, in seconds: Unix time, and the monotonic clock of this machine."""

    wall: float
    monotonic: float

    @classmethod
    def now(cls) -> Moment:
        """Return this moment."""
        return cls(time(), monotonic())

    def is_before(self, other: Moment) -> bool:
        """Tell whether this was earlier, whatever was done to the clock on the wall between the two."""
        return self.monotonic < other.monotonic


@dataclass(frozen=True, slots=True)
class Gap:
    """One time in which messages may have been missed.

    Attributes:
        number: 1, 2, … in the life of this process.
        since: when the subscription was last known to be good, in seconds of Unix time.
        until: when it was good again.
        cause: one word, as `closed` or `deaf`.
        reason: the same as half a sentence.
        missed: the messages that were missed, of all channels together; None where the number is not known.
    """

    number: int
    since: float
    until: float
    cause: str
    reason: str
    missed: int | None = None

    @classmethod
    def between(cls, number: int, good: Moment, now: Moment, cause: str, reason: str) -> Gap:
        """Return the gap from one moment to another, in the Unix time of the second."""
        since = min(good.wall, now.wall - max(0.0, now.monotonic - good.monotonic))
        return cls(number, since, now.wall, cause, reason)

    @property
    def seconds(self) -> float:
        """Seconds from since to until."""
        return self.until - self.since

    def __str__(self) -> str:
        one = "1 message was" if self.missed == 1 else f"{self.missed} messages were"
        what = "messages may have been" if self.missed is None else one
        since, until = floor(self.since * 1000) / 1000, ceil(self.until * 1000) / 1000
        return f"gap {self.number}: {what} missed from {since:.3f} to {until:.3f} ({self.seconds:.3f} s): {self.reason}"
