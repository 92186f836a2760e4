"""Let SDK clients into channels and out of them, each with its position in the common order.

A client may go on where it was: what came since is in the reply to its subscription, or follows it when that is much.
It knows its positions, so whenever they are true no longer, because of a gap or because numbers begin anew, it is told
that its subscriptions have ended, and subscribes anew with the last positions that were true. Clients do so at once and
all together; so they are told a few at a time (goodbye.spread).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection
from functools import partial
from math import inf
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
from mux.endpoints.sdk.session import Early, SdkClient, SdkSession, Unusual, divert, restore
from mux.endpoints.sdk.terms import Terms
from mux.endpoints.sdk.tokens import SUBSCRIBE, Tokens, check_owner, told_end
from mux.endpoints.tasks import Tasks
from mux.errors import InvalidChannel, Refused
from mux.goodbye.spread import spread
from mux.grants.grants import Action
from mux.hub.hub import Hub
from mux.recovery.history import OFF, Found, Query
from mux.settings.settings import Settings
from mux.wire.channel import Namespace, check_subscription, is_wildcard
from mux.wire.publication import JOINED, LEFT, Publication
from mux.wire.sdk.commands import UNRECOVERABLE_IS_TOLD, Channel, Subscribe, wants_latest
from mux.wire.sdk.encoder import Pushes, Rewritten, frames
from mux.wire.sdk.replies import (
    ALREADY_SUBSCRIBED,
    BAD_REQUEST,
    EMPTY,
    INSUFFICIENT,
    INTERNAL,
    LIMIT_EXCEEDED,
    SUBSCRIPTION_EXPIRED,
    UNRECOVERABLE,
    unsubscribed,
    with_members,
)

NULL = b"null"


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
        self._seconds = settings.drain_seconds
        self._dice = dice or Random()  # noqa: S311 - nothing is kept secret by it
        self._tasks = Tasks()
        self.tokens = Tokens(parts.checks)
        self.terms = Terms(self._expire)
        self.rewritten = Rewritten()
        self.latest = Latest(parts.hub, withhold, divert, restore)
        self._pushes = {has_offsets: self._new_pushes(has_offsets=has_offsets) for has_offsets in (False, True)}

    def _new_pushes(self, *, has_offsets: bool) -> Pushes:
        past = self._past
        return Pushes(
            self._namespace.channel,
            None if past is None or not has_offsets else past.numbering,
            self.rewritten,
            on_encoded=_nothing if past is None else past.quiet.note,
            on_over=self._begin_resync,
        )

    @property
    def pushes(self) -> Pushes:
        """What encodes for whoever subscribes now; it has no epoch while there are no positions."""
        has_offsets = self._past is not None and bool(self._past.numbering.epoch)
        if not self._pushes[has_offsets].is_true:
            self._pushes[has_offsets] = self._new_pushes(has_offsets=has_offsets)
        return self._pushes[has_offsets]

    async def aclose(self) -> None:
        """Tell no further client to subscribe anew."""
        await self._tasks.aclose()

    # Commands.

    def permit(self, client: SdkClient, name: str, action: Action) -> Permit | Awaitable[Permit]:
        """Return what a client may do in a channel; where the app decides, that must be waited for.

        A client may ask about every channel that it is in, by whatever token.

        Raises:
            Refused: not this.
            InvalidChannel: no channel has this name.
        """
        session = client.session
        assert session is not None, "it is here"
        if not name:
            raise Refused(reasons.BAD_COMMAND)
        if action is Action.SUBSCRIBE and self.is_in(client, name):
            return Permit(self.redis_channel(name), may_publish=False, grants=None)
        permit = self._checks.granted(client.grants, name, action, has_token=session.has_token)
        if self._checks.authorize is None or session.request is None:
            return permit
        return self._checks.authorize(session.request, permit, name, action)

    def redis_channel(self, name: str) -> bytes:
        """Return the Redis channel of a name that is one."""
        return self._namespace.redis_channel(name.encode())

    def is_in(self, client: SdkClient, name: str) -> bool:
        """Tell whether a client is in the channel of a name, which need not be one."""
        return name.isascii() and self.redis_channel(name) in self._hub.router.channels(client)

    def subscribe(
        self, client: SdkClient, session: SdkSession, number: int, asked: Subscribe
    ) -> bytes | Awaitable[bytes]:
        """Let a client into a channel."""
        if asked.tf and bytes(asked.tf) != NULL:
            raise CommandFailed(BAD_REQUEST)
        if asked.token and asked.channel and self._checks.takes_tokens:
            return self._admit_by_token(client, session, asked, asked.token)
        permit = self.permit(client, asked.channel, Action.SUBSCRIBE)
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
        permit = await self.allowed(client, session, permit, asked.channel)
        said = self.admit(client, session, asked, permit)
        body = said if isinstance(said, bytes) else await said
        self.terms.set(client, redis_channel, token.claims.ends)
        return with_members(body, told_end(token.claims.ends))

    async def _admit_later(
        self, client: SdkClient, session: SdkSession, asked: Subscribe, permit: Awaitable[Permit]
    ) -> bytes:
        said = self.admit(client, session, asked, await self._left_by_app(client, session, permit))
        return said if isinstance(said, bytes) else await said

    async def allowed(self, client: SdkClient, session: SdkSession, permit: Permit, name: str) -> Permit:
        """Return what the app leaves of a permit to subscribe to a channel.

        Raises:
            Refused: nothing.
        """
        if self._checks.authorize is None or session.request is None:
            return permit
        asking = self._checks.authorize(session.request, permit, name, Action.SUBSCRIBE)
        return await self._left_by_app(client, session, asking)

    async def _left_by_app(self, client: SdkClient, session: SdkSession, permit: Awaitable[Permit]) -> Permit:
        left = await permit
        check_here(client)
        if left.grants is not None:
            held = inf if client.grants is None else client.grants.until
            if left.grants.until < held:
                session.app_until = left.grants.until
            self._members.narrow(client, left.grants)
        return left

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
        if asked.recover or (self._past is not None and not self._past.numbering.epoch):
            return self._resume(client, session, asked, redis_channel)
        return _position(self._enter(client, session, asked, redis_channel), self._last())

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
        self._forget(client, session, redis_channel)
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

    # Joining and positions.

    async def _resume(self, client: SdkClient, session: SdkSession, asked: Subscribe, redis_channel: bytes) -> bytes:
        """Let a client into a channel when this process has its place, and give the client what it has missed."""
        found = Found([], OFF)
        if self._past is not None:
            history = self._past.history
            await history.until_placed()
            if asked.recover and self._past.numbering.epoch:
                since = f"{asked.epoch or self._past.numbering.epoch}-{asked.offset or 0}"
                found = await history.find(redis_channel, Query(since=since))
        check_here(client)
        if not asked.recover:
            return _position(self._enter(client, session, asked, redis_channel), self._last())
        if found.missed and (asked.flag or 0) & UNRECOVERABLE_IS_TOLD:
            raise CommandFailed(UNRECOVERABLE)
        pushes = self._enter(client, session, asked, redis_channel)
        if found.missed or not pushes.epoch:
            return _position(pushes, self._last(), b'"was_recovering":true')
        told = b'"was_recovering":true,"recovered":true'
        if publications := self._owed(client, session, redis_channel, found):
            told += b',"publications":[%b]' % b",".join(map(pushes.pub_of(redis_channel), publications))
        return _told(pushes, asked.offset or 0, told)

    def _enter(self, client: SdkClient, session: SdkSession, asked: Subscribe, redis_channel: bytes) -> Pushes:
        """Let a client into a channel in this turn; return what encodes for it."""
        if session.pushes.is_over:
            self.resync(client)
        pushes = self.pushes
        if session.pushes is not pushes and (pushes.epoch or not session.pushes.epoch):
            self._hub.router.deliver_to(client)
            session.pushes = pushes
            self._use_encoder(client, session)
        self._members.enter(client, redis_channel)
        if self._past is not None:
            self._past.quiet.entered(redis_channel, self._last())
        if asked.join_leave and not is_wildcard(redis_channel):  # of a join it could not be told where
            self._unusual(client, session, redis_channel).has_joins = True
        if wants_latest(asked.data):
            self._unusual(client, session, redis_channel).is_latest = True
            self.latest.watch(client)
        return pushes

    def _owed(
        self, client: SdkClient, session: SdkSession, redis_channel: bytes, found: Found
    ) -> Collection[Publication]:
        """Return what a client has missed if that is little; otherwise begin to give it to the client as it reads."""
        assert self._catch_up is not None, "something was found"
        publications = found.publications
        if self._catch_up.is_little(client, publications):
            return [one for one in publications if one[1] not in (JOINED, LEFT)]
        unusual = self._unusual(client, session, redis_channel)
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
        return ()

    def _release(self, client: SdkClient, session: SdkSession, redis_channel: bytes, unusual: Unusual) -> None:
        unusual.is_withheld = False
        if not (unusual.has_joins or unusual.is_latest):
            self._forget(client, session, redis_channel)

    def _unusual(self, client: SdkClient, session: SdkSession, redis_channel: bytes) -> Unusual:
        """Return what is unusual about a subscription that has just begun."""
        if session.unusual is None:
            session.unusual = {}
            client.encode = session.encode
        return session.unusual.setdefault(redis_channel, Unusual())

    def _forget(self, client: SdkClient, session: SdkSession, redis_channel: bytes) -> None:
        """Forget what was unusual about a subscription."""
        if session.unusual is None:
            return
        session.unusual.pop(redis_channel, None)
        if not session.unusual:
            session.unusual = None
            self._use_encoder(client, session)

    def _use_encoder(self, client: SdkClient, session: SdkSession) -> None:
        client.encode = session.encode if session.has_own_encoder else session.pushes.usual(session.compressor)

    def begin_early(self, client: SdkClient, session: SdkSession) -> Early:
        """Have what comes for a client wait for the reply to its `connect`."""
        early = session.early = Early()
        self._use_encoder(client, session)
        return early

    def end_early(self, client: SdkClient, early: Early) -> None:
        """Write what waited for the reply of a client, which has been written."""
        session = client.session
        if session is None or session.early is not early:
            return
        self._hub.router.deliver_to(client)
        session.early = None
        self._use_encoder(client, session)
        if early.is_too_much:
            self._hub.evict(client, reasons.OVERFLOW)
            return
        client.write(b"".join(early.frames))
        for begin in early.begin:
            begin()
        self._hub.evict_overflowing()

    def _last(self) -> int:
        return 0 if self._past is None else self._past.history.last

    def _quiet_left(self, redis_channels: Collection[bytes]) -> None:
        if self._past is not None:
            last = self._last()
            for redis_channel in redis_channels:
                self._past.quiet.left(redis_channel, last)

    # When positions are true no longer.

    def doubt(self) -> None:
        """Give no offset any more to those who have subscribed so far, for a message may have been missed."""
        for pushes in self._pushes.values():
            pushes.end()

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
        session.pushes = self.pushes
        self._use_encoder(client, session)
        self._gone(client, channels)
        self._members.tell_left(client, channels)
        names = map(self._json_name, channels)
        if told := [unsubscribed(name, INSUFFICIENT, "insufficient state") for name in names]:
            client.write(frames(told))

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
                    self.resync(client)
            self._hub.evict_overflowing()


def check_here(client: SdkClient) -> None:
    """Go on with a client for which something was waited for, if it is still there.

    Raises:
        CommandFailed: it is not.
    """
    if client.session is None or client.session.has_left or client.transport.is_closing():
        raise CommandFailed(INTERNAL)


def _is_over(client: object) -> bool:
    session = getattr(client, "session", None)
    return isinstance(session, SdkSession) and session.pushes.is_over


def _position(pushes: Pushes, last: int, more: bytes = b"") -> bytes:
    """Return the body of a reply to a subscription that begins after the last message."""
    return _told(pushes, pushes.offset_of(last), more)


def _told(pushes: Pushes, offset: int, more: bytes) -> bytes:
    """Return the body of a reply to a subscription at an offset."""
    told = [more] if more else []
    if pushes.epoch:
        told.append(b'"recoverable":true,"positioned":true,"epoch":"%b"' % pushes.epoch.encode())
        if offset > 0:
            told.append(b'"offset":%d' % offset)
    return b"{%b}" % b",".join(told)


def _nothing(channel: bytes, number: int) -> None:
    """Do nothing."""
