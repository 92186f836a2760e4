"""What waits to be published: for its turn, for a Redis that does not keep up, or for one that is away.

Everybody who publishes waits in one queue, in order. While there is a connection, it takes from here what may be on
its way to Redis; while there is none, messages are held, and a reconnect of a second is noticed by nobody.

Rules:

1. The queue is bounded in bytes, for clients choose how large a message is, and without a connection in age. What is
   over the bound or too old is given back to its sender, so that nothing is lost in silence.
2. A message leaves the queue once: sent, given back or withdrawn. What was sent is never queued again: Redis may have
   taken it. What was not sent is never said to be.
3. What has no sender who waits for an answer is not held while Redis is away: it would push out what has.

Pure: no I/O, no clock.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from mux.wire.resp import Reply

OVERHEAD_BYTES = 256
"""What a message in the queue takes beside its bytes, roughly; so that a million empty ones are bounded too."""

CONNECTED_BYTES = 4 * 1024 * 1024
"""While there is a connection so much may wait for it, however little is held without one."""

Done: TypeAlias = Callable[[Reply], None]
"""Called once with Redis' reply to a command, or with a BrokerError when the command was refused or lost.

It is a function, so that most commands need no future and no task.
"""


def resolve_with_reply(future: asyncio.Future[Reply]) -> Done:
    """Return a function that resolves a future with a reply, if anybody still waits for it."""

    def done(reply: Reply) -> None:
        if not future.done():
            future.set_result(reply)

    return done


class Waiting:
    """A command in the queue, and later on its way.

    Attributes:
        command: as it is sent.
        done: gets the answer.
        due: when it is too old if there is no connection, on the clock of the event loop.
        is_held: whether it is kept while there is no connection.
        is_queued: False once it has left the queue.
    """

    __slots__ = ("command", "done", "due", "is_held", "is_queued")

    def __init__(self, command: bytes, done: Done, due: float, is_held: bool) -> None:
        self.command = command
        self.done = done
        self.due = due
        self.is_held = is_held
        self.is_queued = True


class Holding:
    """A queue of commands, bounded in bytes, and in age while there is no connection.

    Args:
        max_bytes: how much is held without a connection; 0 is nothing.
        max_seconds: how long each is held then; 0 is not at all.
    """

    def __init__(self, *, max_bytes: int, max_seconds: float) -> None:
        self._max_bytes = max_bytes if max_seconds else 0
        self._connected_bytes = max(CONNECTED_BYTES, self._max_bytes)
        self._max_seconds = max_seconds
        self._queue: deque[Waiting] = deque()
        self._withdrawn = 0
        self.bytes = 0
        """The size of all commands in the queue, with what each takes beside it."""

    def __len__(self) -> int:
        return len(self._queue) - self._withdrawn

    @property
    def next_due(self) -> float | None:
        """When the oldest is too old; None when nothing waits."""
        return self._queue[0].due if self._queue else None

    def add(
        self, now: float, command: bytes, done: Done, *, is_connected: bool, is_held: bool = True
    ) -> Waiting | None:
        """Queue a command, or return None because there is no room for it.

        With a connection one command is always taken, however large: it does not wait for long.
        """
        total = self.bytes + len(command) + OVERHEAD_BYTES
        if is_connected:
            if total > self._connected_bytes and self.bytes:
                return None
        elif total > self._max_bytes or not is_held:
            return None
        waiting = Waiting(command, done, now + self._max_seconds, is_held)
        self._queue.append(waiting)
        self.bytes = total
        return waiting

    def take(self, max_commands: int, max_bytes: int) -> list[Waiting]:
        """Remove and return the oldest: so many, and no more once they have so many bytes."""
        queue, taken_bytes = self._queue, 0
        taken: list[Waiting] = []
        while queue and len(taken) < max_commands and taken_bytes < max_bytes:
            waiting = queue.popleft()
            if waiting.is_queued:
                waiting.is_queued = False
                taken_bytes += len(waiting.command)
                taken.append(waiting)
            else:
                self._withdrawn -= 1
        self.bytes -= taken_bytes + len(taken) * OVERHEAD_BYTES
        return taken

    def withdraw(self, waiting: Waiting) -> bool:
        """Remove a command whose sender does not want it sent any more; return False if it has left the queue."""
        if not waiting.is_queued:
            return False
        self.bytes -= len(waiting.command) + OVERHEAD_BYTES
        waiting.is_queued, waiting.command = False, b""
        self._withdrawn += 1
        if self._withdrawn > len(self._queue) // 2:  # so seldom that it costs nothing each
            self._queue = deque(waiting for waiting in self._queue if waiting.is_queued)
            self._withdrawn = 0
        return True

    def take_expired(self, now: float) -> list[Waiting]:
        """Remove and return those that are too old."""
        expired: list[Waiting] = []
        while self._queue and (self._queue[0].due <= now or not self._queue[0].is_queued):
            waiting = self._queue.popleft()
            if waiting.is_queued:
                waiting.is_queued = False
                self.bytes -= len(waiting.command) + OVERHEAD_BYTES
                expired.append(waiting)
            else:
                self._withdrawn -= 1
        return expired

    def take_unheld(self) -> list[Waiting]:
        """Remove and return what does not stay in the queue when the connection is lost: the youngest go first."""
        kept, given_back = [], []
        for waiting in self.take_all():
            size = len(waiting.command) + OVERHEAD_BYTES
            if waiting.is_held and self.bytes + size <= self._max_bytes:
                self.bytes += size
                waiting.is_queued = True
                kept.append(waiting)
            else:
                given_back.append(waiting)
        self._queue.extend(kept)
        return given_back

    def take_all(self) -> list[Waiting]:
        """Remove and return everything, oldest first."""
        return self.take(len(self._queue), self.bytes + 1)
