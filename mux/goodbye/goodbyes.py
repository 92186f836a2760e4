"""Send the clients of a process away: all of them before it stops, or so that they come back after a gap.

    drain      1001 to one batch after the other ──► wait for their answers ──► cut off the rest
    resync     1012 to one batch after the other

Clients that are sent away come back at once, to another process if there is one. Sent away together they would
arrive there together; so they go in batches (goodbye.spread), and a client is served until its batch is due. All
that waits to be sent to it goes out first.

Whoever made a Goodbyes ends it with aclose().
"""

from __future__ import annotations

import asyncio
import logging
from random import Random
from time import monotonic

from mux import reasons
from mux.goodbye.spread import spread
from mux.hub.hub import Hub
from mux.reasons import Reason

ANSWER_SECONDS = 2.5
"""The last clients that are told to go have so many seconds to read what waits for them, and to answer. The server
takes as long again for requests and for Redis: a stop lasts at most 5 s longer than the drain."""

CUT_SECONDS = 0.5
"""The event loop has so many seconds to report connections that were cut off; it needs a turn or two."""

logger = logging.getLogger("mux.goodbye")


class Goodbyes:
    """Sends the clients of one process away.

    Args:
        hub: has the clients.
        seconds: the time over which their batches are spread; 0 makes one batch of all.
        dice: decides which client is in which batch, and when each batch is due.
    """

    def __init__(self, hub: Hub, *, seconds: float, dice: Random | None = None) -> None:
        self._hub = hub
        self._seconds = seconds
        self._dice = dice or Random()  # noqa: S311 - nothing is kept secret by it
        self._draining: asyncio.Task[None] | None = None
        self._resyncing: asyncio.Task[None] | None = None

    async def drain(self) -> None:
        """Send every client away because the server leaves, and return when all are gone.

        Takes at most the drain's seconds and 3 s more. May be called again, also while it runs: the clients are sent
        away once, and cancelling a caller does not stop that.
        """
        if self._draining is None:
            self._draining = asyncio.create_task(self._drain(), name="mux-drain")
        task = self._draining
        await asyncio.wait((task,))  # it does not cancel what it waits for
        if not task.cancelled():
            task.result()

    def resync(self) -> None:
        """Begin to send away, because of a gap, every client connected now; a round that still runs ends for it."""
        if self._resyncing is not None:
            self._resyncing.cancel()
        self._resyncing = asyncio.create_task(self._tell_all(reasons.GAP), name="mux-resync")
        self._resyncing.add_done_callback(_log_failure)

    async def aclose(self) -> None:
        """Stop, without sending away those that are left."""
        tasks = [task for task in (self._draining, self._resyncing) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _drain(self) -> None:
        hub, began, total = self._hub, monotonic(), len(self._hub)
        gone = asyncio.Event()
        hub.on_empty = gone.set
        logger.info("draining: saying goodbye to %d clients over %g s", total, self._seconds)
        await self._tell_all(reasons.LEAVING, gone)
        if len(hub) and not await _within(ANSWER_SECONDS, gone):
            left = [*hub.open_connections(), *hub.closing_connections()]
            logger.warning("drain: cut off %d clients that did not say goodbye in %g s", len(left), ANSWER_SECONDS)
            for client in left:
                client.transport.abort()
            await _within(CUT_SECONDS, gone)
        logger.info("drained: %d clients in %.1f s", total, monotonic() - began)

    async def _tell_all(self, reason: Reason, gone: asyncio.Event | None = None) -> None:
        """Close every client connected now, batch after batch; stop early if all are gone."""
        gone, began = gone or asyncio.Event(), monotonic()
        for due, batch in spread(self._hub.open_connections(), self._seconds, self._dice):
            if await _within(due - (monotonic() - began), gone):
                break
            for client in batch:
                client.endpoint.close(client, reason)


async def _within(seconds: float, event: asyncio.Event) -> bool:
    """Wait for an event; return whether it came in time."""
    if seconds <= 0:
        return event.is_set()
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("not every client was told that messages may have been missed", exc_info=error)
