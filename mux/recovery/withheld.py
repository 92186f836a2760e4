"""Withhold the reads of a new connection until it is known what was missed before them, and then deliver all in order.

    last read of the connection before │ hole │ read │ read │ hole │ read …
                                         ▲ filled from another process, or told as a gap

A hole is a place where messages may be missing: there is one for each lost connection. The last hole may be open; all
before it are resolved, and what stands behind them is being delivered.

Rules:

1. What was missed is delivered before what came since.
2. What is withheld is bounded in bytes, and delivered in slices that do not hold the event loop.
3. The talk between processes is heard at once, withheld or not: it is what ends the waiting.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

from mux.broker.gap import Gap
from mux.hub.router import Router
from mux.intake import BatchIntake
from mux.journal.journal import Journal
from mux.wire.resp import Push, encode_push

MAX_WITHHELD_BYTES = 16 * 1024 * 1024
"""Most bytes that are withheld; when more come, a gap is told."""

SLICE_SECONDS = 0.003
"""Most seconds in one turn of the loop in which withheld messages are delivered."""

HEALED_TOGETHER = 100
"""Most messages from a copy that are delivered as one batch."""


class Read(NamedTuple):
    """A read, the messages it completed, and whether a message is known to end where it ended."""

    data: bytes
    messages: list[Push]
    is_whole: bool


class Hole:
    """A place among what is withheld where messages may be missing."""

    __slots__ = ("gap", "is_cut", "is_resolved", "messages", "missed")

    def __init__(self) -> None:
        self.gap: Gap | None = None
        """The gap that is told if they are missing; None until there is a connection again."""
        self.is_cut = self.is_resolved = False
        self.missed: int | None = None
        """The number of missing messages; None while nobody knows."""
        self.messages: list[Push] = []
        """The missing messages that another process had."""


class Withheld:
    """The messages that one process withholds until earlier ones have come.

    Args:
        intake: delivers, and gives reads to this object while a hole is open or not all is delivered.
        journal: counts what is delivered, and is told where messages are missing.
        router: its listeners hear the talk between processes.
        on_full: called when more waits behind an open hole than may; it resolves the hole.
        on_skip: called when messages are missing for good after those that were delivered.
    """

    def __init__(
        self,
        intake: BatchIntake,
        journal: Journal,
        router: Router,
        *,
        on_full: Callable[[], None],
        on_skip: Callable[[], None],
    ) -> None:
        self._intake = intake
        self._journal = journal
        self._router = router
        self._on_full = on_full
        self._on_skip = on_skip
        self._queue: deque[Read | Hole] = deque()
        self._releasing: asyncio.Handle | None = None
        self._count = self._size = 0
        self.hole: Hole | None = None
        """The hole that is open; None when there is none."""
        self.shift = 0
        """The number of messages before the hole that are not in the numbers of this batch yet."""

    def open(self) -> None:
        """Take note that the connection is lost: whatever comes from now on stands behind a hole."""
        if self.hole is not None:
            self._forget_since(self.hole)
            return
        self.hole = Hole()
        if self._intake.withhold is None:
            self._count = self._journal.last
            self._intake.withhold = self.take
        self._queue.append(self.hole)

    def _forget_since(self, hole: Hole) -> None:
        """Drop what came since an open hole: whoever has what is missing has that, too, and it is one hole."""
        while (last := self._queue.pop()) is not hole:
            assert isinstance(last, Read), "an open hole is the last one"
            self._count -= len(last.messages)
            self._size -= len(last.data)
        self._count -= hole.missed or 0
        hole.missed = None
        self._queue.append(hole)

    def take(self, read: bytes, messages: list[Push], is_whole: bool) -> None:
        """Withhold a read, as BatchIntake.withhold."""
        self._router.take_own(messages, self._count + 1)
        self._count += len(messages) + self.shift
        self.shift = 0  # from now on it is in the count
        self._queue.append(Read(read, messages, is_whole))
        self._size += len(read)
        if self.hole is not None and self._size > MAX_WITHHELD_BYTES:
            self._on_full()

    def found_missing(self, missed: int) -> int:
        """Take note of how many messages are missing in the open hole.

        Returns:
            The number that the last message before it has in the journal, or will have.
        """
        assert self.hole is not None, "there is a hole"
        self.shift = self.hole.missed = missed
        count = self._journal.last
        for entry in self._queue:
            if entry is self.hole:
                break
            count += len(entry.messages) if isinstance(entry, Read) else entry.missed or 0
        return count

    def resolve(self, missed: int | None, messages: list[Push]) -> None:
        """Let what is withheld go on.

        Args:
            missed: how many messages are missing in the open hole; None when nobody knows.
            messages: those of them that another process had, which are all or none.
        """
        assert self.hole is not None, "there is a hole"
        hole, self.hole = self.hole, None
        hole.is_resolved, hole.missed, hole.messages = True, missed, messages
        if self._releasing is None:
            self._releasing = asyncio.get_running_loop().call_soon(self._release)

    def close(self) -> None:
        """Deliver nothing any more."""
        if self._releasing is not None:
            self._releasing.cancel()

    def _release(self) -> None:
        """Deliver what was withheld, as far as it is time, and all that is known to be whole before it."""
        self._releasing = None
        until = monotonic() + SLICE_SECONDS
        while self._queue:
            first = self._queue[0]
            if isinstance(first, Hole):
                if not first.is_resolved:
                    return
                self._fill(first)
                if not first.messages:
                    self._queue.popleft()
            else:
                self._queue.popleft()
                self._size -= len(first.data)
                self._intake.deliver(*first, is_own_taken=True)
            if monotonic() > until:
                self._releasing = asyncio.get_running_loop().call_soon(self._release)
                return
        self._intake.withhold = None

    def _fill(self, hole: Hole) -> None:
        """Deliver some of what came from another process; once there is no more, say what is missing."""
        if not hole.is_cut:
            hole.is_cut = True
            self._journal.cut()
        if hole.missed is not None and hole.messages:
            messages = hole.messages[:HEALED_TOGETHER]
            del hole.messages[:HEALED_TOGETHER]
            read = b"".join([encode_push(channel, payload) for _, _, channel, payload in messages])
            self._intake.deliver(read, messages, True, is_own_taken=True)
            hole.missed -= len(messages)
        elif hole.missed != 0:
            self._journal.skip(hole.missed or 0)
            self._on_skip()
