"""Keep the place of this process in the common order, and get back what it missed while its connection was lost.

    connection lost ──► reads are withheld ──► placed: what was missed is known ──► fetched from another process
                                                        │                               │
                                                        ▼ nothing                       ▼
                                                  no gap is told ◄── delivered, then what was withheld

Rules:

1. What is withheld (withheld.py) is bounded in bytes and in seconds. When that is over, and when nobody has what was
   missed, the gap is told, and what was withheld is delivered.
2. A gap is told before what came behind it is delivered.
3. A new process copies what others have before it says that it is ready.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from time import monotonic, perf_counter
from uuid import uuid4

from mux.broker.broker import Broker
from mux.broker.connection import Connection
from mux.broker.gap import Gap
from mux.broker.parcels import Parcels
from mux.hub.router import Router
from mux.intake import BatchIntake
from mux.journal.journal import Journal
from mux.journal.quiet import Quiet
from mux.recovery.agreement import Agreement, new_epoch
from mux.recovery.chunks import Chunk, messages_of, segments_of
from mux.recovery.copies import Copies
from mux.recovery.order import Placed
from mux.recovery.withheld import Withheld
from mux.wire.channel import Namespace
from mux.wire.resp import Push, Reply

RECOVER_SECONDS = 2.0
"""Longest that messages are withheld; after it a gap is told."""

WARM_SECONDS = 2.0
"""Longest that a new process waits for its place and a copy of the journal before it says that it is ready."""

WARM_POLL_SECONDS = 0.01
"""Seconds between two looks of a new process at whether it is warm."""

JOURNAL_TICK_SECONDS = 0.25
"""Seconds between two looks of the journal for messages that are too old."""

logger = logging.getLogger("mux.recovery")


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
        self._quiet = quiet
        self._agreement = Agreement(
            intake, namespace, rank, on_placed=self._placed, on_copy=lambda talk: self.copies.heard(talk)
        )
        self.order = self._agreement.order
        self._broker: Broker
        self._loop: asyncio.AbstractEventLoop
        parcels = Parcels(self._command, namespace.redis_channel(b"$copy:"), "the journal", self._is_cluster)
        self.copies = Copies(self._journal, self.order, say=self._agreement.say, parcels=parcels)
        self._connection: Connection | None = None
        self._journal_timer: asyncio.TimerHandle | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._fetching: asyncio.Task[None] | None = None
        self._withheld = Withheld(intake, journal, router, on_full=self._give_up, on_skip=self._skipped)
        self._has_said_nameless = False
        self._warm_until: float | None = None
        self._began = ""
        self._is_warm = False
        self.intact = 0
        """The number of new connections after which nothing had been missed."""
        router.listen(self._agreement.redis_channel, self._heard)

    def start(self, broker: Broker) -> None:
        """Begin, before the broker is started."""
        self._broker = broker
        self._loop = asyncio.get_running_loop()
        self._began = new_epoch()
        # Not before: an app may be made in one process and served in its children.
        self.copies.process = uuid4().hex
        self._agreement.start(broker)
        self._tick_journal()

    async def aclose(self) -> None:
        """End every timer and task; what is withheld is dropped, for the clients have gone before."""
        for handle in (self._journal_timer, self._deadline):
            if handle is not None:
                handle.cancel()
        self._agreement.close()
        self._withheld.close()
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
        self._intake.deliver_gathered()
        self._connection = None
        self._agreement.disconnected()
        self._stop_waiting()
        self._withheld.open()

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
        self._agreement.connected(connection.record.run_id)
        if (hole := self._withheld.hole) is not None:
            hole.gap = gap if hole.gap is None or gap is None else _both(hole.gap, gap)
            if self.order.can_be_proven:
                self._deadline = self._loop.call_later(RECOVER_SECONDS, self._give_up)
            else:
                self._give_up()
        elif gap is not None:
            self._broker.tell_gap(gap)

    def _say_nameless(self) -> None:
        self._is_warm = True  # nothing can be copied
        if not self._has_said_nameless:
            self._has_said_nameless = True
            logger.warning("Redis does not tell this user which server it is, so clients cannot resume; grant it +info")

    # What is withheld.

    def _resolve(self, missed: int | None, messages: list[Push] | None = None) -> None:
        """Let what is withheld go on, as it is known what was missed and what of it is here."""
        hole = self._withheld.hole
        if hole is None:
            return
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if missed == 0:
            self.intact += 1
            logger.info("nothing was missed while the connection was lost")
        elif messages is not None:
            self._journal.healed += len(messages)
            logger.info("%d messages were missed, and another process had them", len(messages))
        elif hole.gap is not None:
            self._broker.tell_gap(hole.gap, missed)
        self._withheld.resolve(missed, messages or [])

    def _give_up(self) -> None:
        """Tell the gap: it is over with waiting."""
        self._stop_waiting()
        missed = None if self._withheld.hole is None else self._withheld.hole.missed
        if missed is None:
            self.order.forget()
        self._resolve(missed)

    def _skipped(self) -> None:
        self._agreement.checksums.forget()
        self._quiet.doubt(self._journal.last)

    # The place of this process.

    def _heard(self, payload: bytes, number: int) -> None:
        self._agreement.heard(payload, number + self._withheld.shift)

    def _placed(self, placed: Placed, number: int) -> None:
        if self._withheld.hole is None:
            if placed.missed is None:
                self._journal.doubt(number)
                self._quiet.doubt(number)
            if self.order.epoch >= self._began:
                self._is_warm = True  # nobody was there before this process
            elif not self._is_warm and self._fetching is None:
                self._fetching = self._loop.create_task(self._warm_up(), name="mux-warm-up")
                self._fetching.add_done_callback(self._has_fetched)
        elif placed.missed:
            after = self._withheld.found_missing(placed.missed) + self.order.base
            self._fetching = self._loop.create_task(self._fetch(after, placed.missed), name="mux-heal")
            self._fetching.add_done_callback(self._has_fetched)
        else:
            self._resolve(placed.missed)

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

    def _tick_journal(self) -> None:
        self._journal_timer = self._loop.call_later(JOURNAL_TICK_SECONDS, self._tick_journal)
        self._journal.tick(perf_counter())
        self._quiet.tick(self._journal.kept_after)

    def _is_cluster(self) -> bool:
        return self._broker.is_cluster()

    def _command(self, *words: bytes, done: Callable[[Reply], None]) -> None:
        self._broker.ask(*words, done=done)


def _both(first: Gap, second: Gap) -> Gap:
    """Return one gap for two between which nothing was delivered."""
    return replace(second, since=min(first.since, second.since))
