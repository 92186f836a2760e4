"""Let SDK clients into channels and out of them, each with its position in the common order.

A client may go on where it was: what came since is in the reply to its subscription, or follows it when that is much.
It knows its positions, so whenever they are true no longer, it subscribes anew (endpoints.sdk.offsets).
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection
from functools import partial
from random import Random
from typing import NamedTuple

import orjson

from mux import reasons
from mux.endpoints.catch_up import CatchUp, withhold
from mux.endpoints.latest import Latest
from mux.endpoints.membership import Membership
from mux.endpoints.past import Past
from mux.endpoints.request_checks import Permit, RequestChecks
from mux.endpoints.sdk.failures import CommandFailed
from mux.endpoints.sdk.offsets import Offsets
from mux.endpoints.sdk.permits import Permits, check_here
from mux.endpoints.sdk.session import (
    SdkClient,
    SdkSession,
    Unusual,
    divert,
    forget_unusual,
    restore,
    unusual_of,
    use_encoder,
)
from mux.endpoints.sdk.terms import Terms
from mux.endpoints.sdk.tokens import SUBSCRIBE, Tokens, check_owner, told_end
from mux.errors import InvalidChannel, Refused
from mux.grants.grants import Action
from mux.hub.hub import Hub
from mux.recovery.history import OFF, Found, Query
from mux.recovery.pages import latest
from mux.settings.settings import Settings
from mux.wire.channel import Namespace, check_subscription, is_wildcard
from mux.wire.publication import JOINED, LEFT, Publication
from mux.wire.sdk.commands import UNRECOVERABLE_IS_TOLD, Channel, Subscribe, options_of
from mux.wire.sdk.encoder import Pushes, frames
from mux.wire.sdk.replies import (
    ALREADY_SUBSCRIBED,
    BAD_REQUEST,
    EMPTY,
    INSUFFICIENT,
    LIMIT_EXCEEDED,
    SUBSCRIPTION_EXPIRED,
    UNRECOVERABLE,
    unsubscribed,
    with_members,
)

NULL = b"null"

MORE_FOLLOWS = b'"mux":{"more":true}'
"""Says in the reply to a subscription that what the client is owed follows as pushes; SDKs skip it."""


class Parts(NamedTuple):
    """The parts of a process that SDK clients need."""

    hub: Hub
    checks: RequestChecks
    members: Membership
    past: Past | None
    catch_up: CatchUp | None


class Subscriptions:
    """The subscriptions of the SDK clients of one process.

    Args:
        parts: what it works with.
        settings: prefix, max_channels_per_connection, drain_seconds and on_gap.
        dice: decides which client is told when to subscribe anew.
    """

    def __init__(self, parts: Parts, settings: Settings, dice: Random | None = None) -> None:
        self._hub = parts.hub
        self._checks = parts.checks
        self._members = parts.members
        self._past = parts.past
        self._catch_up = parts.catch_up
        self._namespace = Namespace(settings.prefix)
        self._max_channels = settings.max_channels_per_connection
        self.permits = Permits(parts.checks, parts.members, parts.hub.router, self._namespace)
        self.offsets = Offsets(
            parts.hub, parts.past, self._namespace, seconds=settings.drain_seconds, resync=self.resync, dice=dice
        )
        self.tokens = Tokens(parts.checks)
        self.terms = Terms(self._expire)
        self.latest = Latest(parts.hub, withhold, divert, restore)

    async def aclose(self) -> None:
        """Tell no further client to subscribe anew."""
        await self.offsets.aclose()

    def subscribe(
        self, client: SdkClient, session: SdkSession, number: int, asked: Subscribe
    ) -> bytes | Awaitable[bytes]:
        """Let a client into a channel."""
        if asked.tf and bytes(asked.tf) != NULL:
            raise CommandFailed(BAD_REQUEST)
        if asked.token and asked.channel and self._checks.takes_tokens:
            return self._admit_by_token(client, session, asked, asked.token)
        permit = self.permits.permit(client, asked.channel, Action.SUBSCRIBE)
        if isinstance(permit, Permit):
            return self.admit(client, session, asked, permit)
        return self._admit_later(client, session, asked, permit)

    async def _admit_by_token(self, client: SdkClient, session: SdkSession, asked: Subscribe, text: str) -> bytes:
        """Let a client into a channel by the token of this subscription, whatever that of the connection grants."""
        token = await self.tokens.check(text, session.address, SUBSCRIBE)
        check_here(client)
        check_owner(token, session, asked.channel)
        redis_channel = self._namespace.redis_channel(check_subscription(asked.channel))
        permit = Permit(redis_channel, may_publish=False, grants=None)
        permit = await self.permits.allowed(client, session, permit, asked.channel)
        said = self.admit(client, session, asked, permit)
        body = said if isinstance(said, bytes) else await said
        self.terms.set(client, redis_channel, token.claims.ends)
        return with_members(body, told_end(token.claims.ends))

    async def _admit_later(
        self, client: SdkClient, session: SdkSession, asked: Subscribe, permit: Awaitable[Permit]
    ) -> bytes:
        said = self.admit(client, session, asked, await self.permits.left_by_app(client, session, permit))
        return said if isinstance(said, bytes) else await said

    def admit(
        self, client: SdkClient, session: SdkSession, asked: Subscribe, permit: Permit
    ) -> bytes | Awaitable[bytes]:
        """Let a client into a channel, in the turn in which the body of the reply is returned.

        Raises:
            CommandFailed: it is in the channel, or in too many.
        """
        redis_channel = permit.redis_channel
        channels = self._hub.router.channels(client)
        if redis_channel in channels:
            raise CommandFailed(ALREADY_SUBSCRIBED)
        if len(channels) >= self._max_channels:
            raise CommandFailed(LIMIT_EXCEEDED)
        last = options_of(asked.data).last
        if asked.recover or last or (self._past is not None and not self._past.numbering.epoch):
            return self._resume(client, session, asked, redis_channel, last)
        return self._enter(client, session, asked, redis_channel).position(self._last())

    def unsubscribe(self, client: SdkClient, session: SdkSession, number: int, asked: Channel) -> bytes:
        """Let a client out of a channel, in which it need not be."""
        if not asked.channel:
            raise Refused(reasons.BAD_COMMAND)
        try:
            redis_channel = self._namespace.redis_channel(check_subscription(asked.channel))
        except InvalidChannel:
            return EMPTY
        self.leave(client, session, redis_channel)
        return EMPTY

    def leave(self, client: SdkClient, session: SdkSession, redis_channel: bytes) -> bool:
        """Let a client out of a channel; return False when it is not in it."""
        if redis_channel not in self._hub.router.channels(client):
            return False
        self._hub.router.leave(client, redis_channel)
        forget_unusual(client, session, redis_channel)
        self._gone(client, [redis_channel])
        self._members.tell_left(client, [redis_channel])
        return True

    def end(self, client: SdkClient, redis_channel: bytes, code: int, reason: str) -> bool:
        """Let a client out of a channel, and tell it so; return False when it is not in it."""
        session = client.session
        if session is None or not self.leave(client, session, redis_channel):
            return False
        client.write(frames([unsubscribed(self._json_name(redis_channel), code, reason)]))
        self._hub.evict_overflowing()
        return True

    def _expire(self, client: SdkClient, redis_channel: bytes) -> None:
        """End a subscription whose token has ended, or the connection, when the server has begun the subscription."""
        if client.session is not None and redis_channel in client.session.served:
            self._hub.refuse(reasons.SUBSCRIPTION_EXPIRED)
            client.endpoint.close(client, reasons.SUBSCRIPTION_EXPIRED)
        else:
            self.end(client, redis_channel, SUBSCRIPTION_EXPIRED, "subscription expired")

    def left(self, client: SdkClient, redis_channels: Collection[bytes]) -> None:
        """Take note that a client has left for good the channels in which it was."""
        self._gone(client, redis_channels)
        self._members.left(client, redis_channels)

    def _gone(self, client: SdkClient, redis_channels: Collection[bytes]) -> None:
        """Forget what is known of subscriptions that are over."""
        self.latest.drop(client, redis_channels)
        self._quiet_left(redis_channels)
        for redis_channel in redis_channels:
            self.terms.forget(client, redis_channel)
        if client.session is not None and client.session.served:
            client.session.served = client.session.served.difference(redis_channels)

    def _json_name(self, redis_channel: bytes) -> bytes:
        return orjson.dumps(self._namespace.channel(redis_channel))

    async def _resume(
        self, client: SdkClient, session: SdkSession, asked: Subscribe, redis_channel: bytes, last: int
    ) -> bytes:
        """Let a client into a channel when this process has its place, and give the client what it has missed."""
        found = Found([], OFF)
        if self._past is not None:
            history = self._past.history
            await history.until_placed()
            if asked.recover and self._past.numbering.epoch:
                since = f"{asked.epoch or self._past.numbering.epoch}-{asked.offset or 0}"
                found = await history.find(redis_channel, Query(since=since))
            elif last:
                found = await latest(history, redis_channel, last)
        check_here(client)
        if not asked.recover:
            pushes = self._enter(client, session, asked, redis_channel)
            return pushes.position(self._last(), self._given(client, session, redis_channel, found, pushes))
        if found.missed and (asked.flag or 0) & UNRECOVERABLE_IS_TOLD:
            raise CommandFailed(UNRECOVERABLE)
        pushes = self._enter(client, session, asked, redis_channel)
        if found.missed or not pushes.epoch:
            return pushes.position(self._last(), b'"was_recovering":true')
        given = self._given(client, session, redis_channel, found, pushes)
        told = b",".join(filter(None, (b'"was_recovering":true,"recovered":true', given)))
        return pushes.position_at(asked.offset or 0, told)

    def _enter(self, client: SdkClient, session: SdkSession, asked: Subscribe, redis_channel: bytes) -> Pushes:
        """Let a client into a channel in this turn; return what encodes for it."""
        if session.pushes.is_over:
            self.resync(client)
        pushes = self.offsets.pushes
        if session.pushes is not pushes and (pushes.epoch or not session.pushes.epoch):
            self._hub.router.deliver_to(client)
            session.pushes = pushes
            use_encoder(client, session)
        self._members.enter(client, redis_channel)
        if self._past is not None:
            self._past.quiet.entered(redis_channel, self._last())
        if asked.join_leave and not is_wildcard(redis_channel):  # of a join it could not be told where
            unusual_of(client, session, redis_channel).has_joins = True
        if options_of(asked.data).latest:
            unusual_of(client, session, redis_channel).is_latest = True
            self.latest.watch(client)
        return pushes

    def _given(
        self, client: SdkClient, session: SdkSession, redis_channel: bytes, found: Found, pushes: Pushes
    ) -> bytes:
        """Return the members of a reply that give a client messages, or say that they follow as pushes."""
        if not found.publications:
            return b""
        publications = self._owed(client, session, redis_channel, found)
        if publications is None:
            return MORE_FOLLOWS
        pubs = b",".join(map(pushes.pub_of(redis_channel), publications))
        return b'"publications":[%b]' % pubs if pubs else b""

    def _owed(
        self, client: SdkClient, session: SdkSession, redis_channel: bytes, found: Found
    ) -> Collection[Publication] | None:
        """Return what a client has missed if that is little; otherwise begin to give it to the client as it reads."""
        assert self._catch_up is not None, "something was found"
        publications = found.publications
        if self._catch_up.is_little(client, publications):
            return [one for one in publications if one[1] not in (JOINED, LEFT)]
        unusual = unusual_of(client, session, redis_channel)
        unusual.is_withheld = True
        follow = partial(
            self._catch_up.follow,
            client,
            redis_channel,
            publications,
            partial(session.pushes.usual(session.compressor), redis_channel),
            is_wanted=lambda: session.unusual is not None and session.unusual.get(redis_channel) is unusual,
            release=partial(self._release, client, session, redis_channel, unusual),
        )
        if session.early is None:
            follow()
        else:
            session.early.begin.append(follow)
        return None

    def _release(self, client: SdkClient, session: SdkSession, redis_channel: bytes, unusual: Unusual) -> None:
        unusual.is_withheld = False
        if not (unusual.has_joins or unusual.is_latest):
            forget_unusual(client, session, redis_channel)

    def _last(self) -> int:
        return 0 if self._past is None else self._past.history.last

    def _quiet_left(self, redis_channels: Collection[bytes]) -> None:
        if self._past is not None:
            last = self._last()
            for redis_channel in redis_channels:
                self._past.quiet.left(redis_channel, last)

    def resync(self, client: SdkClient) -> None:
        """Tell a client that its subscriptions have ended, so that it subscribes anew.

        One that the server has let into channels connects anew.
        """
        session = client.session
        if session is None or session.has_left:
            return
        if session.served:
            client.endpoint.close(client, reasons.GAP)
            return
        channels = self._hub.router.leave_all(client)
        session.unusual = None
        session.pushes = self.offsets.pushes
        use_encoder(client, session)
        self._gone(client, channels)
        self._members.tell_left(client, channels)
        names = map(self._json_name, channels)
        if told := [unsubscribed(name, INSUFFICIENT, "insufficient state") for name in names]:
            client.write(frames(told))
