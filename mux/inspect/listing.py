"""Ask for the first channels of every process, and put the answers in one order.

Every process names its own first channels. A channel has over the fleet the sum of its subscribers, and the highest of
its rates, for each process that listens to it gets all of its messages. When a process has more channels than it named,
some numbers may be too low and channels may be missing; the answer then says that it is not complete.

Forty processes name tens of thousands of channels. One answer is merged in a turn of the event loop, and the first
channels are chosen in slices, so that no turn takes more than two milliseconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from mux.fleet.messages import is_whole, read_object
from mux.wire.channel import MAX_CHANNEL_BYTES

MAX_NAMES = 1000
"""Most channel names in one answer."""

MAX_MERGED = 65_536
"""Most different channels that are summed; all others are left out."""

MERGED_AT_ONCE = 2048
"""Most channels that are sorted in one turn, beside the best of the turns before."""

MAX_SUBSCRIBERS = 2**32
"""Most subscribers that one process can say a channel has; the sum over all processes is far from 2**53."""

MAX_RATE = 1e12
"""Most messages per second that are believed."""

Sort: TypeAlias = Literal["subscribers", "rate"]

Row: TypeAlias = tuple[str, int, float]
"""A channel: its name, its subscribers, messages per second."""


@dataclass(frozen=True, slots=True)
class Top:
    """The question for the first channels of a process; count is 1 to MAX_NAMES."""

    prefix: str
    sort: Sort
    count: int


@dataclass(frozen=True, slots=True)
class Listing:
    """The first channels of one process, or of those that are present, in order."""

    rows: Sequence[Row]
    is_complete: bool
    """True when there are no other channels."""
    present: frozenset[str] = frozenset()


def read_top(question: Mapping[str, object]) -> Top | None:
    """Return the question that another process asks; None when it cannot be."""
    match question:
        case {"prefix": str(prefix), "sort": "subscribers" | "rate" as sort, "count": int(count)}:
            if len(prefix) <= MAX_CHANNEL_BYTES and is_printable(prefix) and is_whole(count, MAX_NAMES) and count:
                return Top(prefix, sort, count)
    return None


def read_listing(body: bytes) -> Listing | None:
    """Return the channels in the answer of one process, each name once; None when the answer cannot be."""
    match read_object(body):
        case {"channels": list(rows), "complete": bool(is_complete)} if len(rows) <= MAX_NAMES:
            named = {row[0]: row for row in map(_row, rows) if row is not None}
            return Listing(list(named.values()), is_complete)
    return None


async def merged(answers: Mapping[str, bytes], top: Top) -> Listing:
    """Return the first channels of all processes from their answers by id; an answer that cannot be is left out."""
    rows: dict[str, Row] = {}
    present: set[str] = set()
    is_complete = True
    for id_, body in answers.items():
        listing = read_listing(body)
        if listing is not None:
            present.add(id_)
            is_complete = _add(rows, listing.rows) and listing.is_complete and is_complete
        await asyncio.sleep(0)
    by_rate = top.sort == "rate"
    waiting, first = list(rows.values()), list[Row]()
    for start in range(0, len(waiting), MERGED_AT_ONCE):
        first += waiting[start : start + MERGED_AT_ONCE]
        first.sort(key=lambda row: (-row[2] if by_rate else -row[1], row[0]))
        del first[top.count :]
        await asyncio.sleep(0)
    return Listing(first, is_complete and len(rows) <= top.count, frozenset(present))


def is_printable(name: str) -> bool:
    """Tell whether a text has only what the names of channels have: printable ASCII without space."""
    return name.isascii() and name.isprintable() and " " not in name


def _add(rows: dict[str, Row], others: Sequence[Row]) -> bool:
    """Add the channels of one process to those of others by name; return False when there are too many."""
    have_room = True
    for name, subscribers, rate in others:
        known = rows.get(name)
        if known is not None:
            rows[name] = (name, known[1] + subscribers, max(known[2], rate))
        elif len(rows) < MAX_MERGED:
            rows[name] = (name, subscribers, rate)
        else:
            have_room = False
    return have_room


def _row(row: object) -> Row | None:
    match row:
        case [str(name), int(subscribers), int() | float() as rate]:
            is_name = 0 < len(name) <= MAX_CHANNEL_BYTES and is_printable(name)
            is_rate = 0 <= rate < MAX_RATE and not isinstance(rate, bool)
            if is_name and is_rate and is_whole(subscribers, MAX_SUBSCRIBERS) and subscribers:
                return name, subscribers, float(rate)
    return None
