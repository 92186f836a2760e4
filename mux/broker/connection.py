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
4. The publishes of one turn of the loop leave in one write.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from functools import partial
from time import time
from typing import cast

from mux.broker.address import Address
from mux.broker.answer import Done, settle
from mux.broker.dial import DIAL_ERRORS, dial
from mux.broker.hello import buffer_kills, check_hello
from mux.broker.loss import Loss, reason_of, reason_of_garbage
from mux.broker.refusal import DEAF, SILENT, SILENT_IN_TLS, UNREACHED, closed_too_soon, command_refused, hello_refused
from mux.errors import BrokerError, BrokerGarbled, BrokerLost, BrokerRefused, BrokerUnavailable
from mux.version import __version__
from mux.wire.resp import Announcement, Push, Reply, RespReader, encode_command, encode_publish

MAX_UNANSWERED = 1000
"""So many commands are on their way to Redis at once. With more, publishers are told to wait; with half of it they
may go on. Redis takes commands faster than it sends what they cause, and closes subscribers whose output buffer
overflows: a push to its own publisher takes 16 KiB there from 7.2 on, so that 32 MB are 2,000 publishes."""


class Connection(asyncio.Protocol):
    """A connection to one server; made by open(), and of no use once lost is done.

    Args:
        on_messages: takes every batch of messages, synchronously; may raise BrokerGarbled, and nothing else.
        on_writable: called when publishers that were told to wait may go on.
    """

    def __init__(self, on_messages: Callable[[list[Push]], None], on_writable: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[Loss] = loop.create_future()
        """Done when the connection has ended."""
        self.heard = 0
        """Messages that came."""
        self.good_at = 0.0
        """Everything published before this moment, in seconds of Unix time, has come. Replies and messages share
        one order: when the answer to a command is here, so is all that Redis had for us when it got the command.
        The moment bytes are read says nothing, for they may have waited in the socket."""
        self.client_id = 0
        """What Redis calls this connection; it counts them."""
        self.buffer_kills: int | None = None
        """How many clients Redis had closed over their output buffers when we came; None if it does not say."""
        self.is_writable = True
        """False while Redis does not keep up with what is published: stop reading from publishers."""
        self._loop = loop
        self._on_messages = on_messages
        self._on_writable = on_writable
        self._reader = RespReader()
        self._transport: asyncio.Transport
        self._unanswered: deque[Done] = deque()
        self._is_full = False
        self._unsent: list[bytes] = []
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
        on_messages: Callable[[list[Push]], None],
        on_writable: Callable[[], None],
    ) -> Connection:
        """Connect, introduce ourselves, subscribe, and hear ourselves.

        Raises:
            BrokerUnavailable: there is nobody at the address.
            BrokerBusy: there is, but it takes nothing now.
            BrokerRefused: there is, but not for us; the message says what to do.
        """
        connection = cls(on_messages, on_writable)
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

    def publish(self, redis_channel: bytes, payload: bytes, done: Done) -> None:
        """Send a PUBLISH with the next write; done gets the number of subscribed connections or an error."""
        if self.lost.done():
            done(BrokerLost("the connection to Redis was lost"))
            return
        self._send(encode_publish(redis_channel, payload), done)
        if len(self._unanswered) > MAX_UNANSWERED:
            self.is_writable = False

    async def aclose(self) -> None:
        """Send what is unsent, wait for what is unanswered, and close. Waits for Redis, so bound it."""
        if not self.lost.done() and self._unanswered:
            answered: asyncio.Future[Reply] = self._loop.create_future()
            self._send(encode_command(b"PING"), settle(answered))
            await answered
        self.abort()

    def abort(self) -> None:
        """Close at once."""
        self.drop("shut", "the connection was closed")

    def drop(self, cause: str, reason: str) -> None:
        """Close at once, for a reason of ours."""
        transport = getattr(self, "_transport", None)
        if transport is not None and not transport.is_closing():
            self._loss = Loss(cause, reason)
            transport.abort()
        self._subscribed.cancel()

    def ask_role(self, done: Done) -> None:
        """Send a HELLO; done gets the reply, for is_useful()."""
        if not self.lost.done():
            self._send(encode_command(b"HELLO", b"3"), done)

    async def _connect(self, address: Address) -> None:
        try:
            await dial(address, lambda: self, on_reached=partial(self._await, SILENT_IN_TLS))
        except DIAL_ERRORS as error:
            # Not chained: the error has the address in words of the system's, and nothing else.
            raise BrokerUnavailable(f"cannot reach Redis at {address}: {reason_of(error)}") from None

    def _await(self, silence: str) -> None:
        """Note what is waited for now, in the words that are used when it does not come."""
        self._silence = silence

    async def _introduce(self, address: Address, client_name: bytes) -> None:
        self._await(SILENT)
        words = [b"HELLO", b"3"]
        if address.password is not None:
            words += [b"AUTH", (address.username or "default").encode(), address.password.encode()]
        hello = await self._command(*words, b"SETNAME", client_name)
        if isinstance(hello, BrokerRefused):
            raise hello_refused(hello, address)
        check_hello(hello, address)
        assert isinstance(hello, dict)
        self.client_id = int(cast("int", hello.get(b"id", 0)))
        # An error below Redis 7.2, which does not know the command; then it is ignored.
        await self._command(b"CLIENT", b"SETINFO", b"LIB-NAME", b"mux")
        await self._command(b"CLIENT", b"SETINFO", b"LIB-VER", __version__.encode())
        # An error for a user without the right to it; then a cause of losses stays unknown.
        self.buffer_kills = buffer_kills(await self._command(b"INFO", b"stats"))

    async def _subscribe(self, address: Address, pattern: bytes) -> None:
        self._transport.write(encode_command(b"PSUBSCRIBE", pattern))
        try:
            await self._subscribed
        except BrokerRefused as error:
            refused = command_refused("PSUBSCRIBE", error, address, pattern)
        else:
            return
        raise refused

    async def _hear(self, address: Address, pattern: bytes, probe_channel: bytes) -> None:
        """Publish to a channel of ours and hear it: only then does everything work."""
        heard: asyncio.Future[None] = self._loop.create_future()
        pass_on = self._on_messages

        def hear(messages: list[Push]) -> None:
            self._on_messages = pass_on
            heard.set_result(None)
            pass_on(messages)

        self._on_messages = hear
        sent_at = time()
        answer = await self._command(b"PUBLISH", probe_channel, b"")
        if isinstance(answer, BrokerRefused):
            raise command_refused("PUBLISH", answer, address, pattern)
        self._await(DEAF)
        lost = asyncio.shield(self.lost)
        await asyncio.wait((heard, lost), return_when=asyncio.FIRST_COMPLETED)
        lost.cancel()
        if not heard.done():
            raise BrokerUnavailable(f"the connection to Redis was lost: {self._loss.reason}")
        self.good_at = sent_at

    async def _command(self, *words: bytes) -> Reply:
        reply: asyncio.Future[Reply] = self._loop.create_future()
        self._send(encode_command(*words), settle(reply))
        answer = await reply
        if isinstance(answer, BrokerError) and not isinstance(answer, BrokerRefused):
            raise answer
        return answer

    def _send(self, command: bytes, done: Done) -> None:
        self._unanswered.append(done)
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(command)

    def _flush(self) -> None:
        room = MAX_UNANSWERED - (len(self._unanswered) - len(self._unsent))
        if room <= 0 or not self._unsent or self.lost.done():
            return
        commands, self._unsent = self._unsent[:room], self._unsent[room:]
        self._transport.write(b"".join(commands))

    def _answer(self, reply: Reply) -> None:
        if isinstance(reply, Announcement):
            if reply[0] == b"psubscribe" and not self._subscribed.done():
                self._subscribed.set_result(None)
        elif self._unanswered:
            self._unanswered.popleft()(reply)
            if not self.is_writable:
                self._go_on()
        elif isinstance(reply, BrokerRefused) and not self._subscribed.done():
            self._subscribed.set_exception(reply)

    # What follows is called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has the methods, not the class
        raw = transport.get_extra_info("socket")
        if raw is not None and raw.family != socket.AF_UNIX:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def data_received(self, data: bytes) -> None:
        try:
            messages, others = self._reader.feed(data)
            for reply in others:
                self._answer(reply)
            if self._unsent:
                self._flush()
            if messages:
                self.heard += len(messages)
                self._on_messages(messages)
        except BrokerGarbled as error:
            self.drop("garbled", reason_of_garbage(error, data))

    def pause_writing(self) -> None:
        self._is_full = True
        self.is_writable = False

    def resume_writing(self) -> None:
        self._is_full = False
        self._go_on()

    def _go_on(self) -> None:
        if not self._is_full and len(self._unanswered) < MAX_UNANSWERED // 2:
            self.is_writable = True
            self._on_writable()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self._loss = Loss("error", reason_of(exc))
        reason = self._loss.reason
        self.lost.set_result(self._loss)
        self.is_writable = True
        lost = BrokerLost(f"the connection to Redis was lost before it answered: {reason}")
        if not self._subscribed.done():
            self._subscribed.set_exception(BrokerUnavailable(f"the connection to Redis was lost: {reason}"))
            self._subscribed.exception()
        while self._unanswered:
            self._unanswered.popleft()(lost)
        self._on_writable()
