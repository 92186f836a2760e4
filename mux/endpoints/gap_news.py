"""Tell the clients of event streams that messages may have been missed, while their streams stay open.

All of them are told, a few in each turn of the loop. What is delivered meanwhile goes on: a client may be told of the
gap shortly after the first message that came behind it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from mux.broker.gap import Gap
from mux.endpoints.event_stream import EventStreamEndpoint
from mux.endpoints.tasks import Tasks
from mux.hub.hub import Hub
from mux.hub.subscriber import AnySubscriber

CLIENTS_PER_TURN = 200
"""Clients that are told in one turn of the loop: two milliseconds of writing to sockets."""


class GapNews:
    """Tells the clients of one process about gaps.

    Args:
        hub: has the clients.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._tasks = Tasks()

    def tell(self, gap: Gap) -> None:
        """Begin to tell every client of an event stream that is connected now."""
        self._tasks.begin(self._tell_all(self._hub.open_connections(), gap), "mux-gap-news")

    async def aclose(self) -> None:
        """Tell no further client."""
        await self._tasks.aclose()

    async def _tell_all(self, clients: Sequence[AnySubscriber], gap: Gap) -> None:
        for start in range(0, len(clients), CLIENTS_PER_TURN):
            for client in clients[start : start + CLIENTS_PER_TURN]:
                if isinstance(client.endpoint, EventStreamEndpoint):
                    client.endpoint.tell_gap(client, gap)
            self._hub.evict_overflowing()
            await asyncio.sleep(0)
