"""One RESP3 connection that is subscribed and publishes.

A subscribed RESP2 connection may only subscribe, which is why Redis clients open a second one for
PUBLISH. With RESP3 messages come as pushes, apart from replies, and everything shares one socket.

Rules:

1. Replies come in the order of their commands; messages may stand anywhere between them. A push for
   our own PUBLISH comes before its reply below Redis 7.2 and after it since, so a reply says nothing
   about messages.
2. PSUBSCRIBE answers with a push when it works and with an error reply when it does not. So an error
   that no command waits for is PSUBSCRIBE's.
3. Every command is answered exactly once, by Redis or by BrokerLost.
4. What is on its way to Redis is bounded in number and bytes. Publishes wait in a Holding for their turn; commands
   of our own are few and do not wait.
5. An unasked push about the subscription, or an unasked reply, ends the connection: the subscription has changed, or
   answers do not belong to their commands any more.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from typing import TypeAlias, cast

from mux.broker.address import Address
from mux.broker.dial import DIAL_ERRORS, dial
from mux.broker.gap import Moment
from mux.broker.holding import Command, Done, pass_on, resolve_with_reply
from mux.broker.loss import Loss, reason_of, reason_of_garbage
from mux.broker.refusal import (
    DEAF,
    SILENT,
    SILENT_IN_TLS,
    UNREACHED,
    check_hello,
    closed_too_soon,
    command_refused,
    connection_id,
    is_cluster,
)
from mux.broker.standing import Record
from mux.errors import BrokerError, BrokerGarbled, BrokerLost, BrokerRefused, BrokerUnavailable
from mux.version import __version__
from mux.wire.resp import Announcement, Push, Reply, RespReader, encode_command

MAX_UNANSWERED = 1000
"""Most commands that are on their way to Redis at once. Redis takes commands faster than it sends what they cause, and
closes subscribers whose output buffer overflows: a push to its own publisher takes 16 KiB there from 7.2 on, so that
32 MB are 2,000 publishes."""

MAX_UNANSWERED_BYTES = 2 * 1024 * 1024
"""Most bytes of the commands that are on their way to Redis, unless it is one command. As many come back as pushes, to
every process of a fleet; Redis allows an output buffer 32 MB at once and 8 MB for a minute."""

OnRead: TypeAlias = Callable[[bytes, list[Push], bool], object]
"""Takes the bytes of one read, the messages they completed, and whether a message or reply is known to have ended where
they end; returns whether that is to be known of the next read."""


class Connection(asyncio.Protocol):
    """A connection to one server; made by open(), and of no use once lost is done.

    Args:
        on_read: takes every read, synchronously; may raise BrokerGarbled, and nothing else.
        on_writable: called whenever the capacity may have changed, and when the connection is lost.
    """

    def __init__(self, on_read: OnRead, on_writable: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[Loss] = loop.create_future()
        """Done when the connection has ended."""
        self.heard = 0
        """Messages that came."""
        self.good_at = Moment.now()
        """The first moment from which everything that this server has is known to come."""
        self.client_id = 0
        """The number that Redis gave this connection."""
        self.is_clustered = False
        """True when the server is one of a cluster's nodes."""
        self.record = Record(None, self.good_at)
        """The answers of the server to INFO."""
        self._loop = loop
        self._on_read = on_read
        self._tells_end = False
        self._on_writable = on_writable
        self._reader = RespReader()
        self._transport: asyncio.Transport
        self._unanswered: deque[Command] = deque()
        self._unanswered_bytes = 0
        self._is_full = False
        self._subscribed: asyncio.Future[None] = loop.create_future()
        self._loss = Loss("closed", "the connection was closed by Redis")
        self._silence = UNREACHED

    @classmethod
    async def open(
        cls,
        address: Address,
        pattern: bytes,
        *,
        probe_channel: bytes,
        client_name: bytes,
        on_read: OnRead,
        on_writable: Callable[[], None],
    ) -> Connection:
        """Connect, introduce ourselves, subscribe, and hear ourselves.

        Raises:
            BrokerUnavailable: no Redis is at the address.
            BrokerBusy: a Redis is there, and takes nothing now.
            BrokerRefused: a Redis is there, and not for us; the message says what to do.
        """
        connection = cls(on_read, on_writable)
        try:
            async with asyncio.timeout(address.connect_seconds - address.spent_seconds):
                await connection._connect(address)
                await connection._introduce(address, client_name)
                await connection._subscribe(address, pattern)
                await connection._hear(address, pattern, probe_channel)
        except TimeoutError:
            connection.abort()
            silence = f"Redis at {address} {connection._silence.format(seconds=address.connect_seconds)}"
            raise BrokerUnavailable(silence) from None
        except BrokerLost:
            raise BrokerUnavailable(closed_too_soon(connection._loss, address)) from None
        except BaseException:
            connection.abort()
            raise
        return connection

    @property
    def is_usable(self) -> bool:
        """False when the connection has ended, or will as soon as the event loop says so."""
        return not self.lost.done() and not self._transport.is_closing()

    @property
    def capacity(self) -> tuple[int, int]:
        """The commands, and the bytes, that may be sent now beside those on their way to Redis."""
        if self._is_full or not self.is_usable:
            return 0, 0
        return MAX_UNANSWERED - len(self._unanswered), MAX_UNANSWERED_BYTES - self._unanswered_bytes

    def send(self, commands: list[Command]) -> None:
        """Send commands in one write; the caller keeps to the capacity."""
        if commands:
            data = b"".join([command[0] for command in commands])
            self._unanswered.extend(commands)
            self._unanswered_bytes += len(data)
            self._transport.write(data)

    async def aclose(self) -> None:
        """Wait for what is unanswered, and close. Waits for Redis, so bound it."""
        if not self.lost.done() and self._unanswered:
            answered: asyncio.Future[Reply] = self._loop.create_future()
            self._send(encode_command(b"PING"), resolve_with_reply(answered))
            await answered
        self.abort()

    def abort(self) -> None:
        """Close at once."""
        self.drop("shut", "the connection was closed")

    def drop(self, cause: str, reason: str) -> None:
        """Close at once, for a cause and reason that this process has found."""
        transport = getattr(self, "_transport", None)
        if transport is not None and not transport.is_closing():
            self._loss = Loss(cause, reason)
            transport.abort()

    def pause_reading(self, is_paused: bool) -> None:
        """Read no more, or go on; may be repeated."""
        transport = self._transport
        if not transport.is_closing() and transport.is_reading() == is_paused:
            (transport.pause_reading if is_paused else transport.resume_reading)()

    def ask(self, *words: bytes, done: Done) -> None:
        """Send a command at once; done gets the reply, or a BrokerError."""
        if self.lost.done():
            done(BrokerLost(f"the connection to Redis was lost: {self._loss.reason}"))
        else:
            self._send(encode_command(*words), done)

    async def _connect(self, address: Address) -> None:
        def reached() -> None:
            self._silence = SILENT_IN_TLS

        try:
            await dial(address, lambda: self, on_reached=reached)
        except DIAL_ERRORS as error:
            # Not chained: the error has the address in words of the system's, and nothing else.
            raise BrokerUnavailable(f"cannot reach Redis at {address}: {reason_of(error)}") from None

    async def _introduce(self, address: Address, client_name: bytes) -> None:
        self._silence = SILENT
        words = [b"HELLO", b"3"]
        if address.password is not None:
            words += [b"AUTH", (address.username or "default").encode(), address.password.encode()]
        hello = await self._command(*words, b"SETNAME", client_name)
        check_hello(hello, address)
        self.client_id = connection_id(hello)
        self.is_clustered = is_cluster(hello)
        # An error below Redis 7.2, which does not know the command; then it is ignored.
        await self._command(b"CLIENT", b"SETINFO", b"LIB-NAME", b"mux")
        await self._command(b"CLIENT", b"SETINFO", b"LIB-VER", __version__.encode())
        # An error for a user without the right to it; then a cause of losses stays unknown.
        self.record = Record(await self._command(b"INFO"), Moment.now())

    async def _subscribe(self, address: Address, pattern: bytes) -> None:
        self._write(encode_command(b"PSUBSCRIBE", pattern))
        try:
            await self._subscribed
        except BrokerRefused as error:
            raise command_refused("PSUBSCRIBE", error, address, pattern) from None

    async def _hear(self, address: Address, pattern: bytes, probe_channel: bytes) -> None:
        """Publish to a channel of ours and hear it: only then does everything work."""
        heard: asyncio.Future[None] = self._loop.create_future()
        on_read = self._on_read

        def hear(read: bytes, messages: list[Push], is_whole: bool) -> object:
            if messages:
                self._on_read = on_read
                heard.set_result(None)
            return on_read(read, messages, is_whole)

        self._on_read = hear
        sent_at = Moment.now()
        answer = await self._command(b"PUBLISH", probe_channel, b"")
        if isinstance(answer, BrokerRefused):
            raise command_refused("PUBLISH", answer, address, pattern)
        self._silence = DEAF
        await asyncio.wait((heard, self.lost), return_when=asyncio.FIRST_COMPLETED)
        if not heard.done():
            raise BrokerUnavailable(f"the connection to Redis was lost: {self._loss.reason}")
        self.good_at = sent_at

    async def _command(self, *words: bytes) -> Reply:
        answered: asyncio.Future[Reply] = self._loop.create_future()
        self.ask(*words, done=resolve_with_reply(answered))
        answer = await answered
        if isinstance(answer, BrokerError) and not isinstance(answer, BrokerRefused):
            raise answer
        return answer

    def _send(self, command: bytes, done: Done) -> None:
        self._unanswered.append((command, pass_on, done, 0.0, False))
        self._unanswered_bytes += len(command)
        self._write(command)

    def _write(self, data: bytes) -> None:
        if self.is_usable:  # uvloop raises for a closed handle
            self._transport.write(data)

    def _answer(self, reply: Reply) -> None:
        if isinstance(reply, Announcement):
            self._announced(reply[0])
        elif self._unanswered:
            command, answered, sender, _, _ = self._unanswered.popleft()
            self._unanswered_bytes -= len(command)
            answered(sender, reply)
        elif isinstance(reply, BrokerRefused) and not self._subscribed.done():
            self._subscribed.set_exception(reply)
        else:
            raise BrokerGarbled("a reply that nothing was asked for")

    def _announced(self, what: object) -> None:
        if what == b"psubscribe" and not self._subscribed.done():
            self._subscribed.set_result(None)
        elif what in (b"psubscribe", b"punsubscribe"):
            # Something between us and Redis, or Redis itself, has changed what we hear.
            self.drop("deaf", "the subscription was changed at the other end")

    # What follows is called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has the methods, not the class
        raw = transport.get_extra_info("socket")
        if raw is not None and raw.family != socket.AF_UNIX:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def data_received(self, data: bytes) -> None:
        heard = self.heard
        try:
            messages, others = self._reader.feed(data, tells_end=self._tells_end)
            # Before the answers, so that they know which messages they prove nothing of.
            self.heard += len(messages)
            unanswered = self._unanswered
            for reply in others:
                if type(reply) is int and unanswered:  # a published message, nearly always
                    command, answered, sender, _, _ = unanswered.popleft()
                    self._unanswered_bytes -= len(command)
                    answered(sender, reply)
                else:
                    self._answer(reply)
            self._tells_end = bool(self._on_read(data, messages, self._reader.is_whole))
        except BrokerGarbled as error:
            self.heard = heard
            self.drop("garbled", reason_of_garbage(error, data))
        else:
            if others:
                self._on_writable()

    def pause_writing(self) -> None:
        self._is_full = True
        self._on_writable()

    def resume_writing(self) -> None:
        self._is_full = False
        self._on_writable()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self._loss = Loss("error", reason_of(exc))
        reason = self._loss.reason
        self.lost.set_result(self._loss)
        lost = BrokerLost(f"the connection to Redis was lost before it answered: {reason}")
        if not self._subscribed.done():
            self._subscribed.set_exception(lost)
            self._subscribed.exception()
        while self._unanswered:
            _, answered, sender, _, _ = self._unanswered.popleft()
            answered(sender, lost)
        self._on_writable()
