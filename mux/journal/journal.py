"""Keep the messages that came lately from Redis, bounded in bytes and seconds.

Every process hears every message of the prefix, so each can replay any channel from its own memory, whoever published,
and Redis does no work for it. Keeping a read costs one append for the read and nothing for a message.

    keep() ── reads ──► open segment ── at 512 KiB, where a message ends ──► closed segments ── oldest first ──► dropped

Rules:

1. Messages have numbers: 1, 2, 3 … in the order in which this process heard them. What clients are told is a position
   in the common order of all processes, which differs from the number by a constant (recovery.order).
2. A segment is closed only where a message ends, which is asked of a read only when a segment has come to its end: to
   know it costs half a microsecond. Under a torrent hardly any read ends there, so a segment may grow far beyond its
   usual size; one that outgrows the whole journal is dropped.
3. The talk of the fleet has numbers like every other message, but its payloads are taken out: with many processes and
   an open dashboard it would push the feed out of the journal.
4. What is missing is known. complete_after is the number after which every message was heard, up to the last.

Pure: the time is given, in seconds on any clock that does not go back.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable

from mux.journal.segment import Segment

SEGMENT_BYTES = 512 * 1024
"""A segment is closed when it has as many bytes. Smaller ones make a lookup in the whole journal slower, larger ones
keep messages longer than asked for."""

SEGMENTS = 8
"""A journal has so many segments at least, in bytes and in seconds: what is dropped at once is no larger part of it."""

STRIP_MESSAGES = 3000
"""Most messages that are parsed again to take payloads out of them, which takes three milliseconds."""

IDLE_SECONDS = 10.0
"""Seconds without a lookup after which everything that was parsed is dropped."""


DROPPED_TOGETHER = 8
"""Most segments that are dropped in one tick because they are too old, which takes half a millisecond."""


class Journal:
    """The latest messages of a process.

    Args:
        max_bytes: most bytes that are kept; 0 keeps nothing.
        max_seconds: how long a message is kept at least, if the bytes suffice, and about as long at most.
        talk: how the Redis channels begin in which processes talk to each other.
        is_channel: tells whether clients can name a Redis channel.
    """

    __slots__ = (
        "_asked_at",
        "_is_due",
        "_is_torn",
        "_max_seconds",
        "_open",
        "_run",
        "_segment_bytes",
        "_segments",
        "_talk",
        "complete_after",
        "healed",
        "is_channel",
        "last",
        "max_bytes",
        "refused",
        "resumed",
        "size",
    )

    def __init__(
        self,
        *,
        max_bytes: int,
        max_seconds: float,
        talk: bytes,
        is_channel: Callable[[bytes], bool] = lambda channel: True,
    ) -> None:
        self.max_bytes = max_bytes if max_seconds else 0
        """Most bytes that are kept; 0 when nothing is."""
        self._max_seconds = max_seconds
        self._segment_bytes = min(SEGMENT_BYTES, max_bytes // SEGMENTS)
        self._is_due = False  # the open segment has been open for long enough
        self._talk = talk
        self.is_channel = is_channel
        self._segments: deque[Segment] = deque()
        self._open = Segment(1)
        self._run = 0  # reads of the open segment since a message ended where a read ended
        self._is_torn = False
        self._asked_at = 0.0
        self.last = 0
        """The number of the last message that was heard."""
        self.complete_after = 0
        """Every message after this number, up to the last, was heard; whether it is still kept is another question."""
        self.size = 0
        """The number of bytes that are kept."""
        self.healed = 0
        """The number of messages that were missed here and came from the journal of another process."""
        self.resumed = 0
        """The number of clients that have resumed at their position."""
        self.refused: Counter[str] = Counter()
        """The number of clients that could not resume, by the reason."""

    @property
    def is_on(self) -> bool:
        """True unless the journal has no room for any byte."""
        return self.max_bytes > 0

    @property
    def kept_after(self) -> int:
        """All messages after this number are in the journal, without a hole, up to the last."""
        oldest = self._segments[0] if self._segments else self._open
        return self.last if self._is_torn or not self.is_on else max(self.complete_after, oldest.first - 1)

    def oldest_at(self) -> float | None:
        """Return when the oldest read came that is kept; None when there is none."""
        oldest = self._segments[0] if self._segments else self._open
        return oldest.began_at

    def seconds(self, now: float) -> float:
        """Return how far back the journal goes; 0 when it is empty."""
        oldest = self.oldest_at()
        return 0.0 if oldest is None else max(0.0, now - oldest)

    def keep(self, read: bytes, count: int, now: float, *, is_whole: bool, has_talk: bool) -> bool:
        """Keep a read, after its messages were delivered.

        Args:
            read: the bytes.
            count: how many messages they completed.
            now: when they came.
            is_whole: whether a message is known to end where the read ends.
            has_talk: whether processes talk to each other in it.

        Returns:
            Whether it is to be found out of the next read where it ends, for this segment has come to its end.
        """
        self.last += count
        if not self.max_bytes:
            return False
        if self._is_torn:
            # Its first bytes are the end of a message whose beginning was dropped.
            self._is_torn = not is_whole
            self._open.first = self.last + 1
            return self._is_torn
        segment = self._open
        segment.append(read, count, now)
        self._run += 1
        self.size += len(read)
        if has_talk:
            segment.has_talk = True
        if is_whole:
            self._end_run()
            segment = self._open
        if self.size > self.max_bytes:
            self._trim()
        return segment.size >= self._segment_bytes or segment.has_talk or self._is_due or self._is_torn

    def _end_run(self) -> None:
        """Take note that a message ends where the last read ends."""
        segment, run, self._run = self._open, self._run, 0
        if segment.has_talk:
            segment.has_talk = False
            before = segment.size
            if segment.count_of(run) <= STRIP_MESSAGES:
                segment.strip(run, self._talk)
            self.size += segment.size - before
        if segment.size >= self._segment_bytes or self._is_due:
            self._close()

    def _close(self) -> None:
        if self._open.size:
            self._segments.append(self._open)
        self._open = Segment(self.last + 1)
        self._run = 0
        self._is_due = False

    def cut(self) -> None:
        """Take note that the connection has ended: what comes next begins with a message."""
        self._close()
        self._is_torn = False

    def skip(self, missed: int) -> None:
        """Take note that messages were missed, and how many; between cut() and the next keep()."""
        self.last += missed
        self.complete_after = max(self.complete_after, self.last)
        self._open.first = self.last + 1

    def doubt(self, number: int) -> None:
        """Take note that a message may have been missed before the message of a number."""
        self.complete_after = max(self.complete_after, number)

    def restore(self, segments: list[Segment], before: int, complete_after: int) -> None:
        """Keep what another process has heard before this one did.

        Args:
            segments: the oldest first; the last one ends just before the message of the number `before`.
            before: the first number that is kept here; when that has been dropped meanwhile, nothing is restored.
            complete_after: the other process has heard every message after the one of this number.
        """
        if self.kept_after != before - 1 or not self.is_on:
            return
        self._segments.extendleft(reversed(segments))
        self.size += sum(segment.size for segment in segments)
        self.complete_after = max(complete_after, segments[0].first - 1)
        self._trim()

    def tick(self, now: float) -> None:
        """Drop what is too old, and what was parsed and is not asked for; to be called a few times a second.

        What was parsed is dropped of one segment at a time: that of some 4,000 messages takes half a millisecond.
        """
        for _ in range(DROPPED_TOGETHER):
            if self._segments and self._segments[0].ended_at < now - self._max_seconds:
                self.size -= self._segments.popleft().size
        if self._open.size and self._open.ended_at < now - self._max_seconds and not self._run:
            self.size -= self._open.size
            self._open = Segment(self.last + 1)
        began = self._open.began_at
        self._is_due = began is not None and began < now - self._max_seconds / SEGMENTS
        if now - self._asked_at > IDLE_SECONDS:
            parsed = next((segment for segment in self.segments() if segment.is_parsed), None)
            if parsed is not None:
                parsed.forget()

    def _trim(self) -> None:
        while self._segments and self.size > self.max_bytes:
            self.size -= self._segments.popleft().size
        if self.size > self.max_bytes:
            self._is_torn = self._run > 0
            self._open = Segment(self.last + 1)
            self._run = self.size = 0

    def last_before(self, at: float) -> int:
        """Return the number of the last message that came before a time, or one less than the first that is kept."""
        segment = self._open
        for segment in self.segments():
            if segment.began_at is not None and segment.began_at < at:
                break
        return segment.last_before(at)

    def time_of(self, number: int) -> float:
        """Return when the message of a number came that is kept."""
        for segment in self.segments():
            if segment.first <= number <= segment.last:
                return segment.time_of(number)
        raise ValueError(f"message {number} is not kept")

    def asked(self, now: float) -> None:
        """Take note that somebody looks something up."""
        self._asked_at = now

    @property
    def newest(self) -> Segment:
        """The segment that still grows."""
        return self._open

    def segments(self) -> list[Segment]:
        """Return the segments from the newest, which still grows, to the oldest."""
        return [self._open, *reversed(self._segments)]
