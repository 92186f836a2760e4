"""Messages that wait to be published: for their turn, for a Redis that does not keep up, or for one that is away.

Everybody who publishes waits in one queue, in order. While there is a connection, it takes from here what may be on
its way to Redis; while there is none, messages are held, so that a reconnect of a second loses none.

Rules:

1. The queue is bounded in bytes, for clients choose how large a message is, and without a connection in age. A message
   that is over the bound or too old is given back to its sender, so that nothing is lost in silence.
2. A message leaves the queue once: sent, given back or withdrawn. A message that was sent is never queued again, for
   Redis may have taken it. A message that was not sent is never said to be.
3. A message whose sender waits for no answer is not held while Redis is away: it would push out the others.

Pure: no I/O, no clock.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeAlias

from mux.wire.resp import Reply

OVERHEAD_BYTES = 256
"""Bytes that each message in the queue counts beside its own, so that a million empty messages are bounded too."""

CONNECTED_BYTES = 4 * 1024 * 1024
"""Most bytes that wait while there is a connection, however few may be held without one."""

Done: TypeAlias = Callable[[Reply], None]
"""Called once with Redis' reply to a command, or with a BrokerError when the command was refused or lost.

It is a function, so that most commands need no future and no task.
"""

Command: TypeAlias = tuple[bytes, Callable[[Any, Reply], None], Any, float, bool]
"""A command, in the queue or on its way to Redis: (data, answered, sender, due, is_held).

data is sent. answered(sender, reply) counts the reply, and tells the sender, which may be a Done. due is the time on
the event loop's clock at which the command is too old without a connection. is_held tells whether it is kept without a
connection.

It is a plain tuple, because one is made for every message that a client publishes.
"""


def pass_on(done: Done, reply: Reply) -> None:
    """Give a reply to whoever waits for it, uncounted."""
    done(reply)


def resolve_with_reply(future: asyncio.Future[Reply]) -> Done:
    """Return a function that resolves a future with a reply, if anybody still waits for it."""

    def done(reply: Reply) -> None:
        if not future.done():
            future.set_result(reply)

    return done


class Holding:
    """A queue of commands, bounded in bytes, and in age while there is no connection.

    Args:
        max_bytes: most bytes that are held without a connection; with 0 nothing is held.
        max_seconds: how long each command is held without a connection; with 0 nothing is held.
    """

    def __init__(self, *, max_bytes: int, max_seconds: float) -> None:
        self._max_bytes = max_bytes if max_seconds else 0
        self._connected_bytes = max(CONNECTED_BYTES, self._max_bytes)
        self._max_seconds = max_seconds
        self._queue: OrderedDict[int, Command] = OrderedDict()  # a dict would be slow to take the first of
        self._last_number = 0
        self.bytes = 0
        """The size of all commands in the queue, each with OVERHEAD_BYTES."""

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def next_due(self) -> float | None:
        """When the oldest command is too old; None when the queue is empty."""
        return next((due for _, _, _, due, _ in self._queue.values()), None)

    def add(
        self,
        now: float,
        data: bytes,
        answered: Callable[[Any, Reply], None],
        sender: Any,
        *,
        is_connected: bool,
        is_held: bool = True,
    ) -> int | None:
        """Queue a command and return its number, or None because the bound is reached.

        With a connection one command is always taken, however large: it does not wait for long.
        """
        total = self.bytes + len(data) + OVERHEAD_BYTES
        if is_connected:
            if total > self._connected_bytes and self.bytes:
                return None
        elif total > self._max_bytes or not is_held:
            return None
        self.bytes = total
        self._last_number = number = self._last_number + 1
        self._queue[number] = (data, answered, sender, now + self._max_seconds, is_held)
        return number

    def take(self, max_commands: int, max_bytes: int) -> list[Command]:
        """Remove and return the oldest commands: so many, and no more once they have so many bytes."""
        queue = self._queue
        if len(queue) <= max_commands and self.bytes <= max_bytes:
            return self.take_all()
        taken: list[Command] = []
        taken_bytes = 0
        while queue and len(taken) < max_commands and taken_bytes < max_bytes:
            _, command = queue.popitem(last=False)
            taken_bytes += len(command[0])
            taken.append(command)
        self.bytes -= taken_bytes + len(taken) * OVERHEAD_BYTES
        return taken

    def take_all(self) -> list[Command]:
        """Remove and return everything, oldest first."""
        taken = list(self._queue.values())
        self._queue.clear()
        self.bytes = 0
        return taken

    def withdraw(self, number: int) -> bool:
        """Remove a command whose sender does not want it sent any more; return False if it has left the queue."""
        command = self._queue.pop(number, None)
        if command is None:
            return False
        self.bytes -= len(command[0]) + OVERHEAD_BYTES
        return True

    def take_expired(self, now: float) -> list[Command]:
        """Remove and return the commands that are too old."""
        expired: list[Command] = []
        while (due := self.next_due) is not None and due <= now:
            expired += self.take(1, 1)
        return expired

    def take_unheld(self) -> list[Command]:
        """Remove and return what does not stay in the queue when the connection is lost: the youngest go first."""
        given_back: list[Command] = []
        self.bytes = 0
        for number, command in list(self._queue.items()):
            total = self.bytes + len(command[0]) + OVERHEAD_BYTES
            if command[-1] and total <= self._max_bytes:
                self.bytes = total
            else:
                given_back.append(self._queue.pop(number))
        return given_back
