"""Copies of the journal from one process to another, by way of keys in Redis.

    asker                                  holder
      ├── want: after number n ──────────────►│     to all, on the reserved channel
      │◄────────────── offer: I have that ────┤
      ├── take ──────────────────────────────►│     to one
      │                              SET key chunk EX 10, a few at a time
      │◄───────────────────── sent: k chunks ─┤
    GETDEL key, a few at a time

Rules:

1. A process writes one copy at a time, and answers a bounded number of questions a second.
2. What came is not trusted: it is bounded in bytes here, and parsed by chunks.py before it is used.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from time import perf_counter

from mux.broker.parcels import KEY_SECONDS, Parcels
from mux.journal.journal import Journal
from mux.recovery.chunks import Chunk, chunks_of
from mux.recovery.order import Order
from mux.recovery.talk import CopyTalk

OFFER_SECONDS = 0.5
"""Seconds that a process waits for an offer."""

QUESTIONS_PER_SECOND = 50
"""Most questions about copies that are answered."""

MAX_CHUNKS = 100_000
"""Most chunks of a copy that are believed in."""

MAX_COPY_BYTES = 256 * 1024 * 1024
"""Most bytes of a copy that are fetched, if the own journal is not larger than that."""

logger = logging.getLogger("mux.recovery")


class Copies:
    """Gives copies of the journal to other processes, and gets one from them.

    Args:
        journal: what is copied.
        order: says which numbers messages have.
        say: publishes to all of them.
        parcels: carry the copies.
    """

    def __init__(self, journal: Journal, order: Order, *, say: Callable[[CopyTalk], None], parcels: Parcels) -> None:
        self._journal = journal
        self._order = order
        self.process = ""
        """The name by which other processes address this one."""
        self._say = say
        self._parcels = parcels
        self._waiting: dict[tuple[str, str], asyncio.Future[CopyTalk]] = {}
        self._writing: asyncio.Task[None] | None = None
        self._second, self._questions = 0.0, 0
        self.given = 0
        """The number of copies that were given to other processes."""

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
        if self._parcels.is_forbidden:
            return None
        epoch, server = self._order.epoch, self._order.server
        name = await self._parcels.draw()
        if name is None:
            return None
        wanted = -1 if after is None else after
        offer = await self._ask("offer", CopyTalk("want", name, server, epoch, wanted, self.process), OFFER_SECONDS)
        if offer is None:
            return None
        sent = await self._ask("sent", CopyTalk("take", name, server, epoch, wanted, offer.process), KEY_SECONDS / 2)
        if sent is None or not 0 <= sent.number <= MAX_CHUNKS:
            return None
        chunks: list[Chunk] = []
        now = perf_counter()
        max_bytes = max(MAX_COPY_BYTES, self._journal.max_bytes)
        async for piece in self._parcels.take(name, sent.number, max_bytes):
            chunk = None if piece is None else Chunk.unpack(piece, now)
            if chunk is None:
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
        if not order.is_placed or talk.epoch != order.epoch or self._parcels.is_forbidden or self._writing is not None:
            return
        kept_after = journal.kept_after + order.base
        if talk.number in range(kept_after, journal.last + order.base) or (talk.number < 0 and journal.size):
            offer = CopyTalk("offer", talk.copy, talk.server, talk.epoch, max(0, kept_after), self.process)
            self._say(offer)

    async def _write(self, talk: CopyTalk) -> None:
        """Write a copy to Redis, and say how much of it there is."""
        order, base = self._order, self._order.base
        written: int | None = None
        if order.epoch == talk.epoch:
            now = perf_counter()
            chunks = chunks_of(self._journal, base, talk.number)
            written = await self._parcels.leave(talk.copy, (chunk.pack(now) for chunk in chunks))
        self.given += written is not None
        count = -1 if written is None else written
        self._say(CopyTalk("sent", talk.copy, talk.server, talk.epoch, count, self.process))

    def _has_written(self, task: asyncio.Task[None]) -> None:
        self._writing = None
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a copy of the journal could not be written", exc_info=error)
