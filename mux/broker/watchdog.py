"""Find out when a connection is alive and deaf.

TCP, and even PING, say nothing about a subscription: a stopped Redis, a half-open link, a subscription or
a right that is gone look the same as a quiet evening. So after a time of silence the watchdog publishes
to a channel of its own, which the pattern matches, and must hear it. And since what is published on a
replica comes back there but reaches nobody else, it asks for the role as well.
"""

from __future__ import annotations

import asyncio
from functools import partial
from time import time

from mux.broker.connection import Connection
from mux.broker.hello import is_useful
from mux.errors import BrokerError
from mux.wire.resp import Reply

QUESTIONS_PER_PROBE = 5
"""How many times the role is asked for in the time of a probe: once a second at the default."""

MAX_UNHEARD = 2
"""After so many probes that were not heard the connection is dropped (design.md, section 7)."""


class Watchdog:
    """Watches one connection until that is lost.

    Args:
        connection: whom to watch.
        channel: the Redis channel to publish to; the connection is subscribed to it.
        seconds: how long silence may last until the first probe, and between probes.
    """

    def __init__(self, connection: Connection, channel: bytes, seconds: float) -> None:
        self._connection = connection
        self._channel = channel
        self._seconds = seconds
        self._heard = connection.heard
        self._unheard = 0
        self._loop = asyncio.get_running_loop()
        self._ticks = 0
        self.round_trip_seconds = 0.0
        """How long the last answer took; 0 before the first."""
        self._timer = self._loop.call_later(seconds / QUESTIONS_PER_PROBE, self._tick)

    @property
    def is_heard(self) -> bool:
        """False while a probe is out that was not heard in its time."""
        return self._unheard < MAX_UNHEARD

    def stop(self) -> None:
        """Stop watching."""
        self._timer.cancel()

    def _tick(self) -> None:
        self._ticks += 1
        if self._ticks % QUESTIONS_PER_PROBE == 0 and not self._is_heard_or_probed():
            self._connection.drop("deaf", f"{MAX_UNHEARD} probes in {self._seconds:g} s each were not heard")
            return
        self._connection.ask_role(partial(self._told_role, time()))
        self._timer = self._loop.call_later(self._seconds / QUESTIONS_PER_PROBE, self._tick)

    def _is_heard_or_probed(self) -> bool:
        """Send a probe after a time of silence; return False when it has lasted for too many."""
        heard, self._heard = self._heard, self._connection.heard
        if heard != self._heard:
            self._unheard = 0
        elif self._unheard == MAX_UNHEARD:
            return False
        else:
            self._unheard += 1
            self._connection.publish(self._channel, b"", _ignore)
        return True

    def _told_role(self, asked_at: float, reply: Reply) -> None:
        if isinstance(reply, BrokerError):
            return
        self._connection.good_at = asked_at
        self.round_trip_seconds = max(0.0, time() - asked_at)
        if not is_useful(reply):
            self._connection.drop("demoted", "it is no master any more")


def _ignore(reply: Reply) -> None:
    # A probe that Redis refuses is one that is not heard.
    pass
