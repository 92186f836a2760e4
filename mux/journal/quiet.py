"""The number of the last message of each channel that is quiet for longer than the journal goes back.

The journal forgets a message after a while, and then nobody knows whether a channel had one. Of a channel whose events
are encoded here, this process knows: the encoder says when it has a message. So a client whose channel was silent for
an hour can resume, if it comes back to the process that it left.

Numbers are those of the journal. Pure: no I/O, no clock.
"""

from __future__ import annotations

from itertools import islice, takewhile
from typing import NamedTuple

MAX_LEFT = 100_000
"""Most channels that are remembered after their last client has left: about 30 MB."""

FORGOTTEN_TOGETHER = 1000
"""Most channels that are forgotten in one tick, which takes a quarter of a millisecond."""


class _Left(NamedTuple):
    """A channel that is not watched any more, and had no message from `last` to `until`."""

    last: int
    until: int


class Quiet:
    """The number of the last message of each channel that is watched, or was."""

    def __init__(self) -> None:
        self._last: dict[bytes, int] = {}
        self._watchers: dict[bytes, int] = {}  # of channels with more than one
        self._left: dict[bytes, _Left] = {}
        self._floor = 0

    def entered(self, channel: bytes, number: int) -> None:
        """Watch a channel, or let one more watch it; number is that of the last message of all channels."""
        if channel in self._last:
            self._watchers[channel] = self._watchers.get(channel, 1) + 1
        else:
            self._last[channel] = number
            self._left.pop(channel, None)

    def left(self, channel: bytes, number: int) -> None:
        """Let one less watch a channel; number is that of the last message of all channels."""
        watchers = self._watchers.pop(channel, 1)
        if watchers > 1:
            if watchers > 2:
                self._watchers[channel] = watchers - 1
        elif channel in self._last:
            self._left[channel] = _Left(self._last.pop(channel), number)
            if len(self._left) > MAX_LEFT:
                del self._left[next(iter(self._left))]

    def note(self, channel: bytes, number: int) -> None:
        """Take note that the message of a number is of a channel; called for each batch that is encoded."""
        last = self._last.get(channel)
        if last is not None and last < number:  # what is written again to one client is older
            self._last[channel] = number

    def quiet_after(self, channel: bytes, kept_after: int) -> int | None:
        """Return the number after which all messages of a channel are in the journal; None when that is not known.

        Args:
            channel: its full name in Redis.
            kept_after: the number after which all messages of all channels are in the journal.
        """
        last = self._last.get(channel)
        if last is None:
            left = self._left.get(channel)
            if left is None or left.until < kept_after:
                return None
            last = left.last
        return max(last, self._floor)

    def doubt(self, number: int) -> None:
        """Take note that a message of any channel may have been missed before the message of a number."""
        self._floor = number
        self._left.clear()

    def tick(self, kept_after: int) -> None:
        """Forget some of the channels of which nothing is known any more."""
        unknown = takewhile(lambda item: item[1].until < kept_after, islice(self._left.items(), FORGOTTEN_TOGETHER))
        for channel, _ in list(unknown):
            del self._left[channel]
