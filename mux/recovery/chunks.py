"""The pieces in which a journal travels from one process to another: what they say, and what is made of them.

A chunk is some reads in a row, with when each came and how many messages it completed. It says whether it begins where
a message does. The last one may end inside a message: what there is of it is of no use, and does no harm.

What came is not trusted: it is parsed before it is used, in slices that do not hold the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import orjson

from mux.errors import BrokerGarbled
from mux.journal.journal import Journal
from mux.journal.segment import SLICE_BYTES, Segment
from mux.wire.position import MAX_NUMBER
from mux.wire.resp import Push, RespReader

CHUNK_BYTES = 256 * 1024
"""A chunk is closed when it has as many bytes; a single larger read is a chunk of its own."""

CHUNK_READS = 2048
"""A chunk is closed when it has as many reads: to take apart or put together so many takes two milliseconds."""

MAX_HEAD_BYTES = 128 * 1024
"""Most bytes of the head of a chunk that are believed in; that of 2,048 reads has a third of it at most."""


@dataclass(frozen=True, slots=True)
class Read:
    """One read of the holder."""

    data: bytes
    count: int
    at: float


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some reads in a row.

    Attributes:
        first: the number of the first message that they complete, in the common order.
        begins: whether they begin where a message does.
        reads: the reads.
    """

    first: int
    begins: bool
    reads: list[Read]

    def pack(self, now: float) -> bytes:
        """Return the bytes of the chunk; times become ages in seconds."""
        head = {
            "first": self.first,
            "begins": self.begins,
            "counts": [read.count for read in self.reads],
            "sizes": [len(read.data) for read in self.reads],
            "ages": [round(now - read.at, 3) for read in self.reads],
        }
        return b"\n".join((orjson.dumps(head), b"".join([read.data for read in self.reads])))

    @classmethod
    def unpack(cls, data: bytes, now: float) -> Chunk | None:
        """Return a chunk; None when the bytes are none."""
        head, _, body = data.partition(b"\n")
        if len(head) > MAX_HEAD_BYTES:
            return None
        try:
            said = orjson.loads(head)
            first, begins = said["first"], said["begins"]
            columns = list(zip(said["counts"], said["sizes"], said["ages"], strict=True))
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            return None
        reads: list[Read] = []
        start = 0
        for count, size, age in columns:
            if not (_is_count(count) and _is_count(size) and isinstance(age, (int, float))):
                return None
            reads.append(Read(body[start : start + size], count, now - max(0.0, float(age))))
            start += size
        if start != len(body) or len(reads) > CHUNK_READS or not _is_count(first) or not isinstance(begins, bool):
            return None
        return cls(first, begins, reads)


def chunks_of(journal: Journal, base: int, after: int) -> Iterator[Chunk]:
    """Return what the journal has after a number, without a hole, from the segment on in which the next one is.

    The segments are those of now; each is taken apart when it is asked for, so that no turn of the loop has all of it.
    """
    after = max(after, journal.kept_after + base)
    for segment in reversed(journal.segments()):
        if segment.last + base > after and segment.size:
            yield from _pieces(segment, base)


def _pieces(segment: Segment, base: int) -> list[Chunk]:
    chunks: list[Chunk] = []
    reads: list[Read] = []
    first, count, size, begins = segment.first, 0, 0, True
    for data, completed, at in segment.reads():
        reads.append(Read(data, completed, at))
        count += completed
        size += len(data)
        if size >= CHUNK_BYTES or len(reads) >= CHUNK_READS:
            chunks.append(Chunk(first + base, begins, reads))
            first, count, size, begins, reads = first + count, 0, 0, False, []
    if reads:
        chunks.append(Chunk(first + base, begins, reads))
    return chunks


async def messages_of(chunks: list[Chunk], after: int, upto: int) -> list[Push] | None:
    """Return the messages of a copy from one number to another, in order; None when it does not have them all.

    Args:
        chunks: a copy.
        after: the messages after this number,
        upto: and up to this one.
    """
    found: list[Push] = []
    async for number, messages in _parsed(chunks):
        if number is None:
            return None
        if number > after + 1 + len(found) and number <= upto:
            return None
        start = max(0, after + 1 + len(found) - number)
        found += messages[start : max(0, upto + 1 - number)]
    return found if len(found) == upto - after else None


async def segments_of(chunks: list[Chunk], base: int, before: int) -> list[Segment]:
    """Return the segments of a copy, without a hole between them or after them; none when it is not whole.

    Args:
        chunks: a copy.
        base: what is to be taken from numbers of the common order to get those of the journal that is added to.
        before: the first number, of the journal, that is not wanted; the copy must reach it.
    """
    if not chunks or not chunks[0].begins or not _is_continuous(chunks):
        return []
    async for number, _ in _parsed(chunks):
        if number is None:
            return []
    segments: list[Segment] = []
    for chunk in chunks:
        if chunk.begins:
            segments.append(Segment(chunk.first - base))
        for read in chunk.reads:
            segments[-1].append(read.data, read.count, read.at)
        await asyncio.sleep(0)
    for segment, following in pairwise(segments):
        segment.cut_after(following.first - 1)
    while segments and segments[-1].first >= before:
        segments.pop()
    if not segments or segments[-1].last < before - 1:
        return []
    segments[-1].cut_after(before - 1)
    return segments


def _is_continuous(chunks: list[Chunk]) -> bool:
    """Tell whether no message is missing between chunks; those that begin may have the end of what is before them."""
    for chunk, following in pairwise(chunks):
        end = chunk.first + sum(read.count for read in chunk.reads)
        if end < following.first or (end > following.first and not following.begins):
            return False
    return True


async def _parsed(chunks: list[Chunk]) -> AsyncIterator[tuple[int | None, list[Push]]]:
    """Parse a copy in slices; with each, return the number of its first message, or None when the copy is garbled."""
    reader = RespReader()
    for chunk in chunks:
        if chunk.begins:
            reader = RespReader()
        number = chunk.first
        for read in chunk.reads:
            count = 0
            for start in range(0, len(read.data), SLICE_BYTES):
                try:
                    messages, _ = reader.feed(read.data[start : start + SLICE_BYTES])
                except BrokerGarbled:
                    yield None, []
                    return
                count += len(messages)
                if not all(map(_is_message, messages)):
                    yield None, []
                    return
                yield number, messages
                number += len(messages)
            if count != read.count:
                yield None, []
                return
        await asyncio.sleep(0)


def _is_message(push: Sequence[object]) -> bool:
    if len(push) != 4:
        return False
    _, _, channel, payload = push
    return isinstance(channel, bytes) and isinstance(payload, bytes) and bool(channel)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_NUMBER
