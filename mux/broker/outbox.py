"""Everything that this process publishes, on its way to Redis.

WebSocket clients, POST, announcements, the fleet's own talk and the app all publish here, and Redis is asked to take
no more at once than it can give back (connection.py). The rest waits in one queue (holding.py).

    Redis keeps up            a message is sent at the end of the turn of the loop
    Redis does not keep up    is_writable is False: clients are not read from, the app waits, announcements are dropped
    Redis is away             a message is held for a while, or given back; announcements are dropped

No message is sent after its sender was told that it is not, or has stopped waiting for it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

from mux.broker.connection import MAX_UNANSWERED, MAX_UNANSWERED_BYTES, Connection
from mux.broker.holding import CONNECTED_BYTES, Done, Holding, pass_on, resolve_with_reply
from mux.errors import BrokerBusy, BrokerError, BrokerLost, BrokerRefused, BrokerUnavailable
from mux.wire.resp import Reply, encode_publish

MAX_ANNOUNCED_BYTES = CONNECTED_BYTES // 2
"""Most bytes in the queue with which an announcement is added, so that those of a crowd do not push messages out."""


class Outbox:
    """Publishes on whatever connection there is, to Redis channels that this process hears itself.

    Args:
        holding: the queue.
        on_writable: called when publishers that saw is_writable False may go on.
    """

    def __init__(self, holding: Holding, on_writable: Callable[[], None]) -> None:
        self._holding = holding
        self._on_writable = on_writable
        self._loop: asyncio.AbstractEventLoop
        self._now = 0.0
        self._connection: Connection | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._is_flushing = False
        self._closed: str | None = "the feed is not started"
        self._turn = asyncio.Lock()
        self._writable = asyncio.Event()
        self._max_commands = self._max_bytes = 0
        self._count = self._count_message  # bound once, and not for each message
        self._count_sent = self._count_message_of_sender
        self.on_refused: Callable[[Any, BrokerError], None] = lambda sender, error: None
        """Called with the sender of a message of send_from() that Redis has not taken."""
        self.is_writable = True
        """False while Redis does not keep up with what is published: stop reading from publishers."""
        self.published = 0
        """Messages that Redis has taken."""
        self.refused: Counter[str] = Counter()
        """Messages that Redis has not taken, by reason."""

    def __len__(self) -> int:
        """Return the number of messages that wait to be sent."""
        return len(self._holding)

    def open(self) -> None:
        """Take messages from now on."""
        self._closed = None
        self._loop = asyncio.get_running_loop()
        self._turn, self._writable = asyncio.Lock(), asyncio.Event()

    def close(self) -> None:
        """Take no more messages, and give back those that wait."""
        self._closed = "the feed has ended"
        self._stop_expiring()
        for _, answered, sender, _, _ in self._holding.take_all():
            answered(sender, BrokerUnavailable("there was no connection to Redis for too long"))

    def connected(self, connection: Connection) -> None:
        """Send what waits on a new connection, and all that comes, until it is lost."""
        self._connection = connection
        self._stop_expiring()
        self.changed()

    def changed(self) -> None:
        """Send or stop as the connection allows; to be called whenever it can take more or less, or is lost."""
        connection, holding = self._connection, self._holding
        if connection is None:
            return
        if connection.lost.done():
            self._lost()
            return
        room = connection.capacity
        if holding and not self._is_flushing:
            connection.send(holding.take(*room))
            room = connection.capacity
        self._max_commands, self._max_bytes = room
        commands, size = self._max_commands - len(holding), self._max_bytes - holding.bytes
        if self.is_writable and (commands <= 0 or size <= 0):
            self._stop_publishers()
        elif not self.is_writable and commands > MAX_UNANSWERED // 2 and size > MAX_UNANSWERED_BYTES // 2:
            self._let_publishers_go_on()

    def send(self, redis_channel: bytes, payload: bytes, done: Done) -> int | None:
        """Publish without waiting; done is called once, and at once when the message can neither be sent nor held.

        Returns what publish() withdraws.
        """
        return self._add(redis_channel, payload, self._count, done)

    def send_from(self, sender: object, redis_channel: bytes, payload: bytes) -> None:
        """Publish without waiting; on_refused is called when Redis does not take the message, and nothing when it does.

        Nearly all messages come in this way, so nothing is made for one but its command.
        """
        self._add(redis_channel, payload, self._count_sent, sender)

    def announce(self, redis_channel: bytes, payload: bytes) -> None:
        """Publish an announcement; it is dropped, and counted, when Redis is away or does not keep up."""
        if self._connection is None or self._holding.bytes > MAX_ANNOUNCED_BYTES:
            self.refused["announcement"] += 1
        else:
            self._add(redis_channel, payload, self._count_announcement, _ignore, is_held=False)

    def send_aside(self, redis_channel: bytes, payload: bytes, done: Done | None = None) -> None:
        """Publish a message between processes: it is not counted, and dropped when Redis is away or does not keep up.

        done, when there is one, gets the reply, and is not called when the message is dropped.
        """
        if self._connection is not None and self.is_writable:
            self._add(redis_channel, payload, pass_on, done or _ignore, is_held=False)

    async def publish(
        self, redis_channel: bytes, payload: bytes, *, timeout_seconds: float | None = None, is_patient: bool = False
    ) -> None:
        """Publish and wait until Redis has it, for timeout_seconds at most unless that is None.

        With 0 the message is sent now or not at all, and only the answer is waited for. A patient sender waits while
        Redis does not keep up; for another, a message over the bound of the queue is refused.

        Raises:
            BrokerUnavailable: it was not sent, and will not be.
            BrokerLost: it was sent, and what became of it is unknown.
            BrokerRefused: Redis did not take it.
        """
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        number: int | None = None
        try:
            async with asyncio.timeout(timeout_seconds or None):
                if timeout_seconds == 0:
                    self._check_now()
                elif is_patient:
                    await self._wait_until_writable()
                number = self.send(redis_channel, payload, resolve_with_reply(answer))
                if timeout_seconds == 0:
                    self._flush()
                    self._withdraw(number, "Redis does not keep up; the message was not sent")
                reply = await answer
        except TimeoutError:
            if number is None:
                self._refuse("the message was not sent")
            self._withdraw(number, f"the message was not sent within {timeout_seconds:g} s")
            raise BrokerLost(
                f"Redis did not answer within {timeout_seconds:g} s: the message may be published"
            ) from None
        except asyncio.CancelledError:
            if number is not None:
                self._holding.withdraw(number)
            raise
        if isinstance(reply, BrokerError):
            raise reply

    def _check_now(self) -> None:
        if self._closed is not None:
            self._refuse(self._closed)
        if self._connection is None or not self._connection.is_usable:
            self._refuse("there is no connection to Redis now; the message was not sent")

    def _withdraw(self, number: int | None, reason: str) -> None:
        """Raise if a message had not been sent; it will not be."""
        if number is not None and self._holding.withdraw(number):
            self._refuse(reason)

    def _refuse(self, reason: str) -> None:
        error = BrokerUnavailable(reason)
        self.refused[error.reason.counted_as] += 1
        raise error from None

    async def _wait_until_writable(self) -> None:
        """Wait until Redis keeps up, one after the other in the order of coming."""
        async with self._turn:
            while not self.is_writable:
                await self._writable.wait()

    def _add(
        self,
        redis_channel: bytes,
        payload: bytes,
        answered: Callable[[Any, Reply], None],
        sender: Any,
        *,
        is_held: bool = True,
    ) -> int | None:
        if self._closed is not None:
            answered(sender, BrokerUnavailable(self._closed))
            return None
        if not self._is_flushing:
            self._now = self._loop.time()  # once a turn of the loop is exact enough for an age
            self._is_flushing = True
            self._loop.call_soon(self._flush)
        holding, is_connected = self._holding, self._connection is not None
        number = holding.add(
            self._now,
            encode_publish(redis_channel, payload),
            answered,
            sender,
            is_connected=is_connected,
            is_held=is_held,
        )
        if number is None:
            problem = "Redis does not keep up" if is_connected else "there is no connection to Redis now"
            answered(sender, BrokerUnavailable(f"{problem}; try again later"))
        elif is_connected:
            if self.is_writable and (len(holding) > self._max_commands or holding.bytes > self._max_bytes):
                self._stop_publishers()
        elif self._expiry is None:
            self._expire()
        return number

    def _flush(self) -> None:
        self._is_flushing = False
        self.changed()

    def _lost(self) -> None:
        self._connection = None
        for _, answered, sender, _, _ in self._holding.take_unheld():
            answered(sender, BrokerUnavailable("there is no connection to Redis now; try again later"))
        self._expire()
        if not self.is_writable:
            self._let_publishers_go_on()

    def _stop_publishers(self) -> None:
        self.is_writable = False
        self._writable.clear()

    def _let_publishers_go_on(self) -> None:
        self.is_writable = True
        self._writable.set()
        self._on_writable()

    def _expire(self) -> None:
        """Give back what has been held for too long; called whenever that may be something."""
        for _, answered, sender, _, _ in self._holding.take_expired(self._loop.time()):
            answered(sender, BrokerUnavailable("there was no connection to Redis for too long"))
        self._stop_expiring()
        due = self._holding.next_due
        self._expiry = None if due is None else self._loop.call_at(due, self._expire)

    def _stop_expiring(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None

    def _count_message(self, done: Done, reply: Reply) -> None:
        # A message that Redis takes is delivered once at least: to us.
        if type(reply) is int and reply > 0:
            self.published += 1
        else:
            reply = self._failed(reply)
        done(reply)

    def _count_message_of_sender(self, sender: object, reply: Reply) -> None:
        if type(reply) is int and reply > 0:
            self.published += 1
        else:
            self.on_refused(sender, self._failed(reply))

    def _failed(self, reply: Reply) -> BrokerError:
        """Count a message that Redis did not deliver to anybody, and return what has become of it."""
        failure = self._failure(reply)
        self.refused[failure.reason.counted_as] += 1
        return failure

    def _failure(self, reply: Reply) -> BrokerError:
        """Return what has become of a message that Redis did not deliver to anybody."""
        if isinstance(reply, BrokerRefused) and reply.is_temporary:
            return BrokerBusy(f"Redis takes nothing now: {reply}")
        if isinstance(reply, BrokerError):
            return reply
        if self._connection is not None:
            self._connection.drop("deaf", "Redis delivered a message of ours to nobody")
        return BrokerLost("Redis delivered the message to nobody, not even to us")

    def _count_announcement(self, _done: Done, reply: Reply) -> None:
        if isinstance(reply, BrokerError):
            self.refused["announcement"] += 1
        else:
            self.published += 1


def _ignore(reply: Reply) -> None:
    """Take the answer to a message whose sender does not wait."""
