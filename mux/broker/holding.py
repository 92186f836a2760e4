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

from collections import OrderedDict

from mux.broker.answer import Done

OVERHEAD_BYTES = 256
"""What a message in the queue takes beside its bytes, roughly; so that a million empty ones are bounded too."""

CONNECTED_BYTES = 4 * 1024 * 1024
"""While there is a connection so much may wait for it, however little is held without one."""


class Waiting:
    """A command in the queue, and later on its way.

    Attributes:
        command: as it is sent.
        done: gets the answer.
        due: when it is too old if there is no connection, on the clock of the event loop.
        is_held: whether it is kept while there is no connection.
    """

    __slots__ = ("command", "done", "due", "is_held")

    def __init__(self, command: bytes, done: Done, due: float, is_held: bool) -> None:
        self.command = command
        self.done = done
        self.due = due
        self.is_held = is_held


class Holding:
    """A queue of commands, bounded in bytes, and in age while there is no connection.

    Args:
        max_bytes: how much is held without a connection; 0 is nothing.
        max_seconds: how long each is held then; 0 is not at all.
    """

    def __init__(self, *, max_bytes: int, max_seconds: float) -> None:
        self._max_bytes = max_bytes if max_seconds else 0
        self._max_seconds = max_seconds
        self._queue: OrderedDict[Waiting, None] = OrderedDict()
        self.bytes = 0
        """The size of all commands in the queue, with what each takes beside it."""

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def next_due(self) -> float | None:
        """When the oldest is too old; None when nothing waits."""
        return next(iter(self._queue)).due if self._queue else None

    def add(
        self, now: float, command: bytes, done: Done, *, is_connected: bool, is_held: bool = True
    ) -> Waiting | None:
        """Queue a command, or return None because there is no room for it.

        With a connection one command is always taken, however large: it does not wait for long.
        """
        total = self.bytes + len(command) + OVERHEAD_BYTES
        if is_connected:
            if total > CONNECTED_BYTES and total > self._max_bytes and self._queue:
                return None
        elif total > self._max_bytes or not is_held:
            return None
        waiting = Waiting(command, done, now + self._max_seconds, is_held)
        self._queue[waiting] = None
        self.bytes = total
        return waiting

    def take(self) -> Waiting | None:
        """Remove and return the oldest; None when nothing waits."""
        if not self._queue:
            return None
        waiting = self._queue.popitem(last=False)[0]
        self.bytes -= len(waiting.command) + OVERHEAD_BYTES
        return waiting

    def withdraw(self, waiting: Waiting) -> bool:
        """Remove a command whose sender does not want it sent any more; return False if it has left the queue."""
        if waiting not in self._queue:
            return False
        del self._queue[waiting]
        self.bytes -= len(waiting.command) + OVERHEAD_BYTES
        return True

    def take_expired(self, now: float) -> list[Waiting]:
        """Remove and return those that are too old."""
        expired = []
        while self._queue and next(iter(self._queue)).due <= now and (waiting := self.take()) is not None:
            expired.append(waiting)
        return expired

    def take_unheld(self) -> list[Waiting]:
        """Remove and return what does not stay in the queue when the connection is lost: the youngest go first."""
        unheld = [waiting for waiting in self._queue if not waiting.is_held]
        for waiting in unheld:
            self.withdraw(waiting)
        over = []
        while self.bytes > self._max_bytes:
            waiting = self._queue.popitem()[0]
            self.bytes -= len(waiting.command) + OVERHEAD_BYTES
            over.append(waiting)
        return unheld + over[::-1]

    def take_all(self) -> list[Waiting]:
        """Remove and return everything, oldest first."""
        waiting, self._queue, self.bytes = list(self._queue), OrderedDict(), 0
        return waiting
