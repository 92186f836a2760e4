"""Checksums of what a process heard, by which processes notice that messages have changed places.

Two messages of the feed that change places leave every count as it was. So processes compare what stands between the
messages in which they talk about the order: a stretch of the sequence that all of them hear.

    $order   feed   feed   $order   feed   $order
           └── stretch 1 ──┘      └─ stretch 2 ─┘

Rules:

1. Most messages cost nothing: only the beginning of a stretch is summed, up to a bound, and after that the batches of
   this stretch pass by.
2. All processes sum the same. Payloads of the talk between processes are left out, for a journal keeps none of them,
   and what was missed comes from the journal of another process.
3. A checksum covers many stretches up to one message. So a stretch is compared several times, and it does no harm when
   two processes speak at the same moment.

Pure: no I/O, no clock.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple
from zlib import crc32

from mux.wire.resp import Push

ROOM_BYTES = 256 * 1024
"""Most bytes of a stretch that are summed: half a millisecond of work."""

MESSAGE_BYTES = 256
"""Bytes of ROOM_BYTES that each message takes beside its payload, so that at most a thousand messages are summed."""

MOST_STRETCHES = 64
"""Most stretches that one checksum covers."""

MAX_STRETCHES = 4096
"""Most stretches that are remembered."""

_SUM_BYTES = 4


class Checksum(NamedTuple):
    """A checksum of the messages that a process heard in some stretches, the last of which ends at one message.

    Attributes:
        stretches: how many.
        value: the same for all that heard the same, and below 2^32.
    """

    stretches: int
    value: int


class Checksums:
    """The checksums of one process.

    Args:
        channel: the Redis channel whose messages are the ends of stretches.
        talk: how the Redis channels begin whose payloads are left out.
    """

    def __init__(self, channel: bytes, talk: bytes) -> None:
        self._channel = channel
        self._talk = talk
        self._ends: list[int] = []  # the numbers of the messages at which stretches end
        self._sums = bytearray()  # of each stretch
        self._sum: int | None = None  # of the stretch that has not ended; None before the first begins
        self._room = 0

    def take(self, messages: Sequence[Push], first: int) -> bool:
        """Add the messages of a batch to the checksums; first is the number of its first message.

        Returns:
            Whether the next batch is to be given, too, although processes do not talk in it.
        """
        total, room = self._sum, self._room
        for number, (_, _, channel, payload) in enumerate(messages, first):
            if channel == self._channel:
                if total is not None:
                    self._end(number, total)
                total, room = 0, ROOM_BYTES
            elif total is not None and room > 0:
                if channel.startswith(self._talk):
                    payload = b""
                total = crc32(payload[:ROOM_BYTES], crc32(channel, total))
                room -= MESSAGE_BYTES + len(payload)
        self._sum, self._room = total, room
        return room > 0

    def _end(self, number: int, total: int) -> None:
        self._ends.append(number)
        self._sums += total.to_bytes(_SUM_BYTES)
        if len(self._ends) > MAX_STRETCHES:
            too_many = MAX_STRETCHES // 2
            del self._ends[:too_many], self._sums[: too_many * _SUM_BYTES]

    def forget(self) -> None:
        """Begin anew: messages are missing before the next one."""
        self._ends.clear()
        self._sums.clear()
        self._sum, self._room = None, 0

    def agree(self, number: int, after: int, theirs: Checksum | None) -> bool:
        """Tell whether another process heard the same up to a message, as far as both remember; as upto()."""
        own = None if theirs is None else self.upto(number, after, theirs.stretches)
        return own is None or theirs is None or own == theirs or own.stretches != theirs.stretches

    def upto(self, number: int, after: int, most: int = MOST_STRETCHES) -> Checksum | None:
        """Return the checksum of the stretches up to a message; None when it is no end of any that is remembered.

        Args:
            number: of the message.
            after: stretches that end at the message of this number or before it are left out.
            most: no more stretches than so many.
        """
        end = bisect_right(self._ends, number)
        start = max(end - most, bisect_right(self._ends, after), 0)
        if start >= end or self._ends[end - 1] != number:
            return None
        return Checksum(end - start, crc32(self._sums[start * _SUM_BYTES : end * _SUM_BYTES]))
