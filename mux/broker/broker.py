"""The Redis connection of a process, for as long as the process lives.

A lost connection is made anew, for ever, with full jitter so that a fleet does not come back as one. Subscribing again
is one command, however many channels are open.

Delivery is at most once, and no loss is silent: a message that is published while there is no connection is held for a
while or given back, a message that was sent but not answered when the connection broke is reported as lost and never
sent again, and every time in which messages may have been missed is a Gap.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from random import uniform
from time import monotonic
from typing import Protocol
from uuid import uuid4

from mux.broker.connection import Connection, OnRead
from mux.broker.gap import Gap, Moment
from mux.broker.holding import Done, Holding
from mux.broker.location import Location
from mux.broker.loss import Loss
from mux.broker.outbox import Outbox
from mux.broker.standing import blame_buffer, good_before
from mux.broker.watchdog import Watchdog
from mux.errors import BrokerError, BrokerUnavailable
from mux.wire.resp import escape_name

FIRST_RETRY_SECONDS = 0.05
LAST_RETRY_SECONDS = 2.0
"""The longest pause before the next try to connect doubles from FIRST_RETRY_SECONDS up to LAST_RETRY_SECONDS."""

STABLE_SECONDS = 5.0
"""A connection that lived for more seconds was in order: after it the pauses start from the shortest again."""

POLL_SECONDS = 0.01
"""Seconds after which aclose() checks again whether everything is sent."""

CLOSE_SECONDS = 2.0
"""Most seconds for which aclose() waits to send what is held, and then for Redis to answer."""

logger = logging.getLogger("mux.broker")


class Recovering(Protocol):
    """Finds out which messages were missed while there was no connection."""

    def disconnected(self) -> None:
        """Take note that the connection is lost."""

    def connected(self, connection: Connection, gap: Gap | None) -> None:
        """Begin with a new connection, and tell the gap before it sooner or later unless nothing was missed in it."""


class Broker:
    """Subscribe, publish, reconnect; hold what is published meanwhile, and tell what may have been missed.

    Args:
        location: where Redis is.
        pattern: matches the Redis channels to subscribe to.
        probe_prefix: the beginning of the Redis channel of our probes; the pattern matches it. The rest is drawn by
            start(), so that processes forked from one app do not hear each other's probes.
        probe_seconds: how long silence may last until it counts as a probe that was not heard.
        holding: the queue of what waits to be published.
        on_read: takes every read, synchronously; may raise BrokerGarbled, and nothing else.
        on_writable: called when publishers that saw is_writable False may go on.
        on_gap: called with each Gap that is told; must not raise.
        recovery: told of connections; without one, every loss is a gap.
    """

    def __init__(
        self,
        location: Location,
        pattern: bytes,
        *,
        probe_prefix: bytes,
        probe_seconds: float,
        holding: Holding,
        on_read: OnRead,
        on_writable: Callable[[], None],
        on_gap: Callable[[Gap], None],
        recovery: Recovering | None = None,
    ) -> None:
        self._location = location
        self._pattern = pattern
        self._probe_prefix = probe_prefix
        self._probe_channel = b""
        self._probe_seconds = probe_seconds
        self.outbox = Outbox(holding, on_writable)
        """Publishes on the connection."""
        self._on_read = on_read
        self._on_gap = on_gap
        self._recovery = recovery
        self._client_name = b""
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._again: asyncio.TimerHandle | None = None
        self._watchdog: Watchdog | None = None
        self._is_closing = False
        self._good_until = Moment.now()
        self._loss: Loss | None = None
        self._lost_at: float | None = None
        self._told = ""
        self.reconnects: Counter[str] = Counter()
        """Connections that were made again, by the cause of the loss."""
        self.gaps = 0
        """Gaps that were told."""
        self.gap_seconds = 0.0
        """Seconds that all gaps lasted together."""

    async def start(self) -> None:
        """Make the first connection, and keep one from now on.

        An unreachable Redis is no error: it is logged and tried again, for ever.

        Raises:
            BrokerRefused: Redis does not want us; the operator has to do something.
        """
        self._client_name = escape_name(f"mux-{socket.gethostname()}-{os.getpid()}")
        self._probe_channel = self._probe_prefix + uuid4().hex.encode()
        self._is_closing = False
        self._good_until = Moment.now()
        self._loss = self._lost_at = self._watchdog = None
        self.outbox.open()
        connection: Connection | None = None
        try:
            connection = await self._open()
            self._use(connection)
        except BrokerUnavailable as error:
            self._failed_to_open(error)
        except BaseException:
            await self.aclose()
            raise
        self._begin(connection)

    @property
    def is_connected(self) -> bool:
        """True while subscribed."""
        return self._connection is not None and not self._connection.lost.done()

    @property
    def is_heard(self) -> bool:
        """True while every probe of the connection has been heard."""
        return self.is_connected and self._watchdog is not None and self._watchdog.is_heard

    @property
    def round_trip_seconds(self) -> float:
        """Seconds that Redis took for the last answer about its role; 0 while there is none."""
        return 0.0 if self._watchdog is None else self._watchdog.round_trip_seconds

    async def aclose(self) -> None:
        """Send what is held, if Redis comes back within 2 s, finish what was published, within 2 s, and close."""
        task, deadline = self._task, monotonic() + CLOSE_SECONDS
        while len(self.outbox) and task and not task.done() and monotonic() < deadline:  # noqa: ASYNC110 - for 2 s
            await asyncio.sleep(POLL_SECONDS)
        self._is_closing = True
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)  # an error has been logged
            self._task = None
        self.outbox.close()
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await connection.aclose()
            connection.abort()
            await connection.lost

    def _begin(self, connection: Connection | None = None) -> None:
        """Start the task that keeps us connected; it gets the connection that is in use, if there is one."""
        self._task = asyncio.create_task(self._keep_connected(connection), name="mux-broker")
        self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Begin again if the task that keeps us connected has ended by itself."""
        if self._is_closing:
            return
        error = None if task.cancelled() else task.exception()
        logger.critical("the task that keeps the connection to Redis has failed; it begins anew", exc_info=error)
        if self._connection is not None:
            self._connection.drop("failed", "the task that keeps it has failed")
            self._connection = None
        self._loss = self._loss or Loss("failed", "the task that keeps the connection to Redis has failed")
        self._again = task.get_loop().call_later(LAST_RETRY_SECONDS, self._begin)

    async def _keep_connected(self, connection: Connection | None) -> None:
        failures = 0
        while True:
            if connection is not None:
                since = monotonic()
                await self._wait_until_lost(connection)
                if monotonic() - since > STABLE_SECONDS:
                    failures = 0
            failures += 1
            await asyncio.sleep(_pause(failures))
            try:
                connection = await self._open()
            except BrokerError as error:
                connection = None
                self._failed_to_open(error)
            else:
                self._use(connection)

    async def _open(self) -> Connection:
        return await Connection.open(
            await self._location.locate(),
            self._pattern,
            probe_channel=self._probe_channel,
            client_name=self._client_name,
            on_read=self._on_read,
            on_writable=self.outbox.changed,
        )

    def _failed_to_open(self, error: BrokerError) -> None:
        """Log why there is no connection, unless it is why there was none before."""
        if str(error) != self._told:
            self._told = str(error)
            logger.error("%s; trying again until it works", error)
        self._loss = self._loss or Loss("unreachable", str(error))

    def _use(self, connection: Connection) -> None:
        """Publish on a new connection and watch it, and tell the gap before it if there is one."""
        gap = None if self._loss is None else self._gap(self._loss, connection)
        if self._lost_at is None:
            logger.info("subscribed at %s", self._location)
        else:
            logger.info("connected to Redis at %s again after %.1f s", self._location, monotonic() - self._lost_at)
        self._told = ""
        self._connection = connection
        self._watchdog = Watchdog(connection, self._probe_channel, self._probe_seconds)
        self.outbox.connected(connection)
        if self._recovery is not None:
            self._recovery.connected(connection, gap)
        elif gap is not None:
            self.tell_gap(gap)

    async def _wait_until_lost(self, connection: Connection) -> None:
        # Shielded, for the connection outlives this task by a graceful close.
        self._loss = await asyncio.shield(connection.lost)
        self._lost_at = monotonic()
        self._connection = None
        if self._recovery is not None:
            self._recovery.disconnected()
        logger.error("lost Redis at %s: %s; connecting again", self._location, self._loss.reason)

    def pause_reading(self, is_paused: bool) -> None:
        """Read no more from Redis, or go on; a new connection is read from."""
        if self._connection is not None:
            self._connection.pause_reading(is_paused)

    def ask(self, *words: bytes, done: Done) -> None:
        """Send a command that is not a publish; done gets the reply, or a BrokerError."""
        if self._connection is None:
            done(BrokerUnavailable("there is no connection to Redis now"))
        else:
            self._connection.ask(*words, done=done)

    def is_cluster(self) -> bool:
        """Tell whether the connection leads to a node of a cluster, as far as Redis tells this user."""
        return self._connection is not None and self._connection.record.is_cluster

    def tell_gap(self, gap: Gap, missed: int | None = None) -> None:
        """Count and tell a gap in which so many messages were missed; None when the number is not known."""
        self.gaps += 1
        gap = replace(gap, number=self.gaps, missed=missed)
        self.gap_seconds += gap.seconds
        logger.warning("%s", gap)
        self._on_gap(gap)

    def _gap(self, loss: Loss, connection: Connection) -> Gap:
        """Return the time in which messages may have been missed before a connection."""
        good, watchdog = self._good_until, self._watchdog
        if watchdog is not None:
            # In a cluster a connection may prove nothing; then no more is proven than before it.
            self._good_until = watchdog.good_at or good
            before = watchdog.connection
            loss = blame_buffer(loss, before.record, connection.record)
            good = good_before(self._good_until, before.good_at, before.record, connection.record)
        self.reconnects[loss.cause] += 1
        self._loss = None
        return Gap.between(0, good, Moment.now(), loss.cause, loss.reason)


def _pause(failures: int) -> float:
    """Return the seconds until the next try to connect, drawn anew each time."""
    longest = min(LAST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2 ** min(failures, 16))  # 2**1024 is no float
    return uniform(0, longest)  # noqa: S311 - nothing is kept secret by it
