"""Look up the messages that a channel had: for clients that come back or want the last ones, and for the app.

    query ──► wait for a place in the order ──► look up, in slices ──► Found, in the turn in which nothing can be missed

A resume is proven or refused. It is proven when all messages after the position are in the journal, or when this
process has watched the channel since. Nothing is ever resumed on a guess.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from time import perf_counter, time

from mux import reasons
from mux.errors import Refused
from mux.journal.journal import Journal
from mux.journal.lookup import Lookup, Publications
from mux.journal.quiet import Quiet
from mux.recovery.order import Order
from mux.wire.position import NOWHERE, Position, parse_position
from mux.wire.publication import Publication

PLACE_SECONDS = 1.0
"""Seconds that a client which resumes waits until this process has its place, and has heard what the client has."""

POLL_SECONDS = 0.01
"""Seconds between two looks whether a client that resumes need not wait any more."""

LONGEST_SECONDS = 366 * 24 * 3600.0
"""Most seconds that can be asked for."""

_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h|d)", re.ASCII)
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

TOO_OLD, OTHER_EPOCH, NO_ORDER, UNKNOWN, AHEAD, OFF = (
    "too_old",
    "other_epoch",
    "no_order",
    "unknown_position",
    "not_yet_heard",
    "no_journal",
)
"""Why a position cannot be resumed: the journal does not go back so far; numbers have begun anew since; this process
has no place in an order now; it is no position; nobody has heard of it here; there is no journal."""


@dataclass(frozen=True, slots=True)
class Query:
    """A question for the messages of a channel.

    Attributes:
        since: the position after which all messages are wanted, as it was given; nothing when there is none.
        seconds: how long ago the first wanted message may have come at most.
        last: how many messages are wanted at most, the latest.
    """

    since: str = ""
    seconds: float = inf
    last: float = inf

    @classmethod
    def read(cls, *, since: str = "", last: str = "", last_event_id: str = "") -> Query | None:
        """Return what a request asks for; None when it asks for nothing.

        A client that comes again sends the same `last` as the first time, and where it is: then that counts alone.

        Raises:
            Refused: since is neither a position nor a duration, or last is no number.
        """
        if last_event_id:
            return cls(since=last_event_id)
        most = inf
        if last:
            if not (last.isascii() and last.isdigit() and len(last) <= 9):
                raise Refused(reasons.QUERY, "`last` is how many messages to begin with, as ?last=10")
            most = int(last)
        if not since:
            return cls(last=most) if last else None
        if duration := _DURATION.fullmatch(since):
            return cls(seconds=min(float(duration[1]) * _UNITS[duration[2]], LONGEST_SECONDS), last=most)
        if since != NOWHERE and parse_position(since) is None:
            raise Refused(reasons.QUERY, "`since` is a position that mux gave, or a time, as ?since=30s")
        return cls(since=since, last=most)


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to a Query.

    Attributes:
        publications: the messages, in order.
        missed: why not all of what was asked for is here, in a word; nothing when all of it is.
    """

    publications: Sequence[Publication]
    missed: str = ""


class History:
    """Finds messages for clients that were away.

    Args:
        journal: what it has heard.
        order: its place among all.
        quiet: when the channels that it watches had their last message.
    """

    def __init__(self, journal: Journal, order: Order, quiet: Quiet) -> None:
        self.journal = journal
        self._order = order
        self._quiet = quiet
        # One lookup at a time: each works for milliseconds in one turn of the loop, and thousands may be asked for.
        self.turn = asyncio.Lock()
        self._place_by: float | None = None

    @property
    def last(self) -> int:
        """The number, in this process, of the last message that was delivered."""
        return self.journal.last

    def position(self, number: int) -> str:
        """Return the position of a message of this process; nothing while there is no order."""
        order = self._order
        return str(Position(order.epoch, order.base + number)) if order.is_placed else ""

    async def until_placed(self) -> None:
        """Wait until this process has a place in the order; all who wait for the same place do so for PLACE_SECONDS."""
        if self._order.is_placed:
            self._place_by = None
        elif self._place_by is None:
            self._place_by = perf_counter() + PLACE_SECONDS
        while self._place_by is not None and not self._order.is_placed and perf_counter() < self._place_by:  # noqa: ASYNC110
            await asyncio.sleep(POLL_SECONDS)

    def time_of(self, number: int) -> float:
        """Return when a message came, in seconds of Unix time; this moment if it is not kept any more."""
        try:
            return time() - (perf_counter() - self.journal.time_of(number))
        except ValueError:
            return time()

    async def find(self, channel: bytes, query: Query) -> Found:
        """Return what is wanted of a channel. Whoever awaits this directly goes on in the turn in which it is true.

        Args:
            channel: its full name in Redis.
            query: what is wanted.
        """
        if not query.since:
            after = -inf if query.seconds == inf else self.journal.last_before(perf_counter() - query.seconds)
            return Found(await self._look_up(channel, after=after, most=query.last))
        number = await self.number_of(query.since)
        if isinstance(number, int):
            why = self.refusal(channel, number)
            if not why:
                publications = await self._look_up(channel, after=number, most=query.last)
                # The journal may have forgotten the beginning meanwhile.
                why = self.refusal(channel, number)
                if not why:
                    self.journal.resumed += 1
                    return Found(publications)
        else:
            why = number
        self.journal.refused[why] += 1
        return Found([], why)

    async def after(self, channel: bytes, number: int) -> Sequence[Publication] | None:
        """Return what a channel had after a message of this process; None when not all of it is kept any more."""
        publications = await self._look_up(channel, after=number)
        return None if self.refusal(channel, number) else publications

    def refusal(self, channel: bytes, after: float) -> str:
        """Return why not all that a channel had after a number is known any more; nothing when all of it is."""
        kept_after = self.journal.kept_after
        if after >= kept_after:
            return ""
        quiet_after = self._quiet.quiet_after(channel, kept_after)
        return "" if quiet_after is not None and after >= quiet_after else TOO_OLD

    async def number_of(self, text: str) -> int | str:
        """Return the number of a position in this process, or why it has none."""
        if not self.journal.is_on:
            return OFF
        position = parse_position(text)
        if position is None:
            return NO_ORDER if text == NOWHERE else UNKNOWN
        order = self._order
        until = perf_counter() + PLACE_SECONDS
        while True:
            if order.is_placed:
                number = position.number - order.base
                if position.epoch != order.epoch:
                    return OTHER_EPOCH
                if number <= self.journal.last:
                    return number
            if perf_counter() > until:
                return AHEAD if order.is_placed else NO_ORDER
            await asyncio.sleep(POLL_SECONDS)

    async def _look_up(self, channel: bytes, *, after: float, most: float = inf) -> Publications:
        lookup = Lookup(self.journal, channel, after=after, most=most)
        async with self.turn:
            while not lookup.step(perf_counter()):  # noqa: ASYNC110 - each turn of the loop is a slice of the work
                await asyncio.sleep(0)
            return lookup.result()
