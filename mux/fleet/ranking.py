"""Put the channels of all processes in one order, and cut it into pages.

Every process names its own first channels. What a channel has over the fleet is the sum of its subscribers, and
the highest of its rates, for each process that hears it sees all of its messages. A process that has named all its
channels has none of the others. One that has not may have some of a channel that another has named; it is asked
for exactly these, in a second round. So every number told is exact; what can be missed is a channel that is among
the first of no process.

Forty processes tell tens of thousands of channels, and to put these in order takes tenths of a second. So it is done
in a thread, a few bytecodes at a time; nothing here sorts more than MAX_NAMES at once, for a sort keeps the others
from running until it is done.

Pure.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from typing import NamedTuple

import orjson

from mux.errors import InvalidQuery
from mux.fleet.messages import MAX_NAMES, Sort, is_name

Row = tuple[str, int, float]
"""A channel: its name, its subscribers, messages per second."""

MAX_PAGE = 1000
"""Channels in one answer at most."""

DEFAULT_PAGE = 100

SHALLOW_NAMES = 1024
"""As many each process is asked for, as long as that is twice what is wanted; else MAX_NAMES."""

BYTES_PER_ROW = 40
"""Of JSON beside the name, at most."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What one process said."""

    rows: Sequence[Row]
    is_complete: bool
    """True when it has no other channels than these."""


class Place(NamedTuple):
    """Where a page ended: the order is by value, falling, then by name."""

    sort: Sort
    value: float
    name: str
    seen: int
    """Channels on this page and those before it."""


def value_of(row: Row, sort: Sort) -> float:
    """Return what a channel is sorted by."""
    return row[1] if sort == "subscribers" else row[2]


def merge(listings: Iterable[Listing]) -> dict[str, Row]:
    """Return every channel that is named, summed over those that name it."""
    merged: dict[str, Row] = {}
    for listing in listings:
        for name, subscribers, rate in listing.rows:
            _, before, highest = merged.get(name, (name, 0, 0.0))
            merged[name] = (name, before + subscribers, max(highest, rate))
    return merged


def unknown(listings: Mapping[str, Listing], sort: Sort, max_bytes: int) -> tuple[list[str], set[str]]:
    """Return the channels to ask for again, and those that there is no room to ask for.

    A channel is to be asked for when some process has neither named it nor all its channels. Those that may have
    the most come first.
    """
    partial = [one for one in listings.values() if not one.is_complete]
    # What a process has not named has at most what the last has that it did name.
    floors = [value_of(one.rows[-1], sort) if one.rows else 0 for one in partial]
    told: dict[str, tuple[int, float]] = {}
    for one, floor in zip(partial, floors, strict=True):
        for name, _, _ in one.rows:
            times, below = told.get(name, (0, 0))
            told[name] = (times + 1, below + floor)
    floor_of_all, highest_floor = sum(floors), max(floors, default=0)
    open_: list[tuple[float, str]] = []
    for name, row in merge(listings.values()).items():
        times, below = told.get(name, (0, 0))
        if times < len(partial):
            value = value_of(row, sort)
            # Whatever the process with the highest floor has named is above that floor by itself.
            most = value + floor_of_all - below if sort == "subscribers" else max(value, highest_floor)
            open_.append((-most, name))
    asked: list[str] = []
    for _, name in nsmallest(MAX_NAMES, open_):
        max_bytes -= len(name) + BYTES_PER_ROW
        if max_bytes < 0:
            break
        asked.append(name)
    return asked, {name for _, name in open_}.difference(asked)


def ranked(rows: Iterable[Row], sort: Sort, count: int) -> list[Row]:
    """Return the first channels, in order."""
    return nsmallest(count, rows, key=lambda row: (-value_of(row, sort), row[0]))


def page(
    rows: Sequence[Row], *, sort: Sort, limit: int, after: Place | None, is_all: bool
) -> tuple[Sequence[Row], Place | None]:
    """Return the channels of one page, and where it ends; None when nothing comes after it.

    Args:
        rows: in order.
        sort: what that order is.
        limit: how many at most.
        after: where the page before it ended.
        is_all: there are no others than these.

    Raises:
        InvalidQuery: the page lies deeper than what processes can be asked for.
    """
    seen = 0 if after is None else after.seen
    if after is not None:
        rows = [row for row in rows if (-value_of(row, sort), row[0]) > (-after.value, after.name)]
    chosen = rows[: min(limit, MAX_NAMES - seen)]
    if not chosen and not is_all:
        raise InvalidQuery(
            f"no more than the first {MAX_NAMES} channels can be had; ask for those with a longer prefix"
        )
    if not chosen or (is_all and len(chosen) == len(rows)):
        return chosen, None
    last = chosen[-1]
    return chosen, Place(sort, value_of(last, sort), last[0], seen + len(chosen))


def encode_place(place: Place) -> str:
    """Return a place as the cursor in a URL."""
    return urlsafe_b64encode(orjson.dumps(tuple(place))).rstrip(b"=").decode()


def decode_place(cursor: str, sort: Sort) -> Place:
    """Return the place a cursor names.

    Raises:
        InvalidQuery: it is none, or one of another order.
    """
    try:
        fields = orjson.loads(urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError):
        fields = None
    match fields:
        case [str(of), int() | float() as value, str(name), int(seen)]:
            is_right = of == sort and is_name(name) and 0 < seen <= MAX_NAMES
            if is_right and not isinstance(seen, bool):
                return Place(sort, value, name, seen)
    raise InvalidQuery("after must be what the answer before it gave, with the same sort")
