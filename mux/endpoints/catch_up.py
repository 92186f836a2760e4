"""Give a client what it has missed, and let what comes now follow in order.

What is little is written at once, in the turn in which the client joins: nothing can come between. What is more than a
client may have waiting is written as the client takes it. It is a subscriber already, but what comes meanwhile is not
written for it; it is in the journal, and is looked up when the client is that far. So is all but the beginning of a
replay: a client that does not read keeps nothing in memory but that.

A client that reads more slowly than the journal forgets is ended, as a slow consumer. It knows its position.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias, TypeVar

from mux import reasons
from mux.endpoints.tasks import Tasks
from mux.hub.hub import Hub
from mux.hub.subscriber import AnySubscriber
from mux.recovery.history import Found, History
from mux.wire.publication import Encoder, Matched, Publication

AT_ONCE_BYTES = 256 * 1024
"""Most bytes of a replay that are written in one turn of the loop: less than may wait for a client by default."""

PIECE_BYTES = 64 * 1024
"""Bytes of a piece of a replay that is too long to be written at once."""

MESSAGE_BYTES = 64
"""Approximate bytes of memory that a message takes beside its payload."""

HELD_MESSAGES = 4096
"""Most messages of a replay that are held for a client; what follows is looked up when they are written."""


P = TypeVar("P", Publication, Matched)

Following: TypeAlias = Callable[[], Awaitable[tuple[Sequence[P], bool] | None]]
"""Returns the messages that follow those it has returned, and whether they are all up to this turn of the loop, or None
when not all of them are kept any more."""


class Owed(NamedTuple):
    """The messages that a client is given when it joins.

    Attributes:
        channel: the full name of its channel in Redis.
        asked: the position it has asked for; nothing when it asked for the last messages.
        found: what there is.
    """

    channel: bytes
    asked: str
    found: Found


class CatchUp:
    """Writes what clients are owed.

    Args:
        hub: where they are connected.
        history: what there is.
        max_pending_bytes: how much may wait for a client.
    """

    def __init__(self, hub: Hub, history: History, *, max_pending_bytes: int) -> None:
        self._hub = hub
        self._history = history
        self._at_once_bytes = min(AT_ONCE_BYTES, max_pending_bytes // 2)
        self._tasks = Tasks()

    def begin(self, client: AnySubscriber, owed: Owed, withhold: Encoder) -> None:
        """Write what a client is owed that joins in this turn, or begin to.

        Args:
            client: whose encoder says how.
            owed: what was found in this turn.
            withhold: an encoder that returns nothing, in the place of the client's until it has caught up.
        """
        publications = owed.found.publications
        if not publications:
            return
        if _is_little(publications, self._at_once_bytes):
            client.write(client.encode(owed.channel, publications))
            self._hub.evict_overflowing()
            return
        encode, client.encode = client.encode, withhold
        self.follow(
            client, owed.channel, publications, partial(encode, owed.channel), partial(encode_by, client, encode)
        )

    def is_little(self, client: AnySubscriber, publications: Sequence[Publication]) -> bool:
        """Tell whether publications may be written to a client at once, with what waits for it already."""
        return _is_little(publications, self._at_once_bytes - client.pending_bytes)

    def follow(
        self,
        client: AnySubscriber,
        channel: bytes,
        publications: Sequence[Publication],
        write_as: Callable[[Sequence[Publication]], bytes],
        release: Callable[[], None],
        is_wanted: Callable[[], bool] | None = None,
    ) -> None:
        """Begin to write to a client what a channel had; for the arguments see go_on().

        Args:
            client: joins the channel in this turn, and its encoder withholds what comes there.
            channel: its full name in Redis.
            publications: what was found in this turn.
            write_as: turns it into what is written.
            release: lets the encoder withhold nothing any more.
            is_wanted: tells whether to go on.
        """
        following = _Following(self._history, channel, publications[:HELD_MESSAGES])
        self._tasks.begin(self.go_on(client, write_as, release, following.next, is_wanted), "mux-catch-up")

    async def aclose(self) -> None:
        """End what is under way."""
        await self._tasks.aclose()

    async def go_on(
        self,
        client: AnySubscriber,
        write_as: Callable[[Sequence[P]], bytes],
        release: Callable[[], None],
        following: Following[P],
        is_wanted: Callable[[], bool] | None = None,
    ) -> None:
        """Write what a client is owed, as it takes it, until it has caught up.

        Args:
            client: its encoder is one that withholds.
            write_as: turns what it is owed into what it is written.
            release: lets its encoder withhold nothing any more.
            following: returns what it is owed.
            is_wanted: tells whether to go on; None is for as long as the client is there.
        """

        def is_there() -> bool:
            return self.is_there(client) and (is_wanted is None or is_wanted())

        while True:
            found = await following()
            if not is_there():
                return
            if found is None:
                self._hub.evict(client, reasons.OVERFLOW)
                return
            publications, is_all = found
            if is_all and _is_little(publications, self._at_once_bytes):
                self._hub.router.deliver_to(client)  # it is in what follows, and would be written twice
                release()
                if publications:
                    client.write(write_as(publications))
                    self._hub.evict_overflowing()
                return
            for piece in _pieces(publications):
                await self._until_writable(client, is_there)
                if not is_there():
                    return
                client.write(write_as(piece))
                await asyncio.sleep(0)
            found, publications = None, ()  # not while it is waited for the next

    def is_there(self, client: AnySubscriber) -> bool:
        """Tell whether a client still listens."""
        return self._hub.router.is_listening(client) and not client.transport.is_closing()

    async def _until_writable(self, client: AnySubscriber, is_there: Callable[[], bool]) -> None:
        while client.is_blocked and is_there():
            writable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._hub.when_writable(client, partial(_done, writable))
            await writable


class _Following:
    """The messages of one channel that follow each other; those that were found already come first."""

    def __init__(self, history: History, channel: bytes, first: Sequence[Publication]) -> None:
        self._history = history
        self._channel = channel
        self._first = first
        self._number = first[-1][2]

    async def next(self) -> tuple[Sequence[Publication], bool] | None:
        if self._first:
            first, self._first = self._first, ()
            return first, False
        found = await self._history.after(self._channel, self._number)
        if found is None:
            return None
        some = found[:HELD_MESSAGES]
        if some:
            self._number = some[-1][2]
        return some, len(some) == len(found)


def encode_by(client: AnySubscriber, encode: Encoder) -> None:
    """Give a client an encoder."""
    client.encode = encode


def withhold(channel: bytes, publications: Sequence[Publication]) -> bytes:
    """Return nothing, for a WebSocket client that is still given what came before."""
    return b""


def _is_little(publications: Sequence[P], limit_bytes: int) -> bool:
    rest = limit_bytes - MESSAGE_BYTES * len(publications)
    return rest >= 0 and sum(len(publication[0]) for publication in publications) <= rest


def _pieces(publications: Sequence[P]) -> Iterator[Sequence[P]]:
    start = size = 0
    for end, publication in enumerate(publications):
        size += len(publication[0]) + MESSAGE_BYTES
        if size >= PIECE_BYTES:
            yield publications[start : end + 1]
            start, size = end + 1, 0
    if start < len(publications):
        yield publications[start:]


def _done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
