"""Up to which moment everything that was published has come.

Nothing that Redis says proves that a subscription is there: a connection without one answers every command. What
proves it is a message, and a message has no time on it. So two things together prove a moment:

1. a question asked at that moment was answered, so Redis was past the moment when it answered, and
2. a message came in a later read than the answer, so Redis sent it later: the subscription was there, and what was
   published before the question had come before.

Messages in the same read as the answer prove nothing, for they may stand before it. When nobody publishes, a probe of
our own after the answer is such a message.

Pure: no I/O, no clock.
"""

from __future__ import annotations

from mux.broker.gap import Moment


class Proof:
    """The last moment that is proven on one connection.

    Args:
        good_at: the first such moment, from before any question; None when none is proven yet.
    """

    __slots__ = ("_asked_at", "_good_at", "_heard")

    def __init__(self, good_at: Moment | None) -> None:
        self._good_at = good_at
        self._asked_at: Moment | None = None
        self._heard = 0

    def answered(self, asked_at: Moment, heard: int) -> None:
        """Take an answer: when it was asked for, and how many messages had come with the read that brought it."""
        self._good_at = self.good_at(heard)
        self._asked_at, self._heard = asked_at, heard

    def good_at(self, heard: int) -> Moment | None:
        """Return the last proven moment, when so many messages have come by now."""
        return self._asked_at if self._asked_at is not None and heard > self._heard else self._good_at
