"""Let a client join several channels, and give it what it has missed of all of them.

    join, some channels in each turn ──► what was missed, in the order of all messages ──► what comes

Until all are joined and the client has caught up, nothing that comes is written for it: it is in the journal, and is
found there with the rest. Without a journal it is written as it comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeAlias, cast

from mux.endpoints.catch_up import CatchUp, encode_by
from mux.endpoints.event_stream import EventStreamClient, EventStreamEndpoint
from mux.endpoints.past import Past
from mux.endpoints.request_checks import Permit
from mux.endpoints.tasks import Tasks
from mux.grants.grants import Grants
from mux.recovery.history import OFF, Query
from mux.recovery.joint import JointReplay
from mux.wire.publication import Encoder, Matched
from mux.wire.sse.encoder import Events, told
from mux.wire.sse.named import NamedEvents

JOINED_PER_TURN = 50
"""Most channels that one client joins in one turn of the loop: a millisecond where joining is announced."""

JoinOne: TypeAlias = Callable[[EventStreamClient, bytes, Grants | None], None]
"""Lets a client join one channel, with its grants."""


class Joining:
    """The joining of one process.

    Args:
        join: lets a client join one channel.
        events: withholds what comes, and tells what cannot be given.
        named: makes the events of messages.
        past: what there was before a client came; None when nothing is known of that.
        catch_up: writes what a client has missed; None when nothing is known of that.
    """

    def __init__(
        self, join: JoinOne, events: Events, named: NamedEvents, past: Past | None, catch_up: CatchUp | None
    ) -> None:
        self._join = join
        self._events = events
        self._named = named
        self._past = past
        self._catch_up = catch_up
        self._tasks = Tasks()

    async def aclose(self) -> None:
        """End what is under way."""
        await self._tasks.aclose()

    def begin(self, permits: Sequence[Permit], query: Query | None, client: EventStreamClient) -> None:
        """Let a client join some of its channels, and begin with the rest.

        Args:
            permits: its channels.
            query: what it wants of the past; None when it wants nothing.
            client: is connected.
        """
        channels, grants = [permit.redis_channel for permit in permits], _grants(permits)
        replay = None if self._past is None else JointReplay(self._past.history, channels)
        encode = client.encode
        if replay is not None and (query is not None or len(channels) > JOINED_PER_TURN):
            client.encode = self._events.withhold
        self._join_some(client, channels, grants)
        if channels or query is not None:
            self._tasks.begin(self._go_on(client, channels, grants, query, replay, encode), "mux-joining")

    def _join_some(self, client: EventStreamClient, channels: list[bytes], grants: Grants | None) -> None:
        for channel in channels[:JOINED_PER_TURN]:
            self._join(client, channel, grants)
        del channels[:JOINED_PER_TURN]

    async def _go_on(
        self,
        client: EventStreamClient,
        channels: list[bytes],
        grants: Grants | None,
        query: Query | None,
        replay: JointReplay | None,
        encode: Encoder,
    ) -> None:
        while channels:
            await asyncio.sleep(0)
            if not self._is_there(client):
                return
            self._join_some(client, channels, grants)
        if replay is None or self._catch_up is None:
            if query is not None and query.since:
                _write(client, self._events.missed(query.since, OFF, 0))
            return
        if query is not None:
            why, missed = await replay.begin(query)
            if why and self._is_there(client):
                _write(client, self._missed(query.since, why, missed, replay))
        await self._catch_up.go_on(
            client, partial(self._replayed, client), partial(encode_by, client, encode), replay.next
        )
        if query is not None and self._is_there(client):
            client.write(_endpoint(client).ping(client))  # it has caught up

    def _missed(self, since: str, why: str, missed: Sequence[bytes], replay: JointReplay) -> bytes:
        """Return the event that tells that not all of what some channels had can be given, or any had."""
        if len(missed) == replay.channels:
            return self._events.missed(since, why, replay.now)
        return told("missed", {"since": since, "reason": why, "channels": [*map(self._named.name, missed)]})

    def _replayed(self, client: EventStreamClient, found: Sequence[Matched]) -> bytes:
        """Return what a client is written of messages of several channels, which are in order."""
        return _endpoint(client).wrap(b"".join(self._named.encode_matched(found).values()))

    def _is_there(self, client: EventStreamClient) -> bool:
        return self._catch_up is None or self._catch_up.is_there(client)


def _grants(permits: Sequence[Permit]) -> Grants | None:
    """Return the rights of a client for as long as all of its permits hold; None when everything is open."""
    grants = permits[0].grants
    if grants is None:
        return None
    return replace(grants, until=min(permit.grants.until for permit in permits if permit.grants is not None))


def _endpoint(client: EventStreamClient) -> EventStreamEndpoint:
    return cast("EventStreamEndpoint", client.endpoint)


def _write(client: EventStreamClient, event: bytes) -> None:
    client.write(_endpoint(client).wrap(event))
