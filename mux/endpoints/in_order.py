"""Write what comes for the clients of several channels in the order of all messages.

A router delivers one channel after the other, and a connection may break between two of them. A client that comes back
then has the position of its last message, so it must have been given every message before that, of whichever channel.

    router ──► the events of a channel, encoded once ──► a list for each client ──► all delivered: one write each

Clients of the same channels are written the very same bytes. A message that a client hears twice, by a name and by a
wildcard, is written once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, cast

from mux.endpoints.event_stream import EventStreamClient, EventStreamEndpoint
from mux.hub.router import Router
from mux.wire.publication import Encoder, Publication
from mux.wire.sse.named import NamedEvents

Batch: TypeAlias = dict[int, bytes]
"""Events by the numbers of their messages, in order."""


class InOrder:
    """The events that wait until a delivery is complete.

    Args:
        router: delivers.
        events: makes them.
    """

    def __init__(self, router: Router, events: NamedEvents) -> None:
        self._router = router
        self._events = events
        self._waiting: dict[EventStreamClient, list[Batch]] = {}
        self.encode: Encoder = self._take
        """The encoder of all such clients. It returns nothing: flush() writes."""

    def _take(self, channel: bytes, publications: Sequence[Publication]) -> bytes:
        batch = self._events.encode(channel, publications)
        for client in self._router.subscribers(channel):
            if client.encode is self.encode:
                self._waiting.setdefault(client, []).append(batch)
        return b""

    def flush(self) -> None:
        """Write what waits, to every client what is for it; to be called when the router has delivered everything."""
        waiting, self._waiting = self._waiting, {}
        written: dict[tuple[object, ...], bytes] = {}
        for client, batches in waiting.items():
            endpoint = cast("EventStreamEndpoint", client.endpoint)
            key = (endpoint, *map(id, batches))
            if key not in written:
                written[key] = endpoint.wrap(merged(batches))
            client.write(written[key])

    def settle(self, client: EventStreamClient) -> None:
        """Write what waits for a client, before something is said of its connection."""
        batches = self._waiting.pop(client, None)
        if batches:
            client.write(cast("EventStreamEndpoint", client.endpoint).wrap(merged(batches)))

    def forget(self, client: EventStreamClient) -> None:
        """Drop what waits for a client that is gone."""
        self._waiting.pop(client, None)


def merged(batches: Sequence[Batch]) -> bytes:
    """Return the events of several batches in the order of their numbers."""
    if len(batches) == 1:
        return b"".join(batches[0].values())
    events = {number: event for batch in batches for number, event in batch.items()}
    return b"".join([events[number] for number in sorted(events)])
