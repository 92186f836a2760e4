"""What is published while there is no connection to Redis.

It is held, in order, and sent when the connection is back: a reconnect of a second is nobody's business.
How much is held, and how long, is bounded; what is over the bound, or too old, is given back to who sent
it, so that nothing is lost in silence. What was sent once is never held: Redis may have taken it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from mux.broker.answer import Done
from mux.errors import BrokerUnavailable

OVERHEAD_BYTES = 256
"""What a held message takes beside its payload, roughly; so that a million empty ones are bounded too."""


@dataclass(frozen=True, slots=True)
class Held:
    """A message that waits for the connection, until `due` on the clock of the event loop."""

    redis_channel: bytes
    payload: bytes
    done: Done
    due: float

    @property
    def size(self) -> int:
        """What it counts for, in bytes."""
        return len(self.payload) + OVERHEAD_BYTES


class Holding:
    """A queue of messages, bounded in bytes and age.

    Args:
        max_bytes: how much is held; 0 is nothing.
        max_seconds: how long each is held; 0 is not at all.
    """

    def __init__(self, *, max_bytes: int, max_seconds: float) -> None:
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds
        self._queue: deque[Held] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def next_due(self) -> float | None:
        """When the oldest is too old; None when nothing is held."""
        return self._queue[0].due if self._queue else None

    def add(self, now: float, redis_channel: bytes, payload: bytes, done: Done) -> bool:
        """Hold a message, or return False because there is no room for it."""
        held = Held(redis_channel, payload, done, now + self._max_seconds)
        if not self._max_seconds or self._bytes + held.size > self._max_bytes:
            return False
        self._queue.append(held)
        self._bytes += held.size
        return True

    def take_expired(self, now: float) -> list[Held]:
        """Remove and return those that are too old."""
        expired = []
        while self._queue and self._queue[0].due <= now:
            expired.append(self._queue.popleft())
        self._bytes -= sum(held.size for held in expired)
        return expired

    def take_all(self) -> list[Held]:
        """Remove and return everything, oldest first."""
        held, self._queue, self._bytes = list(self._queue), deque(), 0
        return held


def give_back(messages: Iterable[Held]) -> None:
    """Tell who sent messages that they were not published."""
    for held in messages:
        held.done(BrokerUnavailable("there was no connection to Redis for too long"))
