"""The times in which messages may have been missed.

Redis keeps nothing for a subscriber that is away. So between the last moment a subscription is known to
have been good and the moment it is good again, anything may have passed. mux cannot get it back, but it
never keeps quiet about it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor


@dataclass(frozen=True, slots=True)
class Gap:
    """One time in which messages may have been missed.

    Attributes:
        number: 1, 2, … in the life of this process.
        since: when the subscription was last known to be good, in seconds of Unix time.
        until: when it was good again.
        cause: one word, as `closed` or `deaf`.
        reason: the same as half a sentence.
    """

    number: int
    since: float
    until: float
    cause: str
    reason: str

    @property
    def seconds(self) -> float:
        """How long it was."""
        return self.until - self.since

    def __str__(self) -> str:
        return (
            f"gap {self.number}: messages may have been missed from {floor(self.since * 1000) / 1000:.3f} "
            f"to {ceil(self.until * 1000) / 1000:.3f} "
            f"({self.seconds:.3f} s): {self.reason}"
        )
