"""Count the messages of each channel, for as long as somebody asks for them.

A question about channels starts the count for ten seconds; otherwise a message costs nothing. Only channels that have a
subscriber here are counted, so names that nobody listens to are not kept, however long and many they are. When too many
channels are busy at once the busiest half stays: a rate may be too low, and those of the busiest are right.

There are two windows: one that is being counted and the one before. A rate is the mean over both.

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
"""A question starts the count for this time; when questions come more often, windows are longer."""

WINDOW_SECONDS = 2.5
"""A window is closed after this time, and the one before it is forgotten."""

SHORTEST_SECONDS = 0.2
"""Shortest time a rate is the mean of; a shorter time says little."""

MAX_CHANNELS = 4096
"""Most channels in one window; dropping half of them takes a millisecond."""

_channel = itemgetter(2)
_number = itemgetter(1)


class Tally:
    """Messages by channel.

    Args:
        has_subscriber: tells whether a channel, as Redis names it, has a subscriber here.
    """

    def __init__(self, has_subscriber: Callable[[bytes], bool]) -> None:
        self._has_subscriber = has_subscriber
        self._current: Counter[bytes] = Counter()
        self._before: Counter[bytes] = Counter()
        self._since = 0.0
        self._window_began = 0.0
        self._until = float("-inf")

    def __len__(self) -> int:
        """Return how many names are kept."""
        return len(self._current) + len(self._before)

    def count(self, messages: list[Push]) -> None:
        """Count a batch; a message of a kind that is known counts for its channel as well."""
        current, has_subscriber = self._current, self._has_subscriber
        names = list(map(_channel, messages))
        current.update(filter(has_subscriber, names))
        for name in filterfalse(has_subscriber, names):
            if name[-1] <= LAST_MARK and has_subscriber(name[:-1]):
                current[name[:-1]] += 1
        if len(current) > MAX_CHANNELS:
            self._current = Counter(dict(sorted(current.items(), key=_number, reverse=True)[: MAX_CHANNELS // 2]))

    def extend(self, now: float) -> None:
        """Begin to count, or go on, until LEASE_SECONDS from now."""
        if not self.is_wanted(now):
            self.clear()
            self._since = self._window_began = now
        self._until = now + LEASE_SECONDS

    def is_wanted(self, now: float) -> bool:
        """Tell whether to count."""
        return now < self._until

    def ready_in(self, now: float) -> float:
        """Return in how many seconds rates say something."""
        return max(0.0, self._since + SHORTEST_SECONDS - now)

    def tick(self, now: float) -> None:
        """Close the window when it is time to; to be called about once a second."""
        if now - self._window_began >= WINDOW_SECONDS:
            self._before, self._current = self._current, Counter()
            self._since, self._window_began = self._window_began, now

    def clear(self) -> None:
        """Stop and forget everything."""
        self._current, self._before = Counter(), Counter()
        self._until = float("-inf")

    def rates(self, now: float) -> dict[bytes, float]:
        """Return the messages per second of every channel that had any."""
        seconds = max(now - self._since, SHORTEST_SECONDS)
        return {name: number / seconds for name, number in (self._before + self._current).items()}
