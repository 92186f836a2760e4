"""Empty a process of its clients before it stops.

    refuse newcomers ──► 1001 to one batch after the other ──► wait for goodbyes ──► cut off who is left

Clients that are told to go come back at once, to another process if there is one. Told all together they
would fall upon it together; so they are told in batches (hub.spread), and until a client's turn has come it
is served as ever. What waits to be sent to it goes out before the close frame.
"""

from __future__ import annotations

import asyncio
import logging
from random import Random
from time import monotonic

from websockets.frames import CloseCode

from mux.goodbye.spread import spread
from mux.hub.hub import Hub

GOODBYE_SECONDS = 2.5
"""How long the last ones told have to read what waits for them and to answer. With what the server takes after
it for requests and for Redis it is the 5 s that a stop may take beyond the drain."""

CUT_SECONDS = 0.5
"""How long the event loop may take to report connections that were cut off; it takes a turn or two."""

logger = logging.getLogger("mux.goodbye.drain")


class Drain:
    """The end of all clients of a process; it happens once.

    Args:
        hub: whose clients.
        seconds: over how long they are told; 0 tells all at once.
        dice: decides who is told when.
    """

    def __init__(self, hub: Hub, *, seconds: float, dice: Random | None = None) -> None:
        self._hub = hub
        self._seconds = seconds
        self._dice = dice or Random()  # noqa: S311 - nothing is kept secret by it
        self._task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Say goodbye to every client with 1001 (going away), and return when all are gone.

        Takes at most the drain's seconds and 3 s more. May be called again, also while it runs: it is done
        once, and whoever waits may be cancelled without ending it.
        """
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="mux-drain")
        task = self._task
        await asyncio.wait((task,))  # it does not cancel what it waits for
        if not task.cancelled():
            task.result()

    async def aclose(self) -> None:
        """Stop, wherever it is."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _run(self) -> None:
        hub, began = self._hub, monotonic()
        gone = asyncio.Event()
        hub.on_empty = gone.set
        total = len(hub)
        logger.info("draining: saying goodbye to %d clients over %g s", total, self._seconds)
        for due, batch in spread(hub.open_connections(), self._seconds, self._dice):
            # Whoever has left by itself meanwhile is not waited for.
            if await _within(due - (monotonic() - began), gone):
                break
            for client in batch:
                client.endpoint.close(client, CloseCode.GOING_AWAY, "the server is going away")
        if len(hub) and not await _within(GOODBYE_SECONDS, gone):
            cut = [*hub.open_connections(), *hub.closing_connections()]
            logger.warning("drain: cut off %d clients that did not say goodbye in %g s", len(cut), GOODBYE_SECONDS)
            for client in cut:
                client.transport.abort()
            await _within(CUT_SECONDS, gone)
        logger.info("drained: %d clients in %.1f s", total, monotonic() - began)


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
