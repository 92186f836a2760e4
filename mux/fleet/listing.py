"""Put the channels that all processes have named in one order.

Every process names its own first channels. What a channel has over the fleet is the sum of its subscribers, and the
highest of its rates, for each process that hears it sees all of its messages. When a process had more channels than it
named, some of these numbers may be too low and channels may be missing; the answer then says that it is not complete.

Forty processes tell tens of thousands of channels, and to put these in order takes a while. It is done in a thread,
which others interrupt: nothing here works on more than one answer in one step.

Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from heapq import nsmallest

from mux.fleet.messages import MAX_NAMES, Row, Top, read_listing

MAX_MERGED = 65_536
"""Most different channels that are summed; those beyond are left out."""

FEW_NAMES = 256
"""Each process is asked for this many names when at most half as many are wanted, and for MAX_NAMES otherwise."""


@dataclass(frozen=True, slots=True)
class Found:
    """The channels of a fleet."""

    rows: list[Row]
    """The first channels, in order."""
    is_complete: bool
    """True when there are no others, and all numbers are exact but for processes that have not answered."""
    present: set[str]
    """The ids of the processes that have answered."""


def names_to_ask_for(limit: int) -> int:
    """Return how many names each process is asked for when so many are wanted.

    More than are wanted, so that a channel that is among the first of one process only is summed right.
    """
    return FEW_NAMES if 2 * limit <= FEW_NAMES else MAX_NAMES


def merged(answers: Mapping[str, bytes], top: Top) -> Found:
    """Return the first channels of all processes from their answers by id; what is no answer is left out."""
    rows: dict[str, Row] = {}
    present: set[str] = set()
    is_complete = True
    for id_, body in answers.items():
        listing = read_listing(body)
        if listing is None:
            continue
        present.add(id_)
        is_complete = is_complete and listing.is_complete
        for name, subscribers, rate in listing.rows:
            known = rows.get(name)
            if known is not None:
                rows[name] = (name, known[1] + subscribers, max(known[2], rate))
            elif len(rows) < MAX_MERGED:
                rows[name] = (name, subscribers, rate)
            else:
                is_complete = False
    by_rate = top.sort == "rate"
    first = nsmallest(top.count, rows.values(), key=lambda row: (-row[2] if by_rate else -row[1], row[0]))
    return Found(first, is_complete and len(rows) <= top.count, present)
