"""Keep the place of this process in the common order, and get back what it missed while its connection was lost.

    connection lost ──► reads are withheld ──► placed: what was missed is known ──► fetched from another process
                                                        │                               │
                                                        ▼ nothing                       ▼
                                                  no gap is told ◄── delivered, then what was withheld

Rules:

1. Order is kept: what was missed is delivered before what came since, and what came since is withheld meanwhile.
2. What is withheld is bounded in bytes and in seconds. When that is over, and when nobody has what was missed, the
   gap is told, and what was withheld is delivered.
3. The talk between processes is heard at once, withheld or not: it is what ends the waiting.
4. Nothing holds the event loop: what was withheld is delivered in slices.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from random import Random
from time import monotonic, perf_counter, time
from uuid import uuid4

from mux.broker.broker import Broker
from mux.broker.connection import Connection
from mux.broker.gap import Gap
from mux.broker.parcels import Parcels
from mux.hub.router import Router
from mux.intake import BatchIntake
from mux.journal.journal import Journal
from mux.journal.quiet import Quiet
from mux.recovery.checksums import Checksums
from mux.recovery.chunks import Chunk, messages_of, segments_of
from mux.recovery.copies import Copies
from mux.recovery.order import Order, Placed
from mux.recovery.talk import CHANNEL, CopyTalk, Talk, read, write
from mux.wire.channel import RESERVED, Namespace
from mux.wire.resp import Push, Reply, encode_push

RECOVER_SECONDS = 2.0
"""Longest that messages are withheld; after it a gap is told."""

MAX_WITHHELD_BYTES = 16 * 1024 * 1024
"""Most bytes that are withheld; when more come, a gap is told."""

WARM_SECONDS = 2.0
"""Longest that a new process waits for its place and a copy of the journal before it says that it is ready."""

WARM_POLL_SECONDS = 0.01
"""Time between two looks of a new process at whether it is warm."""

BEAT_SECONDS = 9.0
"""Time between two beats of a process, give or take a tenth; a mistake is noticed within two beats."""

MAX_TALKS_PER_SECOND = 1000
"""Most messages about the order that are read; a thousand processes say a hundred a second."""

SLICE_SECONDS = 0.003
"""Longest time in one turn of the loop in which withheld messages are delivered."""

JOURNAL_TICK_SECONDS = 0.1
"""Time between two looks of the journal for messages that are too old."""

HEALED_TOGETHER = 100
"""Most messages from a copy that are delivered as one batch."""

logger = logging.getLogger("mux.recovery")

Withheld = tuple[bytes, list[Push], bool]
"""A read, the messages it completed, and whether a message ended where it ended."""


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
        """Those that another process had."""


class Recovery:
    """The place of one process in the common order (broker.Recovering).

    Args:
        intake: takes what comes, and is told to withhold it.
        journal: what this process has heard.
        router: whom messages of the reserved channel are for.
        namespace: where the reserved channel and the keys are.
        quiet: is told where messages may be missing.
        rank: returns how many other processes are to speak before this one about a mark.
    """

    def __init__(
        self,
        intake: BatchIntake,
        journal: Journal,
        router: Router,
        namespace: Namespace,
        quiet: Quiet,
        rank: Callable[[str], int],
    ) -> None:
        self._intake = intake
        self._journal = journal
        self._router = router
        self._quiet = quiet
        self._redis_channel = namespace.redis_channel(CHANNEL)
        self._dice = Random()  # noqa: S311 - nothing is kept secret by it
        self._checksums = Checksums(self._redis_channel, namespace.redis_channel(RESERVED))
        self.order = Order(self._dice, _new_epoch, rank, self._checksums.upto)
        self._broker: Broker
        self._loop: asyncio.AbstractEventLoop
        parcels = Parcels(self._command, namespace.redis_channel(b"$copy:"), "the journal", self._is_cluster)
        self.copies = Copies(self._journal, self.order, say=self._say, parcels=parcels)
        self._connection: Connection | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._beat_timer: asyncio.TimerHandle | None = None
        self._journal_timer: asyncio.TimerHandle | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._releasing: asyncio.Handle | None = None
        self._fetching: asyncio.Task[None] | None = None
        self._withheld: deque[Withheld | Hole] = deque()
        self._withheld_bytes = 0
        self._hole: Hole | None = None  # the last one, while it is not resolved
        self._count = 0
        self._shift = 0
        self._second, self._talks = 0.0, 0
        self._has_been_off = self._has_said_nameless = False
        self._warm_until: float | None = None
        self._began = ""
        self._is_warm = False
        self.intact = 0
        """The number of new connections after which nothing had been missed."""
        router.listen(self._redis_channel, self._heard)
        intake.follow = self._checksums.take

    def start(self, broker: Broker) -> None:
        """Begin, before the broker is started."""
        self._broker = broker
        self._loop = asyncio.get_running_loop()
        self._began = _new_epoch()
        # Not before: an app may be made in one process and served in its children.
        self.copies.process = uuid4().hex
        self._beat_timer = self._loop.call_later(self._pause(), self._beat)
        self._tick_journal()

    async def aclose(self) -> None:
        """End every timer and task; what is withheld is dropped, for the clients have gone before."""
        for handle in (self._timer, self._beat_timer, self._journal_timer, self._deadline, self._releasing):
            if handle is not None:
                handle.cancel()
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)
        await self.copies.aclose()

    @property
    def is_warm(self) -> bool:
        """True when this process has the journal that others could give it, or has waited long enough for it."""
        return self._is_warm or self._warm_until is None or monotonic() > self._warm_until

    async def until_warm(self) -> None:
        """Wait until is_warm, which takes WARM_SECONDS at most."""
        while not self.is_warm:  # noqa: ASYNC110 - once, at the start
            await asyncio.sleep(WARM_POLL_SECONDS)

    # Told by the broker.

    def disconnected(self) -> None:
        """Withhold what comes from now on, for something may be missing before it."""
        self._connection = None
        self.order.disconnected()
        self._schedule()
        if self._hole is not None:
            self._forget_since_hole()
            return
        self._hole = Hole()
        if self._intake.withhold is None:
            self._count = self._journal.last
            self._intake.withhold = self._withhold
        self._withheld.append(self._hole)

    def _forget_since_hole(self) -> None:
        """Drop what came since the hole: whoever has what is missing has that, too, and it is one hole."""
        self._stop_waiting()
        while (last := self._withheld.pop()) is not self._hole:
            assert not isinstance(last, Hole), "a hole that is not resolved is the last one"
            self._count -= len(last[1])
            self._withheld_bytes -= len(last[0])
        self._count -= self._hole.missed or 0
        self._hole.missed = None
        self._withheld.append(self._hole)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if self._fetching is not None:
            self._fetching.cancel()
            self._fetching = None

    def connected(self, connection: Connection, gap: Gap | None) -> None:
        """Ask for the place of this process; the gap is told unless nothing was missed, or all of it comes back."""
        self._connection = connection
        if self._warm_until is None:
            self._warm_until = monotonic() + WARM_SECONDS
        if not connection.record.run_id:
            self._say_nameless()
        self.order.connected(connection.record.run_id, self._loop.time())
        if self._hole is not None:
            self._hole.gap = gap if self._hole.gap is None or gap is None else _both(self._hole.gap, gap)
            if self.order.can_be_proven:
                self._deadline = self._loop.call_later(RECOVER_SECONDS, self._give_up)
            else:
                self._give_up()
        elif gap is not None:
            self._broker.tell_gap(gap)
        self._schedule()

    def _say_nameless(self) -> None:
        self._is_warm = True  # nothing can be copied
        if not self._has_said_nameless:
            self._has_said_nameless = True
            logger.warning("Redis does not tell this user which server it is, so clients cannot resume; grant it +info")

    # What is withheld.

    def _withhold(self, read: bytes, messages: list[Push], is_whole: bool) -> None:
        self._router.take_own(messages, self._count + 1)
        self._count += len(messages) + self._shift
        self._shift = 0  # from now on it is in the count
        self._withheld.append((read, messages, is_whole))
        self._withheld_bytes += len(read)
        if self._hole is not None and self._withheld_bytes > MAX_WITHHELD_BYTES:
            self._give_up()

    def _resolve(self, missed: int | None, messages: list[Push] | None = None) -> None:
        """Let what is withheld go on, as it is known what was missed and what of it is here."""
        hole, self._hole = self._hole, None
        if hole is None:
            return
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        hole.is_resolved, hole.missed, hole.messages = True, missed, messages or []
        if missed == 0:
            self.intact += 1
            logger.info("nothing was missed while the connection was lost")
        elif messages is not None:
            self._journal.healed += len(messages)
            logger.info("%d messages were missed, and another process had them", len(messages))
        elif hole.gap is not None:
            self._broker.tell_gap(hole.gap, missed)
        if self._releasing is None:
            self._releasing = self._loop.call_soon(self._release)

    def _give_up(self) -> None:
        """Tell the gap: it is over with waiting."""
        self._stop_waiting()
        missed = None if self._hole is None else self._hole.missed
        if missed is None:
            self.order.forget()
        self._resolve(missed)

    def _release(self) -> None:
        """Deliver what was withheld, as far as it is time, and all that is known to be whole before it."""
        self._releasing = None
        until = monotonic() + SLICE_SECONDS
        while self._withheld:
            first = self._withheld[0]
            if isinstance(first, Hole):
                if not first.is_resolved:
                    return
                self._fill(first)
                if first.messages:
                    continue
                self._withheld.popleft()
            else:
                self._withheld.popleft()
                self._withheld_bytes -= len(first[0])
                self._intake.deliver(*first, is_own_taken=True)
            if monotonic() > until:
                self._releasing = self._loop.call_soon(self._release)
                return
        self._intake.withhold = None

    def _fill(self, hole: Hole) -> None:
        """Deliver some of what came from another process; once there is no more, say what is missing."""
        journal = self._journal
        if not hole.is_cut:
            hole.is_cut = True
            journal.cut()
        if hole.missed is not None and hole.messages:
            messages = hole.messages[:HEALED_TOGETHER]
            del hole.messages[:HEALED_TOGETHER]
            read = b"".join([encode_push(channel, payload) for _, _, channel, payload in messages])
            self._intake.deliver(read, messages, True, is_own_taken=True)
            hole.missed -= len(messages)
            return
        if hole.missed != 0:
            journal.skip(hole.missed or 0)
            self._checksums.forget()
            self._quiet.doubt(journal.last)

    # The agreement.

    def _heard(self, payload: bytes, number: int) -> None:
        now = self._loop.time()
        if now - self._second >= 1:
            self._second, self._talks = now, 0
        self._talks += 1
        talk = read(payload) if self._talks <= MAX_TALKS_PER_SECOND else None
        if isinstance(talk, CopyTalk):
            self.copies.heard(talk)
        elif talk is not None:
            placed = self.order.heard(talk, number + self._shift, now)
            if placed is not None:
                self._placed(placed, number)
            self._schedule()
            if self.order.is_off and not self._has_been_off:
                self._has_been_off = True
                logger.error(
                    "this Redis, or what stands before it, does not give all processes the same order of messages: "
                    "clients cannot resume until the connection is made anew"
                )

    def _placed(self, placed: Placed, number: int) -> None:
        if self._hole is None:
            if placed.missed is None:
                self._journal.doubt(number)
                self._quiet.doubt(number)
            if self.order.epoch >= self._began:
                self._is_warm = True  # nobody was there before this process
            elif not self._is_warm and self._fetching is None:
                self._fetching = self._loop.create_task(self._warm_up(), name="mux-warm-up")
                self._fetching.add_done_callback(self._has_fetched)
        elif placed.missed:
            self._shift = placed.missed
            self._hole.missed = placed.missed
            self._fetch_missed(placed.missed)
        else:
            self._resolve(placed.missed)

    def _fetch_missed(self, missed: int) -> None:
        after = self._missed_after() + self.order.base
        self._fetching = self._loop.create_task(self._fetch(after, missed), name="mux-heal")
        self._fetching.add_done_callback(self._has_fetched)

    def _missed_after(self) -> int:
        """Return the number in the journal that the last message before the hole will have."""
        count = self._journal.last
        for entry in self._withheld:
            if isinstance(entry, Hole):
                if entry is self._hole:
                    break
                count += entry.missed or 0
            else:
                count += len(entry[1])
        return count

    async def _fetch(self, after: int, missed: int) -> None:
        copy = await self._copy(after)
        messages = None if copy is None else await messages_of(copy[1], after, after + missed)
        self._resolve(missed, messages)

    async def _copy(self, after: int | None) -> tuple[int, list[Chunk]] | None:
        """Return a copy of what another process has; what brings it is not kept in the journal."""
        self._intake.brings_copy = True
        try:
            return await self.copies.fetch(after)
        finally:
            self._intake.brings_copy = False

    async def _warm_up(self) -> None:
        """Get a copy of what others have, from before this process was there."""
        try:
            before = self._journal.kept_after + 1
            base = self.order.base
            copy = await self._copy(None)
            segments = [] if copy is None else await segments_of(copy[1], base, before)
            if copy is not None and segments:
                self._journal.restore(segments, before, complete_after=copy[0] - base)
        finally:
            self._is_warm = True

    def _has_fetched(self, task: asyncio.Task[None]) -> None:
        if self._fetching is task:
            self._fetching = None
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("what other processes have could not be fetched", exc_info=error)
            self._give_up()

    # What this process says.

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self.order.due
        if self._connection is not None and due < float("inf"):
            self._timer = self._loop.call_at(due, self._tick)

    def _tick(self) -> None:
        self._timer = None
        for talk in self.order.tick(self._loop.time()):
            self._say(talk)
        self._schedule()

    def _beat(self) -> None:
        self._beat_timer = self._loop.call_later(self._pause(), self._beat)
        talk = None if self._connection is None else self.order.beat()
        if talk is not None:
            self._say(talk)

    def _tick_journal(self) -> None:
        self._journal_timer = self._loop.call_later(JOURNAL_TICK_SECONDS, self._tick_journal)
        self._journal.tick(perf_counter())
        self._quiet.tick(self._journal.kept_after)

    def _pause(self) -> float:
        return BEAT_SECONDS * self._dice.uniform(0.9, 1.1)

    def _say(self, talk: Talk | CopyTalk) -> None:
        mark = talk.mark if isinstance(talk, Talk) and talk.claim is None else ""
        done = partial(self._told, mark) if mark else None
        self._broker.outbox.send_aside(self._redis_channel, write(talk), done)

    def _told(self, mark: str, reply: Reply) -> None:
        if reply == 1:
            self.order.alone(mark, self._loop.time())
            self._schedule()

    def _is_cluster(self) -> bool:
        return self._broker.is_cluster()

    def _command(self, *words: bytes, done: Callable[[Reply], None]) -> None:
        self._broker.ask(*words, done=done)


def _both(first: Gap, second: Gap) -> Gap:
    """Return one gap for two between which nothing was delivered."""
    return replace(second, since=min(first.since, second.since))


def _new_epoch() -> str:
    """Return a name that is greater than that of every epoch that began a millisecond ago or earlier."""
    return f"{int(time() * 1000):011x}{Random().getrandbits(24):06x}"  # noqa: S311 - nothing is kept secret by it
