"""Bound how often each client may do something: a token bucket for each, all with one rate and one burst.

A bucket is one number, the time at which it will be full again (the virtual scheduling algorithm of ITU-T I.371, annex
A). A full bucket is not kept, so a client that sends nothing costs nothing.

Pure: the clock is the caller's.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from mux import reasons
from mux.reasons import Reason

T = TypeVar("T")

FIRST_SWEEP = 1024
"""Most buckets that are kept before full ones are dropped."""


class Allowance(Generic[T]):
    """A token bucket for each thing.

    Args:
        per_second: tokens that come back each second.
        burst: tokens in a full bucket; at least 1, or nothing could ever be spent.
    """

    def __init__(self, *, per_second: float, burst: float) -> None:
        self._seconds = 1 / per_second
        self._window = burst / per_second
        self._full_at: dict[T, float] = {}
        self._sweep_at = FIRST_SWEEP

    def __len__(self) -> int:
        """Return how many buckets are kept: those that are not full, and at most as many again."""
        return len(self._full_at)

    def spend(self, thing: T, count: int, now: float) -> int:
        """Take up to count tokens from the bucket of a thing and return how many there were; now is in seconds."""
        full_at = max(now, self._full_at.get(thing, now))
        # A millionth, so that no token is lost to rounding.
        there = int((now + self._window - full_at) / self._seconds + 1e-6)
        taken = min(count, there)
        if taken > 0:
            self._full_at[thing] = full_at + taken * self._seconds
            if len(self._full_at) > self._sweep_at:
                self._sweep(now)
        return max(0, taken)

    def forget(self, thing: T) -> None:
        """Drop the bucket of a thing, whether or not it has one."""
        self._full_at.pop(thing, None)

    def _sweep(self, now: float) -> None:
        # When the number has doubled, so that it costs each spending a constant.
        self._full_at = {thing: full_at for thing, full_at in self._full_at.items() if full_at > now}
        self._sweep_at = max(FIRST_SWEEP, 2 * len(self._full_at))


class Pace(Generic[T]):
    """Bounds how fast each client may send messages and control frames; None is as fast as it likes."""

    def __init__(self, messages: Allowance[T] | None, control_frames: Allowance[T] | None) -> None:
        self._messages = messages
        self._control_frames = control_frames

    @property
    def is_limited(self) -> bool:
        """False when there is nothing to count."""
        return self._messages is not None or self._control_frames is not None

    def count(self, client: T, messages: int, control_frames: int, now: float) -> tuple[int, Reason | None]:
        """Count what a client has sent; return how many of the messages it may, and the reason to close it, if any."""
        excess: Reason | None = None
        allowed = messages
        if self._messages is not None and messages:
            allowed = self._messages.spend(client, messages, now)
            if allowed < messages:
                excess = reasons.MESSAGES
        bucket = self._control_frames
        if bucket is not None and control_frames and bucket.spend(client, control_frames, now) < control_frames:
            excess = excess or reasons.CONTROL_FRAMES
        return allowed, excess

    def forget(self, client: T) -> None:
        """Drop what is known of a client that has gone."""
        for allowance in (self._messages, self._control_frames):
            if allowance is not None:
                allowance.forget(client)
