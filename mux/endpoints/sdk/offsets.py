"""Encode for SDK clients with offsets, and have those subscribe anew whose offsets are true no longer.

A client believes that it has everything up to the last offset that it was given. When that is not so, because of a gap
or because numbers begin anew, it is told that its subscriptions have ended, and subscribes anew with the last positions
that were true. Clients do so at once and all together; so they are told a few at a time (goodbye.spread).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

from mux.endpoints.past import Past
from mux.endpoints.sdk.session import SdkClient, SdkSession
from mux.endpoints.tasks import Tasks
from mux.goodbye.spread import spread
from mux.hub.hub import Hub
from mux.wire.channel import Namespace
from mux.wire.sdk.encoder import Pushes


class Offsets:
    """The encoders of SDK clients, which give offsets as long as these are true.

    Args:
        hub: has the clients.
        past: has the positions; None when there are none.
        namespace: what channels are called in Redis.
        seconds: the time over which clients are told to subscribe anew.
        resync: tells one so.
        dice: decides which client is told when.
    """

    def __init__(
        self,
        hub: Hub,
        past: Past | None,
        namespace: Namespace,
        *,
        seconds: float,
        resync: Callable[[SdkClient], None],
        dice: Random | None = None,
    ) -> None:
        self._hub = hub
        self._past = past
        self._namespace = namespace
        self._seconds = seconds
        self._resync = resync
        self._dice = dice or Random()  # noqa: S311 - nothing is kept secret by it
        self._tasks = Tasks()
        self._pushes = {has_offsets: self._new_pushes(has_offsets=has_offsets) for has_offsets in (False, True)}

    def _new_pushes(self, *, has_offsets: bool) -> Pushes:
        past = self._past
        return Pushes(
            self._namespace.channel,
            None if past is None or not has_offsets else past.numbering,
            self._hub.rewritten,
            on_encoded=_nothing if past is None else past.quiet.note,
            on_over=self._begin_resync,
        )

    @property
    def pushes(self) -> Pushes:
        """The encoder of subscriptions that begin now; it has no epoch while there are no positions."""
        has_offsets = self._past is not None and bool(self._past.numbering.epoch)
        if not self._pushes[has_offsets].is_true:
            self._pushes[has_offsets] = self._new_pushes(has_offsets=has_offsets)
        return self._pushes[has_offsets]

    async def aclose(self) -> None:
        """Tell no further client to subscribe anew."""
        await self._tasks.aclose()

    def doubt(self) -> None:
        """Give no offset any more to those who have subscribed so far, for a message may have been missed."""
        for pushes in self._pushes.values():
            pushes.end()

    def _begin_resync(self) -> None:
        self._tasks.begin(self._resync_all(), "mux-sdk-resync")

    async def _resync_all(self) -> None:
        """Tell all clients whose offsets are true no longer, a few at a time."""
        loop = asyncio.get_running_loop()
        began, clients = loop.time(), [client for client in self._hub.open_connections() if _is_over(client)]
        for due, batch in spread(clients, self._seconds, self._dice):
            await asyncio.sleep(max(0.0, began + due - loop.time()))
            for client in batch:
                if _is_over(client):
                    self._resync(client)
            self._hub.evict_overflowing()


def _is_over(client: object) -> bool:
    session = getattr(client, "session", None)
    return isinstance(session, SdkSession) and session.pushes.is_over


def _nothing(channel: bytes, number: int) -> None:
    """Do nothing."""
