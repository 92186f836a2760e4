"""Look up what one channel had, or all that match a wildcard, in slices of work.

A lookup goes from the newest segment to the oldest, as far as it must. What it takes to parse a long journal would hold
the event loop for a second, so the caller calls step() once in each turn of the loop until it returns True, and calls
result() in that same turn: nothing can come between the last step and what the caller does with the result.

Pure: no I/O, no clock.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from math import inf
from operator import itemgetter
from typing import overload

from mux.journal.journal import Journal
from mux.journal.segment import Segment
from mux.wire.publication import Publication

STEP_SLICES = 20
"""Most slices that one step parses: about 4 ms of work with messages of 100 bytes. It is more than one read from Redis
brings, so that a lookup ends under a torrent, too."""

STEP_SEARCHES = 32
"""Most segments that one step searches: about a millisecond of work."""


class Publications(Sequence[Publication]):
    """Messages of one channel, in order, where the segments have them: nothing is copied before it is asked for.

    Args:
        pieces: sequences of messages, each with the places of the first that counts and of the first that does not.
    """

    __slots__ = ("_length", "_pieces")

    def __init__(self, pieces: Sequence[tuple[Sequence[Publication], int, int]]) -> None:
        self._pieces = pieces
        self._length = sum(stop - start for _, start, stop in pieces)

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, place: int) -> Publication: ...
    @overload
    def __getitem__(self, place: slice) -> list[Publication]: ...
    def __getitem__(self, place: int | slice) -> Publication | list[Publication]:
        if isinstance(place, int):
            place = place if place >= 0 else self._length + place
            return self[place : place + 1][0]
        first, last, step = place.indices(self._length)
        found: list[Publication] = []
        for piece, start, stop in self._pieces:
            if last > 0:
                found += piece[start + max(first, 0) : min(start + last, stop)]
            first, last = first - (stop - start), last - (stop - start)
        return found[::step]

    def __iter__(self) -> Iterator[Publication]:
        return chain.from_iterable(islice(piece, start, stop) for piece, start, stop in self._pieces)


class Lookup:
    """The messages of one channel that a client asks for.

    Args:
        journal: where they are looked up.
        channel: its full name in Redis, or a wildcard, for which every message is Matched.
        after: only messages with a greater number.
        most: no more than so many, the latest.
    """

    __slots__ = ("_after", "_channel", "_journal", "_most", "_pieces", "_searched")

    def __init__(self, journal: Journal, channel: bytes, *, after: float = -inf, most: float = inf) -> None:
        self._journal = journal
        self._channel = channel
        self._after = after
        self._most = most
        self._searched: set[Segment] = set()
        self._pieces: list[Sequence[Publication]] = []

    def step(self, now: float) -> bool:
        """Do a slice of the work; return True when result() has everything up to the last message that came.

        Args:
            now: seconds, on the clock of the journal.
        """
        self._journal.asked(now)
        slices, searches, found = STEP_SLICES, STEP_SEARCHES, 0
        pieces: list[Sequence[Publication]] = []
        is_growing = True
        for segment in self._journal.segments():
            if found >= self._most or (segment.size and segment.last <= self._after):
                break
            if segment not in self._searched:
                is_channel = self._journal.is_channel
                while not segment.parse(self._channel, is_growing=is_growing, is_channel=is_channel):
                    slices -= 1
                    if not slices:
                        return False
                searches -= 1
                if not searches:
                    return False
                if not is_growing:
                    self._searched.add(segment)
            if piece := segment.messages(self._channel):
                pieces.append(piece)
                found += len(piece)
            is_growing = False
        self._pieces = pieces
        return True

    def result(self) -> Publications:
        """Return the messages, in order, in the turn in which step() has returned True."""
        found: list[tuple[Sequence[Publication], int, int]] = []
        left = self._most
        for piece in self._pieces:
            # Only the oldest may begin too early.
            start = bisect_right(piece, self._after, key=itemgetter(2)) if piece is self._pieces[-1] else 0
            start = max(start, len(piece) - int(min(left, len(piece))))
            found.append((piece, start, len(piece)))
            left -= len(piece) - start
        return Publications(found[::-1])
