"""The Redis connection of a process, for as long as the process lives.

A lost connection is made anew, for ever, with full jitter so that a fleet does not come back as one.
Subscribing again is one command, however many channels are open.

Delivery is at most once: what is published while there is no connection is refused at once, and what
was sent but not answered when the connection broke is reported as lost, never sent again.
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
from time import monotonic

from redis.backoff import FullJitterBackoff

from mux.broker.address import Address
from mux.broker.connection import Connection, Done, settle
from mux.errors import BrokerError, BrokerLost, BrokerRefused, BrokerUnavailable
from mux.wire.resp import Push, Reply, escape_name

FIRST_RETRY_SECONDS = 0.05
LAST_RETRY_SECONDS = 2.0
"""Between them the pause before the next try grows (design.md, section 7)."""

CLOSE_SECONDS = 2.0
"""How long aclose() waits for Redis to answer what was published."""

_REASONS: dict[type[object], str] = {
    BrokerUnavailable: "redis_unavailable",
    BrokerLost: "redis_lost",
    BrokerRefused: "redis_refused",
}

logger = logging.getLogger("mux.broker")


class Broker:
    """Subscribe, publish, reconnect.

    Args:
        address: where Redis is.
        pattern: what to subscribe to.
        on_messages: takes every batch of messages, synchronously; must not raise.
        on_writable: called when publishers that saw is_writable False may go on.
    """

    def __init__(
        self,
        address: Address,
        pattern: bytes,
        *,
        on_messages: Callable[[list[Push]], None],
        on_writable: Callable[[], None],
    ) -> None:
        self._address = address
        self._pattern = pattern
        self._on_messages = on_messages
        self._on_writable = on_writable
        self._client_name = escape_name(f"mux-{socket.gethostname()}-{os.getpid()}")
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self.published = 0
        """Messages that Redis has taken."""
        self.refused: Counter[str] = Counter()
        """Messages that it has not, by reason."""
        self.reconnects: Counter[str] = Counter()
        """Connections made anew, by what ended the one before."""

    async def start(self) -> None:
        """Make the first connection, and keep one from now on.

        An unreachable Redis is no error: it is logged and tried again, for ever.

        Raises:
            BrokerRefused: Redis does not want us; the operator has to do something.
        """
        first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._keep_connected(first), name="mux-broker")
        try:
            await first
        except BrokerRefused:
            await self.aclose()
            raise

    @property
    def is_connected(self) -> bool:
        """True while subscribed."""
        return self._connection is not None

    @property
    def is_writable(self) -> bool:
        """False while Redis does not keep up with what is published: stop reading from publishers."""
        return self._connection is None or self._connection.is_writable

    def send(self, redis_channel: bytes, payload: bytes, done: Done) -> None:
        """Publish without waiting; done is called once, at once when there is no connection.

        done gets the number of connections Redis sent it to, or a BrokerError.
        """
        done = partial(self._count, done)
        if self._connection is None:
            done(BrokerUnavailable("there is no connection to Redis now; try again later"))
        else:
            self._connection.publish(redis_channel, payload, done)

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
            self.refused[_REASONS.get(type(reply), "redis")] += 1
        else:
            self.published += 1
        done(reply)

    async def aclose(self) -> None:
        """Finish what was published, within 2 s, and close."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await connection.aclose()
            connection.abort()
            await connection.lost

    async def _keep_connected(self, first: asyncio.Future[None]) -> None:
        backoff = FullJitterBackoff(cap=LAST_RETRY_SECONDS, base=FIRST_RETRY_SECONDS)
        failures = 0
        since = monotonic()
        while True:
            try:
                connection = await self._open()
            except BrokerError as error:
                if not first.done():
                    _resolve(first, error)
                if not failures:
                    logger.error("%s; trying again until it works", error)
                # 2**failures is a float in redis-py: far enough up it overflows.
                await asyncio.sleep(max(FIRST_RETRY_SECONDS, backoff.compute(min(failures, 16))))
                failures += 1
                continue
            if first.done():
                self.reconnects["lost"] += 1
            if failures or first.done():
                logger.warning("connected to Redis at %s again, after %.1f s", self._address, monotonic() - since)
            if not first.done():
                first.set_result(None)
            self._connection, failures = connection, 0
            # Shielded, for the connection outlives this task by a graceful close.
            reason = await asyncio.shield(connection.lost)
            self._connection, since = None, monotonic()
            logger.error("lost Redis at %s: %s; connecting again", self._address, reason)

    async def _open(self) -> Connection:
        return await Connection.open(
            self._address,
            self._pattern,
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


async def probe(address: Address, pattern: bytes) -> None:
    """See whether a Redis would take us, and leave.

    Raises:
        BrokerUnavailable: it cannot be reached.
        BrokerRefused: it would not.
    """
    connection = await Connection.open(
        address,
        pattern,
        client_name=b"mux-probe",
        on_messages=lambda messages: None,
        on_writable=lambda: None,
    )
    await connection.aclose()
    await connection.lost
