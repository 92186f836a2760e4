"""Take part in the agreement of all processes: hear what they say about the order, and say what this one has to say.

    $order ──► heard ──► Order ──► placed: this process has a position
                          │
    beats, timers ────────┴──────► said

What to say and when is decided by Order; here are its timers, the connection, and what comes over it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from random import Random
from time import time

from mux.broker.broker import Broker
from mux.intake import BatchIntake
from mux.recovery.checksums import Checksums
from mux.recovery.order import Order, Placed
from mux.recovery.talk import CHANNEL, CopyTalk, Talk, read, write
from mux.wire.channel import RESERVED, Namespace
from mux.wire.resp import Reply

BEAT_SECONDS = 9.0
"""Seconds between two beats of a process, give or take a tenth; a mistake is noticed within two beats."""

MAX_TALKS_PER_SECOND = 1000
"""Most messages about the order that are read; a thousand processes say a hundred a second."""

logger = logging.getLogger("mux.recovery")


class Agreement:
    """The part of one process in the agreement.

    Args:
        intake: gives the batches that are compared.
        namespace: where the reserved channel is.
        rank: returns how many other processes are to speak before this one about a mark.
        on_placed: called with each new position, and the count of the message that brought it.
        on_copy: called with what processes say about copies of the journal.
    """

    def __init__(
        self,
        intake: BatchIntake,
        namespace: Namespace,
        rank: Callable[[str], int],
        *,
        on_placed: Callable[[Placed, int], None],
        on_copy: Callable[[CopyTalk], None],
    ) -> None:
        self.redis_channel = namespace.redis_channel(CHANNEL)
        """The Redis channel on which processes talk."""
        self.checksums = Checksums(self.redis_channel, namespace.redis_channel(RESERVED))
        self._dice = Random()  # noqa: S311 - nothing is kept secret by it
        self.order = Order(self._dice, new_epoch, rank, self.checksums)
        self._on_placed = on_placed
        self._on_copy = on_copy
        self._broker: Broker
        self._loop: asyncio.AbstractEventLoop
        self._timer: asyncio.TimerHandle | None = None
        self._beat_timer: asyncio.TimerHandle | None = None
        self._is_connected = False
        self._second, self._talks = 0.0, 0
        self._has_been_off = False
        intake.follow = self.checksums.take

    def start(self, broker: Broker) -> None:
        """Begin to beat."""
        self._broker = broker
        self._loop = asyncio.get_running_loop()
        self._beat_timer = self._loop.call_later(self._pause(), self._beat)

    def close(self) -> None:
        """End the timers."""
        for timer in (self._timer, self._beat_timer):
            if timer is not None:
                timer.cancel()

    def connected(self, server: str) -> None:
        """Ask for the place of this process on a new connection; server as for Order.connected()."""
        self._is_connected = True
        self.order.connected(server, self._loop.time())
        self._schedule()

    def disconnected(self) -> None:
        """Say nothing until there is a connection again."""
        self._is_connected = False
        self.order.disconnected()
        self._schedule()

    def heard(self, payload: bytes, count: int) -> None:
        """Take what a process said; count is as for Order.heard()."""
        now = self._loop.time()
        if now - self._second >= 1:
            self._second, self._talks = now, 0
        self._talks += 1
        talk = read(payload) if self._talks <= MAX_TALKS_PER_SECOND else None
        if isinstance(talk, CopyTalk):
            self._on_copy(talk)
        elif talk is not None:
            placed = self.order.heard(talk, count, now)
            if placed is not None:
                self._on_placed(placed, count)
            self._schedule()
            if self.order.is_off and not self._has_been_off:
                self._has_been_off = True
                logger.error(
                    "this Redis, or what stands before it, does not give all processes the same order of messages: "
                    "clients cannot resume until the connection is made anew"
                )

    def say(self, talk: Talk | CopyTalk) -> None:
        """Publish to all processes."""
        mark = talk.mark if isinstance(talk, Talk) and talk.claim is None else ""
        done = partial(self._told, mark) if mark else None
        self._broker.outbox.send_aside(self.redis_channel, write(talk), done)

    def _told(self, mark: str, reply: Reply) -> None:
        if reply == 1:
            self.order.alone(mark, self._loop.time())
            self._schedule()

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self.order.due
        if self._is_connected and due < float("inf"):
            self._timer = self._loop.call_at(due, self._tick)

    def _tick(self) -> None:
        self._timer = None
        for talk in self.order.tick(self._loop.time()):
            self.say(talk)
        self._schedule()

    def _beat(self) -> None:
        self._beat_timer = self._loop.call_later(self._pause(), self._beat)
        talk = self.order.beat() if self._is_connected else None
        if talk is not None:
            self.say(talk)

    def _pause(self) -> float:
        return BEAT_SECONDS * self._dice.uniform(0.9, 1.1)


def new_epoch() -> str:
    """Return a name that is greater than that of every epoch that began a millisecond ago or earlier."""
    return f"{int(time() * 1000):011x}{Random().getrandbits(24):06x}"  # noqa: S311 - nothing is kept secret by it
