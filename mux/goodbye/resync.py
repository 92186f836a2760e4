"""Have clients come back after a gap, so that they fetch what they missed from wherever they get it.

A plain WebSocket client has no way to hear that messages may have been missed, but every client knows what
to do when its connection is closed with 1012 (service restart): come back after a while, and read the state
anew. They are told in batches, for they come back as they went.
"""

from __future__ import annotations

import asyncio
import logging
from random import Random

from websockets.frames import CloseCode

from mux.goodbye.spread import spread
from mux.hub.hub import Hub

logger = logging.getLogger("mux.goodbye.resync")


class Resync:
    """Closes the clients of a process, as often as there is a gap.

    Args:
        hub: whose clients.
        seconds: over how long they are told; 0 tells all at once.
    """

    def __init__(self, hub: Hub, *, seconds: float) -> None:
        self._hub = hub
        self._seconds = seconds
        self._dice = Random()  # noqa: S311 - nothing is kept secret by it
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Close everybody who is connected now; a round that has not ended is taken up into this one."""
        if self._task is not None:
            self._task.cancel()
        self._task = asyncio.create_task(self._run(), name="mux-resync")
        self._task.add_done_callback(_log_failure)

    async def aclose(self) -> None:
        """Stop, wherever it is."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        for due, batch in spread(self._hub.open_connections(), self._seconds, self._dice):
            await asyncio.sleep(due - (loop.time() - began))
            for client in batch:
                client.endpoint.close(client, CloseCode.SERVICE_RESTART, "messages may have been missed: read anew")


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("not every client was told that messages may have been missed", exc_info=error)
