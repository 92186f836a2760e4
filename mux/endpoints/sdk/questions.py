"""Publish for SDK clients, and answer what they ask about a channel: who is there, and what was said."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import orjson

from mux.broker.outbox import Outbox
from mux.endpoints.hooks import Hooks
from mux.endpoints.past import Past
from mux.endpoints.request_checks import Permit
from mux.endpoints.sdk.failures import CommandFailed
from mux.endpoints.sdk.permits import check_here
from mux.endpoints.sdk.session import SdkClient, SdkSession
from mux.endpoints.sdk.subscriptions import Subscriptions
from mux.errors import BrokerError, Missed, MuxError
from mux.grants.grants import Action
from mux.presence.presence import Presence
from mux.recovery.history import NO_ORDER, OFF
from mux.recovery.pages import Page, page
from mux.wire.channel import binary_variant, marked
from mux.wire.publication import SIGNED, signed
from mux.wire.resp import Reply
from mux.wire.sdk.commands import Channel, History, Publish
from mux.wire.sdk.info import info_of
from mux.wire.sdk.payloads import on_one_line
from mux.wire.sdk.replies import BAD_REQUEST, EMPTY, INTERNAL, NOT_AVAILABLE, UNRECOVERABLE

PAGE_BYTES = 256 * 1024
"""Most bytes of the messages in one page; a client asks for the next one until it has all."""

MAX_PUBLICATIONS = 1000
"""Most messages in one page."""

Tell = Callable[[SdkClient, int, str, bytes | MuxError], None]
"""Answers the command of a number and a method."""

T = TypeVar("T", Publish, History, Channel)


class Questions:
    """Does the commands of SDK clients about a channel that change nothing for the client itself.

    Args:
        subscriptions: knows what a client may do.
        outbox: publishes.
        hooks: may change what is published.
        presence: knows who is in a channel.
        past: what there was; without it, nothing is known of that.
        tell: answers a publication.
        signs: whether what is published says who has published it.
    """

    def __init__(
        self,
        subscriptions: Subscriptions,
        outbox: Outbox,
        hooks: Hooks,
        presence: Presence,
        past: Past | None,
        tell: Tell,
        *,
        signs: bool,
    ) -> None:
        self._subscriptions = subscriptions
        self._outbox = outbox
        self._hooks = hooks
        self._presence = presence
        self._past = past
        self._tell = tell
        self._signs = signs

    def publish(
        self, client: SdkClient, session: SdkSession, number: int, asked: Publish
    ) -> Awaitable[bytes] | bytes | None:
        """Publish data in a channel, and answer when Redis has it."""
        permit = self._subscriptions.permits.permit(client, asked.channel, Action.PUBLISH)
        if not asked.data:
            raise CommandFailed(BAD_REQUEST)
        if isinstance(permit, Permit):
            return self._publish(client, session, number, asked, permit)
        return self._publish_later(client, asked, permit)

    async def _publish_later(self, client: SdkClient, asked: Publish, permit: Awaitable[Permit]) -> bytes:
        redis_channel = (await permit).redis_channel
        check_here(client)
        message = self._filtered(client, redis_channel, asked)
        if message is not None:
            await self._outbox.publish(*message)
        return EMPTY

    def _publish(
        self, client: SdkClient, session: SdkSession, number: int, asked: Publish, permit: Permit
    ) -> bytes | None:
        message = self._filtered(client, permit.redis_channel, asked)
        if message is None:
            return EMPTY

        def published(reply: Reply) -> None:
            # Redis' answer may be read before the message, in one go; who hears the channel has the message first.
            said = reply if isinstance(reply, BrokerError) else EMPTY
            asyncio.get_running_loop().call_soon(self._tell, client, number, "publish", said)

        session.is_busy = True
        self._outbox.send(*message, published)
        return None

    def _filtered(self, client: SdkClient, redis_channel: bytes, asked: Publish) -> tuple[bytes, bytes] | None:
        """Return what is published, and on which Redis channel; None when the app publishes nothing.

        Raises:
            Refused: on_message has failed.
        """
        payload, binary = on_one_line(bytes(asked.data)), False
        if self._hooks.message is not None:
            found = self._hooks.filtered(redis_channel, payload, binary, client.grants)
            if found is None:
                return None
            payload, binary = found
        if binary or not self._signs:
            return binary_variant(redis_channel) if binary else redis_channel, payload
        subject = None if client.grants is None else client.grants.subject
        return marked(redis_channel, SIGNED), signed(payload, info_of(str(client.identity), subject))

    async def presence(self, client: SdkClient, asked: Channel) -> bytes:
        """Return the clients of a channel."""
        people = await self._presence.clients(asked.channel)
        clients = {name: {"user": user or "", "client": name} for name, user in people.clients.items()}
        return orjson.dumps({"presence": clients})

    async def presence_stats(self, client: SdkClient, asked: Channel) -> bytes:
        """Return how many clients and users a channel has."""
        numbers = await self._presence.numbers(asked.channel)
        return orjson.dumps({"num_clients": numbers.num_clients, "num_users": numbers.num_users})

    async def history(self, client: SdkClient, asked: History) -> bytes:
        """Return a page of what a channel had."""
        past, since, is_reverse = self._past, asked.since, bool(asked.reverse)
        offset = None if since is None else since.offset or 0
        if past is None:
            raise CommandFailed(NOT_AVAILABLE)
        if is_reverse and offset == 0:
            raise CommandFailed(BAD_REQUEST)
        limit = asked.limit or 0
        wanted = Page(
            MAX_PUBLICATIONS if limit < 0 else min(limit, MAX_PUBLICATIONS),
            offset,
            "" if since is None else since.epoch or "",
            is_reverse,
        )
        redis_channel = self._subscriptions.permits.redis_channel(asked.channel)
        await past.history.until_placed()
        try:
            found = await page(past.history, past.numbering, redis_channel, wanted)
        except Missed as missed:
            raise CommandFailed({NO_ORDER: INTERNAL, OFF: NOT_AVAILABLE}.get(missed.reason, UNRECOVERABLE)) from None
        pub, told, size = self._subscriptions.offsets.pushes.pub_of(redis_channel), [], 0
        for publication in found.publications:
            told.append(pub(publication))
            size += len(told[-1])
            if size > PAGE_BYTES:
                break
        epoch = orjson.dumps(found.epoch)
        return b'{"publications":[%b],"epoch":%b,"offset":%d}' % (b",".join(told), epoch, found.offset)

    def asked(
        self, answer: Callable[[SdkClient, T], Awaitable[bytes]]
    ) -> Callable[[SdkClient, SdkSession, int, T], Awaitable[bytes]]:
        """Return a handler of a question, which whoever may subscribe to the channel may ask."""

        def ask(client: SdkClient, session: SdkSession, number: int, asked: T) -> Awaitable[bytes]:
            permit = self._subscriptions.permits.permit(client, asked.channel, Action.SUBSCRIBE)
            return answer(client, asked) if isinstance(permit, Permit) else _later(permit, answer, client, asked)

        return ask


async def _later(
    permit: Awaitable[Any], answer: Callable[[SdkClient, T], Awaitable[bytes]], client: SdkClient, asked: T
) -> bytes:
    await permit
    return await answer(client, asked)
