"""How many messages each channel gets, counted only while somebody looks.

A question about channels starts the count, for ten seconds; until then, and after, a message costs nothing. The
count is one call for a batch, into C. It is bounded: what nobody here listens to is thrown out when the table is
full, and of the rest the busiest half stays. So a flood of names costs time in proportion, and no memory; and a
rate may be too low when more than thousands of channels are busy at once, but never for the busiest.

Two windows: one that is being counted and the one before. A rate is the mean over both.

Pure: the time is given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from operator import itemgetter

from mux.wire.channel import BINARY_MARK, binary_variant
from mux.wire.resp import Push

LEASE_SECONDS = 10.0
"""How long counting goes on after a question; who asks more often is told of longer windows."""

WINDOW_SECONDS = 2.5
"""After that a window is closed, and the one before it forgotten."""

SHORTEST_SECONDS = 0.2
"""A rate over less than that says little."""

MAX_CHANNELS = 16_384
"""In one window; pruning so many takes two milliseconds."""

_channel = itemgetter(2)


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
        """Count a batch."""
        current = self._current
        current.update(map(_channel, messages))
        if len(current) > MAX_CHANNELS:
            self._prune()

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
        """Return messages per second, of every channel that got any; what is known to be binary counts as well."""
        seconds = self._seconds(now)
        rates: dict[bytes, float] = {}
        for window in (self._before, self._current):
            for name, number in window.items():
                channel = name[:-1] if name[-1] == BINARY_MARK else name
                rates[channel] = rates.get(channel, 0.0) + number / seconds
        return rates

    def rate(self, channel: bytes, now: float) -> float:
        """Return messages per second of one channel."""
        binary = binary_variant(channel)
        windows = (self._before, self._current)
        return sum(window.get(name, 0) for window in windows for name in (channel, binary)) / self._seconds(now)

    def _seconds(self, now: float) -> float:
        return max(now - self._since, SHORTEST_SECONDS)

    def _prune(self) -> None:
        heard = [
            (name, number)
            for name, number in self._current.items()
            if self._is_heard(name[:-1] if name[-1] == BINARY_MARK else name)
        ]
        if len(heard) > MAX_CHANNELS // 2:
            heard.sort(key=itemgetter(1), reverse=True)
            del heard[MAX_CHANNELS // 2 :]
        self._current = Counter(dict(heard))
