"""Copies of the journal from one process to another, by way of keys in Redis.

    asker                                  holder
      ├── want: after number n ──────────────►│     to all, on the reserved channel
      │◄────────────── offer: I have that ────┤
      ├── take ──────────────────────────────►│     to one
      │                              SET key chunk EX 10, a few at a time
      │◄───────────────────── sent: k chunks ─┤
    GETDEL key, a few at a time

Through the reserved channel every process would hear every copy, and one of 32 MiB would soon fill the output buffers
of Redis. A key is read by the one process that wants it. Both commands go over the connection that each process has.

A user of Redis without the right to these two commands, or to these keys, has no copies. It is said once.

Rules:

1. A process writes one copy at a time, and answers a bounded number of questions a second.
2. What came is not trusted: it is bounded in bytes here, and parsed by chunks.py before it is used.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from random import Random
from time import perf_counter
from typing import Protocol

from mux.errors import BrokerError
from mux.journal.journal import Journal
from mux.recovery.chunks import Chunk, chunks_of
from mux.recovery.order import Order
from mux.recovery.talk import CopyTalk
from mux.wire.resp import Reply

KEY_SECONDS = 10
"""Redis forgets a chunk that nobody has taken after so long."""

AT_ONCE = 4
"""Chunks that are on their way at once: a megabyte is far below the 8 MB that Redis lets wait for a subscriber."""

OFFER_SECONDS = 0.5
"""Time that a process waits for an offer."""

QUESTIONS_PER_SECOND = 50
"""Most questions about copies that are answered."""

MAX_CHUNKS = 100_000
"""Most chunks of a copy that are believed in."""

MAX_COPY_BYTES = 256 * 1024 * 1024
"""Most bytes of a copy that are fetched, if the own journal is not larger than that."""

logger = logging.getLogger("mux.recovery")


class Commands(Protocol):
    """Sends a command to Redis on the connection that is there; the done function gets the reply, or a BrokerError."""

    def __call__(self, *words: bytes, done: Callable[[Reply], None]) -> None: ...


class Copies:
    """Gives copies of the journal to other processes, and gets one from them.

    Args:
        journal: what is copied.
        order: says which numbers messages have.
        say: publishes to all of them.
        command: sends a command to Redis.
        prefix: what the keys start with.
    """

    def __init__(
        self,
        journal: Journal,
        order: Order,
        *,
        say: Callable[[CopyTalk], None],
        command: Commands,
        prefix: bytes,
    ) -> None:
        self._journal = journal
        self._order = order
        self.process = ""
        """The name by which other processes address this one."""
        self._say = say
        self._command = command
        self._prefix = prefix
        self._dice = Random()  # noqa: S311 - nothing is kept secret by it
        self._waiting: dict[tuple[str, str], asyncio.Future[CopyTalk]] = {}
        self._writing: asyncio.Task[None] | None = None
        self._second, self._questions = 0.0, 0
        self.given = 0
        """The number of copies that were given to other processes."""
        self.is_forbidden = False
        """True when Redis has refused the commands to this user."""

    def heard(self, talk: CopyTalk) -> None:
        """Take in what a process said about a copy."""
        if talk.server != self._order.server:
            return
        if talk.kind in ("offer", "sent"):
            waiting = self._waiting.get((talk.kind, talk.copy))
            if waiting is not None and not waiting.done():
                waiting.set_result(talk)
        elif self._may_answer():
            if talk.kind == "want":
                if talk.process != self.process:
                    self._offer(talk)
            elif talk.process == self.process and self._writing is None:
                self._writing = asyncio.create_task(self._write(talk), name="mux-copy")
                self._writing.add_done_callback(self._has_written)

    async def aclose(self) -> None:
        """End what is being written."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)

    async def fetch(self, after: int | None) -> tuple[int, list[Chunk]] | None:
        """Return the number after which another process has all messages, and a copy of it; None when nobody has it.

        Args:
            after: the number after which all messages are wanted; with None, as many as there are.
        """
        if self.is_forbidden:
            return None
        epoch, server = self._order.epoch, self._order.server
        name = f"{self._dice.getrandbits(64):016x}"
        wanted = -1 if after is None else after
        offer = await self._ask("offer", CopyTalk("want", name, server, epoch, wanted, self.process), OFFER_SECONDS)
        if offer is None:
            return None
        sent = await self._ask("sent", CopyTalk("take", name, server, epoch, wanted, offer.process), KEY_SECONDS / 2)
        if sent is None or not 0 <= sent.number <= MAX_CHUNKS:
            return None
        keys = [self._key(name, number) for number in range(sent.number)]
        chunks: list[Chunk] = []
        now = perf_counter()
        size = 0
        async for reply in self._pipelined((b"GETDEL", key) for key in keys):
            size += len(reply) if isinstance(reply, bytes) else 0
            if size > max(MAX_COPY_BYTES, self._journal.max_bytes):
                return None
            chunk = Chunk.unpack(reply, now) if isinstance(reply, bytes) else None
            if chunk is None:
                self._note_refusal(reply)
                return None
            chunks.append(chunk)
        return offer.number, chunks

    async def _ask(self, answer: str, question: CopyTalk, seconds: float) -> CopyTalk | None:
        key = (answer, question.copy)
        waiting: asyncio.Future[CopyTalk] = asyncio.get_running_loop().create_future()
        self._waiting[key] = waiting
        self._say(question)
        try:
            async with asyncio.timeout(seconds):
                return await waiting
        except TimeoutError:
            return None
        finally:
            del self._waiting[key]

    def _may_answer(self) -> bool:
        now = asyncio.get_running_loop().time()
        if now - self._second >= 1:
            self._second, self._questions = now, 0
        self._questions += 1
        return self._questions <= QUESTIONS_PER_SECOND

    def _offer(self, talk: CopyTalk) -> None:
        order, journal = self._order, self._journal
        if not order.is_placed or talk.epoch != order.epoch or self.is_forbidden or self._writing is not None:
            return
        kept_after = journal.kept_after + order.base
        if talk.number in range(kept_after, journal.last + order.base) or (talk.number < 0 and journal.size):
            offer = CopyTalk("offer", talk.copy, talk.server, talk.epoch, max(0, kept_after), self.process)
            self._say(offer)

    async def _write(self, talk: CopyTalk) -> None:
        """Write a copy to Redis, and say how much of it there is."""
        order, base = self._order, self._order.base
        written = -1
        if order.epoch == talk.epoch:
            count = 0
            now = perf_counter()
            chunks = chunks_of(self._journal, base, talk.number)
            commands = (
                (b"SET", self._key(talk.copy, number), chunk.pack(now), b"EX", b"%d" % KEY_SECONDS)
                for number, chunk in enumerate(chunks)
            )
            async for reply in self._pipelined(commands):
                if reply != b"OK":
                    self._note_refusal(reply)
                    break
                count += 1
            else:
                written = count
        self.given += written >= 0
        self._say(CopyTalk("sent", talk.copy, talk.server, talk.epoch, written, self.process))

    def _has_written(self, task: asyncio.Task[None]) -> None:
        self._writing = None
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a copy of the journal could not be written", exc_info=error)

    async def _pipelined(self, commands: Iterable[tuple[bytes, ...]]) -> AsyncIterator[Reply]:
        """Send commands, a few at a time, and return their replies in order; one command in a turn of the loop."""
        loop = asyncio.get_running_loop()
        replies: list[asyncio.Future[Reply]] = []
        for words in commands:
            reply: asyncio.Future[Reply] = loop.create_future()
            self._command(*words, done=_into(reply))
            replies.append(reply)
            await asyncio.sleep(0)
            if len(replies) == AT_ONCE:
                yield await replies.pop(0)
        for reply in replies:
            yield await reply

    def _note_refusal(self, reply: Reply) -> None:
        said = str(reply)
        if not isinstance(reply, BrokerError) or self.is_forbidden:
            return
        if said.startswith("NOPERM"):
            self.is_forbidden = True
            logger.warning(
                "Redis does not let this user copy the journal to other processes: %s; grant it +set +getdel and ~%s*",
                reply,
                self._prefix.decode(),
            )
        elif said.startswith("ERR unknown command"):
            self.is_forbidden = True
            logger.warning(
                "this Redis has no GETDEL, so the journal is not copied between processes; 6.2 and later have it"
            )

    def _key(self, copy: str, number: int) -> bytes:
        return b"%b%b:%d" % (self._prefix, copy.encode(), number)


def _into(reply: asyncio.Future[Reply]) -> Callable[[Reply], None]:
    return lambda value: None if reply.done() else reply.set_result(value)
