"""Find a page of what a channel had, for those who look through its past.

An offset is the number of a message in the common order of all channels, so the offsets of one channel grow and have
holes; the next page begins at the last offset of the one before. Announcements are in no page.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import islice
from operator import itemgetter
from typing import NamedTuple

from mux.errors import Missed
from mux.recovery.history import NO_ORDER, OTHER_EPOCH, Found, History, Query
from mux.wire.position import Numbering, Position
from mux.wire.publication import JOINED, LEFT, Publication

FEW = 16
"""A search looks for twice as many messages as are wanted and this many more, as some are announcements."""


class Page(NamedTuple):
    """A question for a page."""

    limit: int
    """Most messages."""
    offset: int | None = None
    """The page begins after this offset; None begins at the end of all."""
    epoch: str = ""
    """The epoch of the offset; empty for the one of now."""
    is_reverse: bool = False
    """True when the newest message comes first."""


class FoundPage(NamedTuple):
    """The messages of a page, in the order that was asked for."""

    publications: Iterable[Publication]
    epoch: str
    base: int
    """The offset of a message is its number plus this."""
    offset: int
    """The offset of the channel's last message."""


async def page(history: History, order: Numbering, redis_channel: bytes, asked: Page) -> FoundPage:
    """Return what a channel had, in the turn in which it is true.

    Raises:
        Missed: it is not known any more, or there are no positions now.
    """
    since = asked.offset
    if since is not None and not asked.is_reverse:
        found = await history.find(redis_channel, Query(since=str(Position(asked.epoch or order.epoch, since))))
    elif since is None and (asked.is_reverse or not asked.limit):
        found = await _latest(history, redis_channel, asked.limit)
    else:
        found = await history.find(redis_channel, Query())
    epoch, base, last = order.epoch, order.base, order.base + history.last
    if not epoch:
        raise Missed(NO_ORDER)
    if found.missed or (since is not None and asked.epoch not in ("", epoch)):
        raise Missed(found.missed or OTHER_EPOCH)
    messages = found.publications
    latest = next(_said(reversed(messages)), None)
    if latest is not None:
        last = base + latest[2]
    elif since is not None and not asked.is_reverse:
        last = since
    if asked.is_reverse and since is not None:
        messages = messages[: bisect_left(messages, since - base, key=itemgetter(2))]
    said = islice(_said(reversed(messages) if asked.is_reverse else messages), asked.limit)
    return FoundPage(said, epoch, base, last)


async def latest(history: History, redis_channel: bytes, count: int) -> Found:
    """Return the latest messages of a channel, at most so many, in the turn in which it is true."""
    found = await _latest(history, redis_channel, count)
    return Found(list(_said(found.publications))[-count:])


async def _latest(history: History, redis_channel: bytes, count: int) -> Found:
    """Return the latest messages of a channel, which are found without looking at all that is kept."""
    most = 2 * count + FEW
    found = await history.find(redis_channel, Query(last=most))
    is_enough = len(found.publications) < most or len(list(_said(found.publications))) > count
    return found if is_enough else await history.find(redis_channel, Query())


def _said(messages: Iterable[Publication]) -> Iterator[Publication]:
    """Return the messages that somebody published, without announcements."""
    return (one for one in messages if one[1] not in (JOINED, LEFT))
