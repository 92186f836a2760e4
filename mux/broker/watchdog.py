"""Find out when a connection is alive and deaf.

TCP, and even PING, say nothing about a subscription: a stopped Redis, a half-open link, a subscription or
a right that is gone look the same as a quiet evening. So after a time of silence the watchdog publishes
to a channel of its own, which the pattern matches, and must hear it. And since what is published on a
replica comes back there but reaches nobody else, it asks for the role as well.
"""

from __future__ import annotations

import asyncio

from mux.broker.connection import Connection
from mux.errors import BrokerError
from mux.wire.resp import Reply

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
        self._asked_at = 0.0
        self.round_trip_seconds = 0.0
        """How long the last answer took; 0 before the first."""
        self._timer = self._loop.call_later(seconds, self._tick)

    @property
    def is_heard(self) -> bool:
        """False while a probe is out that was not heard in its time."""
        return self._unheard < MAX_UNHEARD

    def stop(self) -> None:
        """Stop watching."""
        self._timer.cancel()

    def _tick(self) -> None:
        heard, self._heard = self._heard, self._connection.heard
        if heard != self._heard:
            self._unheard = 0
        elif self._unheard == MAX_UNHEARD:
            self._connection.drop("deaf", f"{MAX_UNHEARD} probes in {self._seconds:g} s each were not heard")
            return
        else:
            self._unheard += 1
            self._connection.publish(self._channel, b"", _ignore)
        self._asked_at = self._loop.time()
        self._connection.ask_role(self._told_role)
        self._timer = self._loop.call_later(self._seconds, self._tick)

    def _told_role(self, reply: Reply) -> None:
        self.round_trip_seconds = self._loop.time() - self._asked_at
        if not isinstance(reply, BrokerError) and not self._connection.is_useful(reply):
            self._connection.drop("demoted", "it is no master any more")


def _ignore(reply: Reply) -> None:
    # A probe that Redis refuses is one that is not heard.
    pass
