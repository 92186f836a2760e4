"""How many messages each channel gets, counted only while somebody looks.

A question about channels starts the count, for ten seconds; until then, and after, a message costs nothing. Only
channels that have a subscriber here are counted, so whatever strangers publish elsewhere, under names of any length
and number, is not kept. When too many channels are busy at once, the busiest half stays; so a rate may be too low, but
never that of the busiest.

Two windows: one that is being counted and the one before. A rate is the mean over both.

Pure: the time is given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import filterfalse
from operator import itemgetter

from mux.wire.channel import LAST_MARK
from mux.wire.resp import Push

LEASE_SECONDS = 10.0
"""Counting goes on for so long after a question; when questions come more often, windows are longer."""

WINDOW_SECONDS = 2.5
"""A window is closed after so long, and the one before it is forgotten."""

SHORTEST_SECONDS = 0.2
"""No rate is told of a shorter time, for it would say little."""

MAX_CHANNELS = 4096
"""Most channels in one window; pruning so many takes a millisecond."""

_channel = itemgetter(2)
_number = itemgetter(1)


class Tally:
    """Messages by channel.

    Args:
        is_heard: tells whether a channel, as Redis names it, has a subscriber here.
    """

    def __init__(self, is_heard: Callable[[bytes], bool]) -> None:
        self._is_heard = is_heard
        self._current: Counter[bytes] = Counter()
        self._before: Counter[bytes] = Counter()
        self._since = 0.0
        self._rotated = 0.0
        self._until = float("-inf")

    def count(self, messages: list[Push]) -> None:
        """Count a batch; a message of a kind that is known counts for its channel as well."""
        current, is_heard = self._current, self._is_heard
        names = list(map(_channel, messages))
        current.update(filter(is_heard, names))
        for name in filterfalse(is_heard, names):
            if name[-1] <= LAST_MARK and is_heard(name[:-1]):
                current[name[:-1]] += 1
        if len(current) > MAX_CHANNELS:
            self._current = Counter(dict(sorted(current.items(), key=_number, reverse=True)[: MAX_CHANNELS // 2]))

    def __len__(self) -> int:
        """How many names are kept."""
        return len(self._current) + len(self._before)

    def extend(self, now: float) -> None:
        """Count for some time from now on."""
        if not self.is_wanted(now):
            self.clear()
            self._since = self._rotated = now
        self._until = now + LEASE_SECONDS

    def is_wanted(self, now: float) -> bool:
        """Tell whether to count."""
        return now < self._until

    def ready_in(self, now: float) -> float:
        """Return for how many seconds to wait until rates say something."""
        return max(0.0, self._since + SHORTEST_SECONDS - now)

    def tick(self, now: float) -> None:
        """Close the window when it is time to; to be called about once a second."""
        if now - self._rotated >= WINDOW_SECONDS:
            self._before, self._current = self._current, Counter()
            self._since, self._rotated = self._rotated, now

    def clear(self) -> None:
        """Forget everything."""
        self._current, self._before = Counter(), Counter()
        self._until = float("-inf")

    def rates(self, now: float) -> dict[bytes, float]:
        """Return messages per second, of every channel that got any."""
        seconds = max(now - self._since, SHORTEST_SECONDS)
        return {name: number / seconds for name, number in (self._before + self._current).items()}
