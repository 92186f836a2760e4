"""A piece of the journal: reads from Redis that came one after another, and how they are parsed again.

A segment begins where a message begins, so it can be parsed alone. It keeps the bytes of each read as they came, which
costs one reference for each read; parsed messages would cost four objects each, and the garbage collector would visit
all of them.

Rules:

1. A lookup in a segment that is not parsed is a search for the name of the channel in its bytes. A segment in which the
   name stands is parsed, and so is one that was searched SEARCHES times; from then on a lookup is a dict lookup.
2. Nothing here works on more than SLICE_BYTES at once: parse() says whether more is to be done.
3. A parsed segment takes about three times the memory of its bytes. forget() drops what was parsed.
4. What was parsed of a segment that grows no more is kept in tuples: the garbage collector visits them once, and lists
   again and again, which takes 9 ms for 500,000 messages.
5. For a wildcard all messages of the segment are parsed once more, into one sequence in their order, and those that
   match are picked from it. So any number of wildcards costs one parse, and nothing has to be sorted.

Pure: bytes in, values out.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from typing import cast

from mux.wire.channel import LAST_MARK, is_wildcard
from mux.wire.publication import GUESS, Matched, Publication, opened
from mux.wire.resp import Push, RespReader, encode_push

SLICE_BYTES = 16 * 1024
"""Most bytes that are parsed at once: about a quarter of a millisecond of work with messages of 100 bytes."""

READ_COST = 192
"""A read takes as long to parse as so many bytes more than it has."""

SEARCHED_BYTES = 1024 * 1024
"""A segment of more bytes is parsed and not searched: a search of it takes milliseconds, and has no slices."""

SEARCHES = 2
"""A segment is parsed when it is asked for the next channel after so many."""

PICKED_MESSAGES = 500
"""Most messages of which those that match a wildcard are picked at once: a fifth of a millisecond."""

MAX_WILDCARDS = 16
"""Most wildcards for which it is kept what matches them."""


_NUMBER = itemgetter(2)


class _Parse:
    """A parse of reads, as far as it has come."""

    __slots__ = ("_count", "_reader", "_reads", "_start")

    def __init__(self) -> None:
        self._reader = RespReader()
        self._reads = self._start = self._count = 0  # whole reads, bytes of the next read, and messages

    def go_on(self, reads: Sequence[bytes], first: int, add: Callable[[Iterable[Push], int], None]) -> bool:
        """Parse a slice of the reads; return True when there is no more.

        Args:
            reads: all of them; there may be more than before.
            first: the number of the first message in them.
            add: is called with messages, and the number of the first of them.
        """
        left = SLICE_BYTES
        while left > 0 and self._reads < len(reads):
            read, start = reads[self._reads], self._start
            piece = read if len(read) <= left and not start else read[start : start + left]
            messages, _ = self._reader.feed(piece)
            add(messages, first + self._count)
            self._count += len(messages)
            left -= len(piece) + READ_COST
            self._start += len(piece)
            if self._start >= len(read):
                self._reads, self._start = self._reads + 1, 0
        return self._reads == len(reads)


class Segment:
    """Some reads, and the messages that they completed.

    Args:
        first: the number of the first message.
    """

    __slots__ = (
        "_counts",
        "_ends",
        "_index",
        "_limit",
        "_matches",
        "_ordered",
        "_ordering",
        "_parse",
        "_reads",
        "_searches",
        "_settled",
        "_times",
        "count",
        "first",
        "has_talk",
        "size",
    )

    def __init__(self, first: int) -> None:
        self.first = first
        self._limit: int | None = None
        self.count = 0
        """The number of messages in the segment."""
        self.size = 0
        """The size of the segment in bytes."""
        self.has_talk = False
        """True if processes talk to each other in the reads since a message last ended where a read ended."""
        self._reads: list[bytes] = []
        self._counts: list[int] = []
        self._ends: list[int] = []  # how many messages the reads up to each have completed, as far as it was asked for
        self._times: list[float] = []
        self._searches = 0
        self.forget()

    @property
    def last(self) -> int:
        """The number of the last message; first - 1 when there is none."""
        last = self.first + self.count - 1
        return last if self._limit is None else min(last, self._limit - 1)

    @property
    def began_at(self) -> float | None:
        """The time of the first read; None when there is no read."""
        return self._times[0] if self._times else None

    @property
    def ended_at(self) -> float:
        """The time of the last read, in a segment that has one."""
        return self._times[-1]

    def count_of(self, reads: int) -> int:
        """Return how many messages the last reads completed."""
        return sum(self._counts[-reads:])

    def append(self, read: bytes, count: int, now: float) -> None:
        """Keep a read that completed count messages."""
        self._reads.append(read)
        self._counts.append(count)
        self._times.append(now)
        self.count += count
        self.size += len(read)

    def reads(self) -> Iterator[tuple[bytes, int, float]]:
        """Return each read, how many messages it completed, and when it came."""
        return zip(self._reads, self._counts, self._times, strict=True)

    def cut_after(self, number: int) -> None:
        """Take the messages after a number for not being here: another segment has them."""
        self._limit = number + 1

    def strip(self, reads: int, is_empty: bytes) -> None:
        """Replace the last reads by one with the same messages, and no payload in those of some channels.

        The reads begin and end where a message does. All their messages have the time of the last of them from then on.

        Args:
            reads: how many reads.
            is_empty: how the Redis channels begin that lose their payloads.
        """
        messages, _ = RespReader().feed(b"".join(self._reads[-reads:]))
        stripped = b"".join(
            [
                encode_push(channel, b"" if channel.startswith(is_empty) else payload)
                for _, _, channel, payload in messages
            ]
        )
        count, now = self.count_of(reads), self._times[-1]
        for kept in self._reads, self._counts, self._times:
            del kept[-reads:]
        del self._ends[len(self._counts) :]
        self.count -= count
        self.size = sum(map(len, self._reads))
        self.forget()
        self.append(stripped, count, now)

    @property
    def is_parsed(self) -> bool:
        """True if a part of the segment is parsed."""
        return self._parse is not None or self._ordering is not None

    def forget(self) -> None:
        """Drop everything that was parsed."""
        self._index: dict[bytes, list[Publication]] = {}
        self._settled: dict[bytes, tuple[Publication, ...]] | None = None
        self._parse: _Parse | None = None
        # All messages in their order, and of these by the wildcard what matches, with how many were looked at.
        self._ordered: Sequence[Matched] = []
        self._ordering: _Parse | None = None
        self._matches: dict[bytes, tuple[Sequence[Matched], int]] = {}

    def parse(
        self,
        channel: bytes,
        *,
        is_growing: bool = False,
        is_channel: Callable[[bytes], bool] = lambda channel: True,
    ) -> bool:
        """Do a slice of the work that it takes to look a channel up; return True when there is no more.

        Args:
            channel: its full name in Redis, or a wildcard.
            is_growing: whether reads are still to come, which a search now would not find.
            is_channel: tells whether clients can name a Redis channel; a wildcard hears no other.
        """
        if is_wildcard(channel):
            return self._pick(channel, is_growing=is_growing, is_channel=is_channel)
        if self._parse is None:
            if self._is_absent(channel, is_growing=is_growing):
                return True
            self._parse = _Parse()
        is_done = self._parse.go_on(self._reads, self.first, self._add)
        if is_done and not is_growing and self._settled is None:
            self._settled = {name: tuple(found) for name, found in self._index.items()}
            self._index = {}
        return is_done

    def _is_absent(self, name: bytes, *, is_growing: bool) -> bool:
        """Search for the beginning of a name, if that is quicker than to parse all; return True if it is not there."""
        self._searches += 1
        is_searched = not is_growing and self._searches <= SEARCHES and self.size <= SEARCHED_BYTES
        # One name may stand in two reads, half in each.
        return is_searched and name not in b"".join(self._reads)

    def _pick(self, wildcard: bytes, *, is_growing: bool, is_channel: Callable[[bytes], bool]) -> bool:
        """Do a slice of the work for a wildcard, as parse()."""
        stem = wildcard[:-1]
        if self._ordering is None:
            if self._is_absent(stem, is_growing=is_growing):
                return True
            self._ordering = _Parse()
        if isinstance(self._ordered, list):
            if not self._ordering.go_on(self._reads, self.first, self._append):
                return False
            if not is_growing:
                self._ordered = tuple(self._ordered)
        if wildcard not in self._matches and len(self._matches) >= MAX_WILDCARDS:
            self._matches.clear()
        found, start = self._matches.get(wildcard, ([], 0))
        some = self._ordered[start : start + PICKED_MESSAGES]
        if isinstance(found, list):
            found += [one for one in some if one[3].startswith(stem) and is_channel(one[3])]
            if not some and not is_growing:
                found = tuple(found)
        self._matches[wildcard] = found, start + len(some)
        return not some

    def messages(self, channel: bytes) -> Sequence[Publication]:
        """Return the messages of a channel, in order, when parse() has said that there is no more to do; not a copy.

        Those of a wildcard are Matched.
        """
        found: Sequence[Publication]
        if is_wildcard(channel):
            found = cast("Sequence[Publication]", self._matches.get(channel, ((), 0))[0])
        else:
            found = self._index.get(channel, ()) if self._settled is None else self._settled.get(channel, ())
        return found if self._limit is None else found[: bisect_left(found, self._limit, key=_NUMBER)]

    def last_before(self, at: float) -> int:
        """Return the number of the last message that came before a time; first - 1 when none did."""
        return self.first - 1 + sum(self._counts[: bisect_left(self._times, at)])

    def time_of(self, number: int) -> float:
        """Return when the message of a number came."""
        ends = self._ends
        for count in self._counts[len(ends) :]:
            ends.append(count + (ends[-1] if ends else 0))
        return self._times[bisect_right(ends, number - self.first)]

    def _add(self, messages: Iterable[Push], first: int) -> None:
        index = self._index
        for number, (_, _, channel, payload) in enumerate(messages, first):
            kind = GUESS
            if channel[-1] <= LAST_MARK:
                payload, kind = opened(payload, channel[-1])
                channel = channel[:-1]
            found = index.get(channel)
            if found is None:
                index[channel] = [(payload, kind, number)]
            else:
                found.append((payload, kind, number))

    def _append(self, messages: Iterable[Push], first: int) -> None:
        assert isinstance(self._ordered, list), "a segment that is settled is not parsed again"
        for number, (_, _, channel, payload) in enumerate(messages, first):
            if channel[-1] <= LAST_MARK:
                self._ordered.append((*opened(payload, channel[-1]), number, channel[:-1]))
            else:
                self._ordered.append((payload, GUESS, number, channel))
