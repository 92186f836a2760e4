"""The Redis connection of a process, for as long as the process lives.

A lost connection is made anew, for ever, with full jitter so that a fleet does not come back as one.
Subscribing again is one command, however many channels are open.

Delivery is at most once, and no loss is silent: what is published while there is no connection is held
for a while or given back, what was sent but not answered when the connection broke is reported as lost and
never sent again, and every time in which messages may have been missed is a Gap.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import monotonic, time
from uuid import uuid4

from redis.backoff import FullJitterBackoff

from mux.broker.answer import Done, ignore, settle
from mux.broker.cause import blame_buffer
from mux.broker.connection import Connection
from mux.broker.gap import Gap
from mux.broker.holding import Holding, give_back
from mux.broker.location import Location
from mux.broker.loss import Loss
from mux.broker.watchdog import Watchdog
from mux.errors import BrokerError, BrokerRefused, BrokerUnavailable
from mux.wire.resp import Push, Reply, escape_name

FIRST_RETRY_SECONDS = 0.05
LAST_RETRY_SECONDS = 2.0
"""Between them the pause before the next try grows (design.md, section 7)."""

STABLE_SECONDS = 5.0
"""A connection that lived so long was in order: after it the pauses start from the shortest again."""

CLOSE_SECONDS = 2.0
"""How long aclose() waits for Redis to answer what was published."""

logger = logging.getLogger("mux.broker")


class Broker:
    """Subscribe, publish, reconnect; hold what is published meanwhile, and tell what may have been missed.

    Args:
        location: where Redis is.
        pattern: what to subscribe to.
        probe_prefix: what the Redis channel starts with that probes go to; the pattern matches it. The rest is drawn
            by start(), so that processes forked from one app do not hear each other's probes.
        probe_seconds: how long nothing may come until the connection is probed.
        holding: what is published while there is no connection.
        on_messages: takes every batch of messages, synchronously; may raise BrokerGarbled, and nothing else.
        on_writable: called when publishers that saw is_writable False may go on.
        on_gap: called with each Gap, when messages come again; must not raise.
    """

    def __init__(
        self,
        location: Location,
        pattern: bytes,
        *,
        probe_prefix: bytes,
        probe_seconds: float,
        holding: Holding,
        on_messages: Callable[[list[Push]], None],
        on_writable: Callable[[], None],
        on_gap: Callable[[Gap], None],
    ) -> None:
        self._location = location
        self._pattern = pattern
        self._probe_prefix = probe_prefix
        self._probe_channel = b""
        self._probe_seconds = probe_seconds
        self._holding = holding
        self._on_messages = on_messages
        self._on_writable = on_writable
        self._on_gap = on_gap
        self._client_name = b""
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._watchdog: Watchdog | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._good_until = 0.0
        self.published = 0
        """Messages that Redis has taken."""
        self.refused: Counter[str] = Counter()
        """Messages that it has not, by reason."""
        self.reconnects: Counter[str] = Counter()
        """How many times a connection was made again, by the cause of the loss."""
        self.gaps = 0
        """How many times messages may have been missed."""
        self.gap_seconds = 0.0
        """How long these times were together."""

    async def start(self) -> None:
        """Make the first connection, and keep one from now on.

        An unreachable Redis is no error: it is logged and tried again, for ever.

        Raises:
            BrokerRefused: Redis does not want us; the operator has to do something.
        """
        self._client_name = escape_name(f"mux-{socket.gethostname()}-{os.getpid()}")
        self._probe_channel = self._probe_prefix + uuid4().hex.encode()
        first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._keep_connected(first), name="mux-broker")
        self._task.add_done_callback(self._ended)
        try:
            await asyncio.wait((first, self._task), return_when=asyncio.FIRST_COMPLETED)
            await (first if first.done() else self._task)
        except BrokerRefused:
            await self.aclose()
            raise

    @property
    def is_connected(self) -> bool:
        """True while subscribed."""
        return self._connection is not None and not self._connection.lost.done()

    @property
    def _is_trying(self) -> bool:
        return self._task is not None and not self._task.done()

    @property
    def is_heard(self) -> bool:
        """True while every probe of the connection has been heard."""
        return self.is_connected and self._watchdog is not None and self._watchdog.is_heard

    @property
    def round_trip_seconds(self) -> float:
        """How long Redis took for the last answer to a probe; 0 while there is none."""
        return 0.0 if self._watchdog is None else self._watchdog.round_trip_seconds

    @property
    def is_writable(self) -> bool:
        """False while Redis does not keep up with what is published: stop reading from publishers."""
        return self._connection is None or self._connection.is_writable

    def send(self, redis_channel: bytes, payload: bytes, done: Done) -> None:
        """Publish without waiting, or hold the message until there is a connection; done is called once.

        done gets the number of connections Redis sent it to, or a BrokerError; at once, when the message
        cannot be held.
        """
        done = partial(self._count, done)
        connection = self._connection
        if connection is not None and not connection.lost.done():
            connection.publish(redis_channel, payload, done)
            return
        loop = asyncio.get_running_loop()
        if not self._holding.add(loop.time(), redis_channel, payload, done):
            done(BrokerUnavailable("there is no connection to Redis now; try again later"))
        elif self._expiry is None:
            self._expire()

    def send_aside(self, redis_channel: bytes, payload: bytes) -> None:
        """Publish what is not the feed's: it is not counted, and dropped when Redis is away or does not keep up."""
        connection = self._connection
        if connection is not None and connection.is_writable:
            connection.publish(redis_channel, payload, ignore)

    async def publish(self, redis_channel: bytes, payload: bytes) -> None:
        """Publish and wait until Redis has it.

        Raises:
            BrokerUnavailable: it was not sent.
            BrokerLost: it was sent, and what became of it is unknown.
            BrokerRefused: Redis did not take it.
        """
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.send(redis_channel, payload, settle(answer))
        reply = await answer
        if isinstance(reply, BrokerError):
            raise reply

    def _count(self, done: Done, reply: Reply) -> None:
        if isinstance(reply, BrokerError):
            self.refused[reply.counted_as] += 1
        else:
            self.published += 1
        done(reply)

    async def aclose(self) -> None:
        """Send what is held, if Redis comes back within 2 s, finish what was published, within 2 s, and close."""
        deadline = monotonic() + CLOSE_SECONDS
        while len(self._holding) and self._is_trying and monotonic() < deadline:  # noqa: ASYNC110 - once, for 2 s
            await asyncio.sleep(FIRST_RETRY_SECONDS)
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        give_back(self._holding.take_all())
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await connection.aclose()
            connection.abort()
            await connection.lost

    async def _keep_connected(self, first: asyncio.Future[None]) -> None:
        backoff = FullJitterBackoff(cap=LAST_RETRY_SECONDS, base=FIRST_RETRY_SECONDS)
        self._good_until = time()
        previous: Connection | None = None
        loss: Loss | None = None
        failures = 0
        told = ""
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection = await self._open()
            except BrokerError as error:
                if not first.done():
                    _resolve(first, error)
                if str(error) != told:
                    told = str(error)
                    logger.error("%s; trying again until it works", error)
                loss = loss or Loss("unreachable", str(error))
            else:
                if loss is not None:
                    self._tell_gap(blame_buffer(loss, previous, connection))
                if not first.done():
                    first.set_result(None)
                since = loop.time()
                loss = await self._live_with(connection)
                previous, told = connection, ""
                if loop.time() - since > STABLE_SECONDS:
                    failures = 0
            failures += 1
            # 2**failures is a float in redis-py: far enough up it overflows.
            await asyncio.sleep(backoff.compute(min(failures, 16)))

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Say so if the task that keeps us connected has ended by itself: then nothing will be heard again."""
        if not task.cancelled() and task.exception() is not None:
            logger.critical("the broker has failed; restart this process", exc_info=task.exception())

    async def _live_with(self, connection: Connection) -> Loss:
        """Use a connection until it is lost."""
        self._connection = connection
        for held in self._holding.take_all():
            connection.publish(held.redis_channel, held.payload, held.done)
        self._watchdog = Watchdog(connection, self._probe_channel, self._probe_seconds)
        try:
            # Shielded, for the connection outlives this task by a graceful close.
            loss = await asyncio.shield(connection.lost)
        finally:
            self._watchdog.stop()
        self._connection = None
        self._good_until = connection.good_at
        logger.error("lost Redis at %s: %s; connecting again", self._location, loss.reason)
        return loss

    def _tell_gap(self, loss: Loss) -> None:
        self.gaps += 1
        gap = Gap(self.gaps, self._good_until, time(), loss.cause, loss.reason)
        self.gap_seconds += gap.seconds
        self.reconnects[gap.cause] += 1
        logger.warning("%s", gap)
        self._on_gap(gap)

    def _expire(self) -> None:
        """Give back what has been held for too long; called whenever that may be something."""
        loop = asyncio.get_running_loop()
        give_back(self._holding.take_expired(loop.time()))
        due = self._holding.next_due
        self._expiry = None if due is None else loop.call_at(due, self._expire)

    async def _open(self) -> Connection:
        return await Connection.open(
            await self._location.locate(),
            self._pattern,
            probe_channel=self._probe_channel,
            client_name=self._client_name,
            on_messages=self._on_messages,
            on_writable=self._on_writable,
        )


def _resolve(first: asyncio.Future[None], error: BrokerError) -> None:
    """Let start() return, or raise if trying again is of no use."""
    if isinstance(error, BrokerRefused):
        first.set_exception(error)
    else:
        first.set_result(None)
