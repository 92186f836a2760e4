"""Find out when a connection is alive and deaf, and up to when it was not.

TCP, and even PING, say nothing about a subscription: a stopped Redis, a half-open link, a subscription or a right
that is gone look the same as a quiet evening. So the watchdog asks for the role, and when next to nothing was heard
since the last time it sends a probe: an empty message to a channel of its own, which the pattern matches, so that it
must hear it. Every process of a fleet hears a probe and needs none of its own then. proof.py says what follows from an
answer and a message.

The role is asked for because what is published on a replica comes back there and reaches nobody else. An answer with
another id than the connection had is another server's, to which something on the way has led us.
"""

from __future__ import annotations

import asyncio
from functools import partial

from mux.broker.connection import Connection
from mux.broker.gap import Moment
from mux.broker.proof import Bus, Proof
from mux.broker.refusal import connection_id, reaches_all_subscribers
from mux.errors import BrokerError
from mux.wire.resp import Reply

QUESTIONS_PER_PROBE = 5
"""Questions about the role in the time of one probe: one a second at the default."""

MAX_UNHEARD = 2
"""Most probes in a row, after one probe's time of silence, that may go unheard before the connection is dropped."""

BUS_SECONDS = 20.0
"""A cluster's node that no other node has pinged for so many seconds is cut off. They ping it at least every half of
the cluster-node-timeout, which is 15 s by default, and about once a second as long as they are few."""


class Watchdog:
    """Watches one connection until that is lost.

    Args:
        connection: the connection; it is subscribed to the channel.
        channel: the Redis channel of the probes.
        seconds: how long silence may last until it counts as a probe that was not heard.
    """

    def __init__(self, connection: Connection, channel: bytes, seconds: float) -> None:
        self.connection = connection
        self._channel = channel
        self._seconds = seconds
        self._heard = connection.heard
        self._silent_ticks = 0
        self._loop = asyncio.get_running_loop()
        self._bus = Bus() if connection.is_clustered else None
        self._proof = Proof(None if connection.is_clustered else connection.good_at)
        self.round_trip_seconds = 0.0
        """Seconds that the last answer took; 0 before the first."""
        self._timer = self._loop.call_later(seconds / QUESTIONS_PER_PROBE, self._tick)
        connection.lost.add_done_callback(lambda lost: self._timer.cancel())

    @property
    def is_heard(self) -> bool:
        """False while nothing has been heard for as long as two probes have time."""
        return self._silent_ticks < MAX_UNHEARD * QUESTIONS_PER_PROBE

    @property
    def good_at(self) -> Moment | None:
        """Everything that was published before this moment has come; None if no moment is proven."""
        return self._proof.good_at(self.connection.heard)

    def _tick(self) -> None:
        tick_seconds = self._seconds / QUESTIONS_PER_PROBE
        heard, self._heard = self._heard, self.connection.heard
        self._silent_ticks = 0 if heard != self._heard else self._silent_ticks + 1
        if self._silent_ticks > (1 + MAX_UNHEARD) * QUESTIONS_PER_PROBE:
            self.connection.drop("deaf", f"{MAX_UNHEARD} probes in {self._seconds:g} s each were not heard")
            return
        if self._bus is not None and self._bus.silent * tick_seconds > BUS_SECONDS:
            self.connection.drop("deaf", f"the node was cut off from its cluster for {BUS_SECONDS:g} s")
            return
        self._ask(is_quiet=self._heard - heard <= 1)  # the one may have been our own probe
        self._timer = self._loop.call_later(tick_seconds, self._tick)

    def _ask(self, *, is_quiet: bool) -> None:
        connection, record, now = self.connection, self.connection.record, Moment.now()
        if self._bus is not None:
            connection.ask(b"CLUSTER", b"INFO", done=partial(self._bus.told, now))
        connection.ask(b"HELLO", b"3", done=partial(self._told_role, now, is_quiet))
        if record.run_id:
            connection.ask(b"INFO", b"replication", done=partial(record.told_offset, now))
        if record.buffer_kills is not None:
            connection.ask(b"INFO", b"stats", done=record.told_kills)

    def _told_role(self, asked_at: Moment, is_quiet: bool, reply: Reply) -> None:
        connection = self.connection
        if isinstance(reply, BrokerError):
            return
        self.round_trip_seconds = max(0.0, Moment.now().monotonic - asked_at.monotonic)
        if not isinstance(reply, dict) or connection_id(reply) != connection.client_id:
            connection.drop("moved", "another server answers on the connection")
            return
        if not reaches_all_subscribers(reply):
            connection.drop("demoted", "it is no master any more")
            return
        proven = asked_at if self._bus is None else self._bus.good_at
        if proven is not None:
            self._proof.answered(proven, connection.heard)
        if is_quiet:
            # After the answer, so that it proves the moment.
            connection.ask(b"PUBLISH", self._channel, b"", done=self._told_hearers)

    def _told_hearers(self, reply: Reply) -> None:
        # A probe that Redis refuses is one that is not heard.
        if reply == 0:
            self.connection.drop("deaf", "Redis delivered a probe to nobody")
