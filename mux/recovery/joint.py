"""Find what several channels had, in the order of all messages, for one client that is owed it.

The journal is gone through once, from the oldest segment that matters to the newest, whatever the number of channels.
What is found in one is returned at a time, so that no turn of the loop has more to do than a segment takes.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from math import inf
from operator import itemgetter
from time import perf_counter

from mux.journal.segment import Segment
from mux.recovery.history import History, Query
from mux.wire.channel import is_wildcard
from mux.wire.publication import JOINED, LEFT, Matched, Publication, matched

MESSAGES_TOGETHER = 512
"""Most messages that are returned at a time: with a thousand channels, three milliseconds until they are written."""

SLICES_PER_TURN = 12
"""Most slices of the journal that are parsed in one turn of the loop: three milliseconds."""

_NUMBER = itemgetter(2)


class JointReplay:
    """The messages of several channels after some number of each.

    Args:
        history: what there is.
        channels: their full names in Redis, and wildcards. All that comes after this moment is owed of each.
    """

    def __init__(self, history: History, channels: Iterable[bytes]) -> None:
        self._history = history
        self.now = history.last
        """The number of the last message before this moment."""
        self._after: dict[bytes, float] = dict.fromkeys(channels, history.last)
        self._done: float = history.last  # up to here everything was returned
        self._is_proven = True
        self._slices = 0
        self._window = MESSAGES_TOGETHER

    @property
    def channels(self) -> int:
        """The number of channels."""
        return len(self._after)

    async def begin(self, query: Query) -> tuple[str, list[bytes]]:
        """Begin earlier, where a query says.

        Returns:
            Why not all of it can be returned, in a word, and of which channels; nothing when all of it can.
        """
        why, missed = "", list[bytes]()
        if query.since:
            why, missed = await self._begin_at(query.since)
        else:
            journal, is_timed = self._history.journal, query.seconds < inf
            after = journal.last_before(perf_counter() - query.seconds) if is_timed else -inf
            self._after = dict.fromkeys(self._after, min(after, self.now))
            self._is_proven = False
        if query.last < inf:
            await self._keep_last(int(query.last))
        self._done = min(self._after.values())
        return why, missed

    async def _begin_at(self, since: str) -> tuple[str, list[bytes]]:
        history, why = self._history, ""
        number = await history.number_of(since)
        missed = list(self._after)
        if isinstance(number, int):
            missed = [channel for channel in missed if (word := history.refusal(channel, number)) and (why := word)]
            self._after |= dict.fromkeys(self._after.keys() - set(missed), number)
        else:
            why = number
        if len(missed) < len(self._after):
            history.journal.resumed += 1
        else:
            history.journal.refused[why] += 1
        return why, missed

    async def _keep_last(self, most: int) -> None:
        """Begin later, so that no more than so many messages of each channel came before now, and all that come.

        Announcements are not counted.
        """
        left = dict.fromkeys(self._after, most)
        upto = self.now
        while left:
            await asyncio.sleep(0)
            async with self._history.turn:
                segment = next((one for one in self._history.journal.segments() if one.first <= upto), None)
                if segment is None or segment.last <= min(self._after[channel] for channel in left):
                    return
                for channel in list(left):
                    found = await self._messages(segment, channel)
                    messages = [one for one in found if one[1] not in (JOINED, LEFT)]
                    end = bisect_right(messages, self.now, key=_NUMBER)
                    if end >= left[channel]:
                        first = messages[end - left[channel]][2] if left[channel] else self.now + 1
                        self._after[channel] = max(self._after[channel], first - 1)
                        del left[channel]
                    else:
                        left[channel] -= end
                upto = segment.first - 1

    async def next(self) -> tuple[Sequence[Matched], bool] | None:
        """Return the next messages, and whether they are all up to this turn of the loop.

        None when not all of it is kept any more.
        """
        history, journal = self._history, self._history.journal
        await asyncio.sleep(0)
        async with history.turn:
            if not self._is_proven:
                self._is_proven, self._done = True, max(self._done, journal.kept_after)
            if self._done < journal.kept_after and any(
                history.refusal(channel, max(after, self._done)) for channel, after in self._after.items()
            ):
                return None
            journal.asked(perf_counter())
            segments = [segment for segment in journal.segments() if segment.last > self._done]
            if not segments:
                return (), True
            segment = segments[-1]
            before = self._slices
            await self._messages(segment, next(iter(self._after)))
            if self._slices > before:
                await asyncio.sleep(0)
            upto = journal.last if segment is journal.newest else segment.last
            # Numbers count the messages of all channels. So few of them are looked at, and more when little is found.
            upto = min(upto, int(max(self._done, segment.first - 1)) + self._window)
            found = await self._found(segment, upto)
            if len(found) > MESSAGES_TOGETHER:
                del found[MESSAGES_TOGETHER:]
                upto = found[-1][2]
                self._window = MESSAGES_TOGETHER
            else:
                self._window *= 2
            self._done = upto
            return found, upto == journal.last

    async def _messages(self, segment: Segment, channel: bytes) -> Sequence[Publication]:
        """Return what a segment has of a channel, or for a wildcard, and has parsed in this turn of the loop."""
        journal = self._history.journal
        while not segment.parse(channel, is_growing=segment is journal.newest, is_channel=journal.is_channel):
            journal.asked(perf_counter())
            self._slices += 1
            if not self._slices % SLICES_PER_TURN:
                await asyncio.sleep(0)
        return segment.messages(channel)

    async def _found(self, segment: Segment, upto: int) -> list[Matched]:
        """Return what a segment has of all channels, up to a number."""
        found: dict[int, Matched] = {}
        for channel, after in self._after.items():
            messages = await self._messages(segment, channel)
            if messages:
                start, end = (bisect_right(messages, number, key=_NUMBER) for number in (max(after, self._done), upto))
                some = messages[start:end]
                own = matched(some) if is_wildcard(channel) else [(*one, channel) for one in some]
                found |= {one[2]: one for one in own}
        return [found[number] for number in sorted(found)]
