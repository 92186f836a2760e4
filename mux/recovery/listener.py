"""Give the app that mux is in the messages of a channel, those that passed as well.

A listener is one more subscriber of a channel, in this process and without a socket. What it has not taken yet is
bounded; beyond that it is told how many messages it has missed, and ends.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from time import time
from typing import cast

from mux.errors import Missed, SlowListener
from mux.hub.router import Router
from mux.hub.slot import Slot
from mux.hub.subscriber import AnySubscriber
from mux.recovery.history import History, Query
from mux.wire.publication import BINARY, JOINED, LEFT, Publication, is_text

MAX_MESSAGES = 10_000
"""Most messages that wait for a listener."""

MAX_BYTES = 16 * 1024 * 1024
"""Most bytes of them; one message is taken whatever its size."""

MESSAGES_PER_TURN = 1000
"""Messages of the history that are made in one turn of the loop: two milliseconds."""

_EVENTS = {JOINED: "joined", LEFT: "left"}


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a channel.

    Attributes:
        data: str if it is text, and bytes otherwise.
        position: its place among all messages, as clients give it back; empty while there is no order of messages.
        time: when it came to this process, in seconds of Unix time.
        event: `message`, or `joined` or `left` for an announcement.
    """

    data: str | bytes
    position: str
    time: float
    event: str = "message"


class Listener:
    """A subscriber without a socket (as the router sees it, a hub.subscriber.Subscriber)."""

    __slots__ = ("_bytes", "_is_ended", "_waiting", "encode", "joined", "missed", "queue")

    def __init__(self) -> None:
        self.joined: Slot[bytes] = None
        # One object for the life of the listener, as the router tells encoders apart by what they are.
        self.encode = self._take
        self.queue: deque[tuple[Publication, float]] = deque()
        self.missed = 0
        """The number of messages that there was no room for."""
        self._bytes = 0
        self._is_ended = False
        self._waiting: asyncio.Future[None] | None = None

    def write(self, data: bytes) -> None:
        """Do nothing: what is to be written was taken when it was encoded."""

    def end(self) -> None:
        """Let the listener end when it has taken what waits."""
        self._is_ended = True
        self._wake()

    async def until_some(self) -> bool:
        """Wait for a message; return False when there will be none."""
        while not self.queue:
            if self._is_ended or self.missed:
                return False
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        return True

    def next(self) -> tuple[Publication, float]:
        """Return the first message that waits, and when it came."""
        first = self.queue.popleft()
        self._bytes -= len(first[0][0])
        return first

    def _take(self, channel: bytes, publications: Sequence[Publication]) -> bytes:
        now = time()
        for publication in publications:
            if self.missed or (self.queue and (len(self.queue) >= MAX_MESSAGES or self._bytes >= MAX_BYTES)):
                self.missed += 1
            else:
                self.queue.append((publication, now))
                self._bytes += len(publication[0])
        self._wake()
        return b""

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class Listeners:
    """The listeners of a process.

    Args:
        router: delivers to them.
        history: knows what passed; without it, nothing is known of that, and messages have no positions.
    """

    def __init__(self, router: Router, history: History | None) -> None:
        self._router = router
        self._history = history
        self._open: set[Listener] = set()

    def end(self) -> None:
        """Let all of them end."""
        for listener in self._open:
            listener.end()

    async def history(self, redis_channel: bytes, query: Query) -> list[Message]:
        """Return what passed on a channel.

        Raises:
            Missed: not all that came since a position is known any more.
        """
        messages: list[Message] = []
        for publication in await self._find(redis_channel, query):
            at = None if self._history is None else self._history.time_of(publication[2])
            messages.append(self._message(publication, at))
            if len(messages) % MESSAGES_PER_TURN == 0:
                await asyncio.sleep(0)
        return messages

    async def listen(self, redis_channel: bytes, query: Query | None) -> AsyncIterator[Message]:
        """Return what passes on a channel, after what is asked for of that which passed.

        Raises:
            Missed: not all that came since a position is known any more.
            SlowListener: messages came faster than they were taken.
        """
        listener = Listener()
        found = [] if query is None else await self._find(redis_channel, query)
        subscriber = cast("AnySubscriber", listener)  # it has all that the router asks for
        self._router.join(subscriber, redis_channel)
        self._open.add(listener)
        try:
            for publication in found:
                at = None if self._history is None else self._history.time_of(publication[2])
                yield self._message(publication, at)
            while await listener.until_some():
                yield self._message(*listener.next())
            if listener.missed:
                raise SlowListener(listener.missed)
        finally:
            self._open.discard(listener)
            self._router.leave_all(subscriber)

    async def _find(self, redis_channel: bytes, query: Query) -> Sequence[Publication]:
        if self._history is None:
            if query.since:
                raise Missed("no_journal")
            return []
        found = await self._history.find(redis_channel, query)
        if found.missed:
            raise Missed(found.missed)
        return found.publications

    def _message(self, publication: Publication, at: float | None) -> Message:
        payload, kind, number = publication
        position = "" if self._history is None else self._history.position(number)
        is_binary = kind == BINARY or not is_text(payload)
        data = payload if is_binary else payload.decode()
        return Message(data, position, time() if at is None else at, _EVENTS.get(kind, "message"))
