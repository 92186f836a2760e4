"""Share the turns of the event loop among clients that send a lot.

One read can bring tens of thousands of frames, and a thousand clients can send such reads at once. So a turn of the
loop is for so many frames and no more, whoever sent them. A client with more waits: it is not read from, and in later
turns gets a slice whenever the others that wait have had one.

A read of a few bytes does not wait, so a client that says something now and then does not notice the others. It does
when so many bytes were inflated in this turn that a few bytes are no small thing any more.

Clients that publish also wait while Redis does not keep up. One that has left its channels publishes no more, so it
waits for its turn and for nothing else.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

C = TypeVar("C", bound=Hashable)

FRAMES_PER_TURN = 512
"""Most frames handled in one turn of the loop: one or two milliseconds, as a published message takes 2 to 5 µs."""

FRAMES_PER_SLICE = 64
"""Most frames of one client that are handled before the next client gets a slice."""

BYTES_PER_SLICE = 16 * 1024
"""A slice begins no further frame once it has handled this many bytes."""

LEAST_COST = 8
"""A slice counts for at least this many frames, because a slice without frames has a cost, too."""

LIGHT_BYTES = 1024
"""A read of at most this many bytes is handled at once, up to LIGHT_FRAMES."""

LIGHT_FRAMES = 8
"""Most frames of a light read that are handled at once, so that a flood of light reads waits like any other."""


class Turns(Generic[C]):
    """Clients whose frames are handled slice by slice.

    Args:
        serve: handles at most so many frames of a client, possibly none, and returns how many it has handled; a frame
            that takes longer counts as several, though they be more than were asked for. It calls wait() when there
            are more, and done() when there are none.
        is_writable: tells whether messages can be published now.
    """

    def __init__(self, serve: Callable[[C, int], int], is_writable: Callable[[], bool]) -> None:
        self._serve = serve
        self._is_writable = is_writable
        self._left = FRAMES_PER_TURN
        self._next_turn: asyncio.Handle | None = None
        self._publishing: deque[C] = deque()
        self._leaving: deque[C] = deque()
        self._served: deque[C] = deque()  # stays empty: the one that has its slice now waits in neither
        # Where a client waits; where else it still stands is out of date.
        self._queue_of: dict[C, deque[C]] = {}

    def __contains__(self, client: C) -> bool:
        """Return True if a client waits."""
        return client in self._queue_of

    def came(self, client: C, size: int) -> None:
        """Handle a read of so many bytes, as far as this turn allows. The client does not wait yet."""
        if size <= LIGHT_BYTES and self._left > -FRAMES_PER_TURN:
            served = self._serve(client, LIGHT_FRAMES)
            if served > LIGHT_FRAMES:  # a few bytes became many when they were inflated
                self._left -= served
                self._schedule()
        elif self._left > 0:
            self._spend(client)
            self._schedule()
        else:
            self._serve(client, 0)

    def wait(self, client: C, *, publishes: bool) -> None:
        """Give a client a slice in a later turn; if it publishes, in one in which messages can be published."""
        queue = self._publishing if publishes else self._leaving
        if self._queue_of.get(client) is not queue:
            self._queue_of[client] = queue
            queue.append(client)
        self._schedule()

    def hold(self, client: C) -> None:
        """Let a client wait, and get no slice, until wait() is called."""
        self._queue_of[client] = self._served

    def done(self, client: C) -> bool:
        """Let a client wait no more; tell whether it did."""
        return self._queue_of.pop(client, None) is not None

    def resume(self) -> None:
        """Go on with the clients that publish: messages can be published again."""
        if self._publishing:
            self._schedule()

    def _schedule(self) -> None:
        if self._next_turn is None:
            self._next_turn = asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._next_turn = None
        self._left = FRAMES_PER_TURN
        while self._leaving and self._left > FRAMES_PER_TURN // 2:
            self._serve_first(self._leaving)
        while self._publishing and self._left > 0 and self._is_writable():
            self._serve_first(self._publishing)
        if self._leaving or (self._publishing and self._is_writable()):
            self._schedule()

    def _serve_first(self, queue: deque[C]) -> None:
        client = queue.popleft()
        if self._queue_of.get(client) is queue:
            self._queue_of[client] = self._served
            self._spend(client)

    def _spend(self, client: C) -> None:
        self._left -= max(LEAST_COST, self._serve(client, min(FRAMES_PER_SLICE, self._left)))
