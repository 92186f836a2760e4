"""Time that passes only while this process runs.

A process that was stopped (SIGSTOP), or whose machine was, wakes to a clock that has jumped. Nobody could read,
write or answer meanwhile, and what clients did send waits in their sockets. So the jump counts for nothing, and
nobody is judged before the event loop has had a turn to read what waits.

Pure: the clock is the caller's.
"""

from __future__ import annotations

CREDIBLE_TICKS = 2.0
"""Ticks are late when the loop is busy. A tick counts for at most so many times the time between two."""


class RunningTime:
    """A clock that is told the time every tick_seconds.

    Args:
        tick_seconds: how often advance() is called while the process runs.
    """

    __slots__ = ("_has_slept", "_last", "_most", "seconds")

    def __init__(self, tick_seconds: float) -> None:
        self._most = CREDIBLE_TICKS * tick_seconds
        self._last: float | None = None
        self._has_slept = False
        self.seconds = 0.0
        """How long the process has run, from the first call of advance() to the last."""

    def advance(self, now: float) -> bool:
        """Count the time since the last call; return False when the process stood still for most of it.

        A process that is late every time is busy and not asleep: of two calls at least one counts.

        Args:
            now: seconds, on any clock that does not go back.
        """
        elapsed = 0.0 if self._last is None else now - self._last
        self._last = now
        self._has_slept = elapsed > self._most and not self._has_slept
        if self._has_slept:
            return False
        self.seconds += min(elapsed, self._most)
        return True
