"""The seat of one worker: its state, and the time at which the next worker takes it.

    waiting ──► starting ──► serving ◄──► stalled
       ▲            │           │            │
       └────────────┴── ended ──┴────────────┘

Rules:

1. A worker that dies young is followed by a pause, and each further one by a pause twice as long. The pause is the
   seat's own: what one worker does delays no other.
2. A worker shows that its event loop turns by a count of beats. Silence is counted in checks, and one check counts
   for a second at most: a time in which the whole machine slept, or the supervisor was stopped, is not held against it.

Pure: the time is given.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

State: TypeAlias = Literal["waiting", "starting", "serving", "stalled", "unused"]

FIRST_PAUSE_SECONDS = 0.1
LAST_PAUSE_SECONDS = 5.0
"""The pause before the next worker doubles, from FIRST to LAST_PAUSE_SECONDS, each time one dies young."""

YOUNG_SECONDS = 10.0
"""The next worker starts after the shortest pause when this one lived longer."""

SILENT_SECONDS = 3.0
"""A worker without a beat for this long, or for half of stall_seconds, is called stalled; it beats ten times a
second."""

START_SECONDS = 60.0
"""A worker has this long for its first beat, or stall_seconds if they are more."""

CHECK_SECONDS = 1.0
"""The supervisor checks its workers this often, and more seldom only when it is stopped itself."""


class Seat:
    """One worker, and after it the next.

    Args:
        stall_seconds: a worker without a beat for this long is to be replaced; 0 is never.
    """

    def __init__(self, stall_seconds: float) -> None:
        self._stall_seconds = stall_seconds
        self._pause = FIRST_PAUSE_SECONDS / 2
        self._since = 0.0
        self._beats = 0
        self.silence = 0.0
        """Seconds since the last beat."""
        self.due = 0.0
        """The time at which a worker is to be started, while the state is waiting."""
        self.state: State = "waiting"

    def started(self, now: float, beats: int) -> None:
        """Note that a worker was started, when the count of beats was this."""
        self.state = "starting"
        self._since, self._beats, self.silence = now, beats, 0.0

    def ended(self, now: float) -> float:
        """Note that the worker has ended, or could not be started; return the seconds until the next is due."""
        is_young = self.state == "waiting" or now - self._since <= YOUNG_SECONDS
        self._pause = min(self._pause * 2, LAST_PAUSE_SECONDS) if is_young else FIRST_PAUSE_SECONDS
        self.state = "waiting"
        self.due = now + self._pause
        return self._pause

    def lived(self, now: float) -> float:
        """Return for how many seconds the worker has been there."""
        return now - self._since

    def check(self, beats: int, elapsed: float) -> bool:
        """Take the count of beats, and return whether the worker has stood still for too long.

        Args:
            beats: any other number than at the last check is a sign of life.
            elapsed: seconds since the last check.
        """
        if beats != self._beats:
            self.state = "serving"
            self._beats, self.silence = beats, 0.0
            return False
        self.silence += min(elapsed, CHECK_SECONDS)
        if self.state == "starting":
            return bool(self._stall_seconds) and self.silence > max(self._stall_seconds, START_SECONDS)
        if self.silence > min(SILENT_SECONDS, self._stall_seconds / 2 or SILENT_SECONDS):
            self.state = "stalled"
        return bool(self._stall_seconds) and self.silence > self._stall_seconds
