"""Look up what one channel had, in slices of work.

A lookup goes from the newest segment to the oldest, as far as it must. What it takes to parse a long journal would hold
the event loop for a second, so the caller calls step() once in each turn of the loop until it returns True, and calls
result() in that same turn: nothing can come between the last step and what the caller does with the result.

Pure: no I/O, no clock.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import chain
from math import inf
from operator import itemgetter

from mux.journal.journal import Journal
from mux.journal.segment import Segment
from mux.wire.publication import Publication

STEP_SLICES = 20
"""Most slices that one step parses: about 4 ms of work with messages of 100 bytes. It is more than one read from Redis
brings, so that a lookup ends under a torrent, too."""

STEP_SEARCHES = 32
"""Most segments that one step searches: about a millisecond of work."""


class Lookup:
    """The messages of one channel that a client asks for.

    Args:
        journal: where they are looked up.
        channel: its full name in Redis.
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
        self._pieces: list[list[Publication]] = []

    def step(self, now: float) -> bool:
        """Do a slice of the work; return True when result() has everything up to the last message that came.

        Args:
            now: seconds, on the clock of the journal.
        """
        self._journal.asked(now)
        slices, searches, found = STEP_SLICES, STEP_SEARCHES, 0
        pieces: list[list[Publication]] = []
        is_growing = True
        for segment in self._journal.segments():
            if found >= self._most or (segment.size and segment.last <= self._after):
                break
            if segment not in self._searched:
                while not segment.parse(self._channel, is_growing=is_growing):
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

    def result(self) -> list[Publication]:
        """Return the messages, in order, in the turn in which step() has returned True."""
        pieces = self._pieces
        if pieces:  # only the oldest may begin too early
            pieces[-1] = pieces[-1][bisect_right(pieces[-1], self._after, key=itemgetter(2)) :]
        messages = list(chain.from_iterable(reversed(pieces)))
        return messages if len(messages) <= self._most else messages[-int(self._most) :] if self._most else []
