"""Let SDK clients into channels that they have not asked for: those that a token names, and those of a backend.

A client knows such a channel from the reply to its `connect`. It is in the first of them while others are still looked
up, so what comes meanwhile is kept until the reply has been written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from math import inf
from time import time

import orjson

from mux import reasons
from mux.endpoints.membership import Membership
from mux.endpoints.request_checks import Permit
from mux.endpoints.sdk.failures import CommandFailed
from mux.endpoints.sdk.permits import check_here
from mux.endpoints.sdk.session import Early, SdkClient, SdkSession, use_encoder
from mux.endpoints.sdk.subscriptions import Subscriptions
from mux.endpoints.sdk.tokens import GRACE_SECONDS, told_end
from mux.endpoints.tasks import Tasks
from mux.errors import Refused
from mux.hub.hub import Hub
from mux.hub.subscriber import AnySubscriber
from mux.presence.act import Act
from mux.wire.channel import Namespace, check_subscription
from mux.wire.sdk.commands import Recovery, Subscribe
from mux.wire.sdk.encoder import frames
from mux.wire.sdk.replies import UNSUBSCRIBED, push, with_members

CHANNELS_PER_TURN = 64
"""A client is let into so many channels of its token in one turn of the loop, which takes less than a millisecond."""


class Served:
    """Lets clients into channels on behalf of the server.

    Args:
        hub: has the clients.
        subscriptions: lets them in.
        members: hold what clients may do.
        namespace: what channels are called in Redis.
    """

    def __init__(self, hub: Hub, subscriptions: Subscriptions, members: Membership, namespace: Namespace) -> None:
        self._hub = hub
        self._subscriptions = subscriptions
        self._permits = subscriptions.permits
        self._members = members
        self._tasks = Tasks()
        self._namespace = namespace

    async def enter_all(
        self,
        client: SdkClient,
        session: SdkSession,
        wanted: Mapping[str, bytes],
        known: Mapping[str, Recovery],
    ) -> bytes:
        """Let a client that connects into channels, and return what its reply says of them, as a JSON object.

        A channel that cannot be, or that the app does not allow, is left out.

        Args:
            client: connects.
            session: its state.
            wanted: the names, with JSON data for each.
            known: the positions that the client has in these channels.
        """
        early = self._begin_early(client, session)
        told: list[bytes] = []
        for number, (name, data) in enumerate(wanted.items(), 1):
            if number % CHANNELS_PER_TURN == 0:  # where nobody has to be asked, nothing else lets others have a turn
                await asyncio.sleep(0)
                check_here(client)
            recovery = known.get(name, Recovery())
            asked = Subscribe(name, recover=recovery.recover, offset=recovery.offset, epoch=recovery.epoch)
            try:
                body = await self._enter(client, session, asked)
            except (CommandFailed, Refused):
                check_here(client)
                continue
            more = b'"data":%b' % data if data else b""
            told.append(b"%b:%b" % (orjson.dumps(name), with_members(body, more)))
        asyncio.get_running_loop().call_soon(self._end_early, client, early)
        return b"{%b}" % b",".join(told)

    async def _enter(self, client: SdkClient, session: SdkSession, asked: Subscribe) -> bytes:
        """Let a client into a channel, in the turn in which this returns.

        Raises:
            CommandFailed: it is in the channel, or in too many.
            Refused: the app does not allow it, or no channel has this name.
        """
        redis_channel = self._namespace.redis_channel(check_subscription(asked.channel))
        permit = await self._permits.allowed(
            client, session, Permit(redis_channel, may_publish=False, grants=None), asked.channel
        )
        said = self._subscriptions.admit(client, session, asked, permit)
        body = said if isinstance(said, bytes) else await said
        session.served = session.served | {redis_channel}
        return body

    def _begin_early(self, client: SdkClient, session: SdkSession) -> Early:
        """Have what comes for a client wait for the reply to its `connect`."""
        early = session.early = Early()
        use_encoder(client, session)
        return early

    def _end_early(self, client: SdkClient, early: Early) -> None:
        """Write what waited for the reply of a client, which has been written."""
        session = client.session
        if session is None or session.early is not early:
            return
        self._hub.router.deliver_to(client)
        session.early = None
        use_encoder(client, session)
        if early.is_too_much:
            self._hub.evict(client, reasons.OVERFLOW)
            return
        client.write(b"".join(early.frames))
        for begin in early.begin:
            begin()
        self._hub.evict_overflowing()

    # What a backend does.

    def subscribe(self, client: AnySubscriber, act: Act) -> bool:
        """Begin to let a client into a channel; return False when it is in it, or is of another kind."""
        session, name = client.session, act.channel or ""
        if not isinstance(session, SdkSession) or not session.is_connected or self._permits.is_in(client, name):
            return False
        self._tasks.begin(self._begin(client, session, name, act), "mux-sdk-subscribe")
        return True

    async def _begin(self, client: SdkClient, session: SdkSession, name: str, act: Act) -> None:
        with suppress(CommandFailed, Refused):
            body = await self._enter(client, session, Subscribe(name))
            redis_channel = self._permits.redis_channel(name)
            self._subscriptions.terms.set(client, redis_channel, act.until or inf)
            more = b'"data":%b' % act.data.encode() if act.data else b""
            client.write(frames([push(orjson.dumps(name), "subscribe", with_members(body, more))]))

    def unsubscribe(self, client: AnySubscriber, name: str) -> bool:
        """Let a client out of a channel and tell it so; return False when it is of another kind."""
        if not isinstance(client.session, SdkSession):
            return False
        self._subscriptions.end(client, self._permits.redis_channel(name), UNSUBSCRIBED, "unsubscribed")
        return True

    def renew(self, client: AnySubscriber, until: float) -> bool:
        """Give the grants of a client of any kind a new end, and tell it so if it wants to know."""
        if not isinstance(client.session, SdkSession):
            return self._members.renew(client, until)
        is_over = until <= time()
        if not self._members.renew(client, until if is_over else until + GRACE_SECONDS):
            return False
        if not is_over:
            client.write(frames([b'{"push":{"refresh":{%b}}}' % told_end(until)]))
        return True

    async def aclose(self) -> None:
        """Let no further client in."""
        await self._tasks.aclose()
