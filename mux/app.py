"""The face of mux in somebody's Sanic app: Mux, and the protocol that faces the public."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from math import inf
from typing import Any

import orjson
from sanic import Sanic
from sanic.request import Request

from mux import reasons
from mux.core import Core
from mux.doorstep.doorstep import Doorstep
from mux.endpoints.hooks import Authorize, GapCallback, OnMember, OnMessage
from mux.endpoints.sdk.rpc import Rpc
from mux.errors import InvalidChannel, InvalidSetting, MessageTooLarge
from mux.grants.mint import mint
from mux.mount import Mount
from mux.presence.act import Act
from mux.presence.acts import Outcome
from mux.presence.roster import People
from mux.reasons import DISCONNECTED
from mux.recovery.history import Query
from mux.recovery.listener import Message
from mux.settings.misspelt import unknown_variables
from mux.settings.settings import Settings
from mux.wire.channel import binary_variant, check_channel, check_subscription

http_protocol = Doorstep
"""The protocol for an app that faces the public, as `app.run(protocol=mux.http_protocol)`. Requests are read strictly,
and bounded in size, time and number, before Sanic sees them; the app's middleware sees them all."""

logger = logging.getLogger("mux")


class Mux:
    """A feed on a Sanic app.

    `mux = Mux(app, redis_url="redis://localhost")`, then `await mux.publish("orders", {"id": 7})`.

    Args:
        app: gets the route /feed/<channel>, and /api/<method> when there is an api_key; and listeners that start and
            stop the feed with the app.
        settings: all settings at once, and the environment is not read; without them, the environment and the options
            are used.
        path: in place of /feed. Several feeds on one app each have a path and a prefix of their own.
        ops: also mount /healthz, /readyz and /metrics, and /stats and /channels unless inspect is False; an app
            may have its own. The last three want the inspect_token; without one they let nobody in.
        page: also mount the page at /, which an app has a use of its own for.
        sdk: also serve many channels on one connection: the SDKs of Centrifugo at /connection/websocket, for one Mux of
            an app, and event streams at /feed?channel=a&channel=b. What guards a path with a channel in it does not
            guard them.
        options: fields of Settings.

    Raises:
        InvalidSetting: a setting cannot be, there is no redis_url, or app cannot have this feed: it is a Blueprint, it
            has started, or it has one with this path or this prefix.
    """

    http_protocol = http_protocol
    """Return mux.http_protocol, for a Mux may be called mux and hide the module."""

    def __init__(
        self,
        app: Sanic[Any, Any],
        settings: Settings | None = None,
        *,
        path: str = "/feed",
        sdk: bool = False,
        ops: bool = False,
        page: bool = False,
        **options: object,
    ) -> None:
        if settings is not None and options:
            raise InvalidSetting("give either settings or single options, not both")
        self.settings = settings or _load(options)
        self._mount = Mount(app, self.settings, path=path, many=sdk, ops=ops, page=page, sdk=sdk)

    @property
    def _core(self) -> Core:
        return self._mount.core

    async def publish(
        self,
        channel: str | bytes,
        message: object,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - what was sent by then is told apart
    ) -> None:
        """Publish to a channel and wait until Redis has the message.

        While Redis does not keep up this waits for its turn. If the waiting is cancelled before the message is sent,
        it is not sent.

        Args:
            channel: its name, as in the URL but not percent-encoded.
            message: str is sent as text and bytes as binary; anything else as the text of its JSON.
            timeout: how many seconds to wait in all. With 0 the message is sent now or not at all, and only the answer
                is waited for. Without one it is held for max_held_seconds while there is no connection to Redis.

        Raises:
            InvalidChannel: the name cannot be.
            MessageTooLarge: the message has more than max_message_bytes.
            BrokerUnavailable: nothing was sent, for there is no connection to Redis, or the app is not started.
            BrokerLost: the connection broke, or the time was over, before Redis answered; the message may be published.
            BrokerRefused: Redis did not take it.
            TypeError: orjson cannot encode the message, or it is a str with half of a surrogate pair, which is no text.
        """
        redis_channel = self._redis_channel(channel)
        if isinstance(message, (bytes, bytearray, memoryview)):
            payload = bytes(message)
            redis_channel = binary_variant(redis_channel)
        else:
            payload = _encode(message)
        if len(payload) > self.settings.max_message_bytes:
            self._core.hub.refuse(reasons.TOO_LARGE)
            raise MessageTooLarge(
                f"the message has {len(payload)} bytes; at most {self.settings.max_message_bytes} are allowed"
            )
        await self._core.broker.outbox.publish(redis_channel, payload, timeout_seconds=timeout, is_patient=True)

    async def history(
        self, channel: str | bytes, *, last: int | None = None, since: str | float | None = None
    ) -> list[Message]:
        """Return what a channel had lately, in order, as far as the journal of this process goes back.

        Args:
            channel: its name, as in the URL but not percent-encoded.
            last: at most so many messages, the latest.
            since: what came after a position, or in the last so many seconds.

        Raises:
            InvalidChannel: the name cannot be.
            Missed: not all that came since the position is known any more.
            Refused: since is neither a position nor a duration, as "30s".
        """
        return await self._core.listeners.history(self._redis_channel(channel), _query(last, since) or Query())

    def listen(
        self, channel: str | bytes, *, last: int | None = None, since: str | float | None = None
    ) -> AsyncIterator[Message]:
        """Return an iterator over what passes on a channel: `async for message in mux.listen("orders")`.

        It begins with what last and since ask for, as for history(), and nothing is left out between that and what
        follows. It ends when the app stops. Listening begins when the first message is awaited.

        Raises, when the next message is awaited:
            Missed: as history().
            SlowListener: more than 10,000 messages or 16 MiB waited to be taken; it says how many are missing.
        """
        return self._core.listeners.listen(self._redis_channel(channel), _query(last, since))

    async def presence(self, channel: str | bytes) -> People:
        """Return who is in a channel, on all processes: `(await mux.presence("orders")).clients`.

        All processes are asked, and those that did not answer within a second are named. Nothing is kept for it.

        Args:
            channel: its name, as in the URL but not percent-encoded.

        Raises:
            InvalidChannel: the name cannot be.
            Refused: the app stops, or is not started.
        """
        return await self._core.presence.clients(channel)

    async def disconnect(
        self,
        *,
        subject: str | None = None,
        channel: str | None = None,
        code: int = DISCONNECTED.code,
        sentence: str = DISCONNECTED.sentence,
    ) -> Outcome:
        """Disconnect the clients with a subject, those in a channel, or those to which both apply, on all processes.

        Args:
            subject: the subject of their tokens.
            channel: its name, as in the URL but not percent-encoded.
            code: closes a WebSocket: 1000, or 3000 to 4999.
            sentence: what they are told, at most 123 bytes.

        Returns:
            The number of clients, and the processes that did not answer within two seconds.

        Raises:
            ValueError: an argument is none of these, or there is neither a subject nor a channel.
            InvalidChannel: the name cannot be.
            Refused: the app stops, or is not started.
        """
        if subject == "":
            raise ValueError("the subject is empty; clients without a token have none, and are not meant by it")
        act = Act(act="disconnect", subject=subject, channel=channel, code=code, sentence=sentence)
        return await self._core.acts.everywhere(act)

    def _redis_channel(self, channel: str | bytes) -> bytes:
        return self._core.namespace.redis_channel(check_channel(channel))

    def channel_of(self, request: Request) -> str | None:
        """Return the name of the channel a request is for, the very one that is used; for guards in middleware.

        A name that ends with `*` is for all channels that begin with what is before it. None means that it joins and
        publishes nowhere in this feed: it is for another route, or mux is about to refuse the name.
        """
        route = self._mount.route
        if not route.is_asked(request):
            return None
        try:
            return check_subscription(route.channel_name(request)).decode()
        except InvalidChannel:
            return None

    def on_gap(self, callback: GapCallback) -> GapCallback:
        """Have a function called with every Gap: a time in which messages may have been missed.

        It is called in the event loop when messages come again, and must not block; it may be an `async def`, which
        then runs as a task, until the app ends at the latest. What it raises is logged. May be used as a decorator.
        """
        self._mount.hooks.gap.append(callback)
        return callback

    def authorize(self, hook: Authorize) -> Authorize:
        """Have a function decide who may do what: nothing is open then that it does not allow. A decorator.

        It is called with Sanic's request, the name of a channel, percent-decoded, and "subscribe" or "publish": for
        every client that joins, every POST, every GET of what passed, and for a WebSocket with both, as that may do
        both. A name to subscribe to that ends with `*` is for every channel that begins with what is before it: allow
        it to those who may listen to all of these. It returns True, False, or a Grant; anything else is no yes. It may
        be an `async def`, and has handshake_seconds. Where the feed takes tokens, the token must grant it as well. What
        it raises refuses the request with 500, and is logged.

        Raises:
            InvalidSetting: there is one already.
        """
        self._mount.hooks.set_authorize(hook)
        self._core.feed.heed_hooks()
        return hook

    def on_message(self, hook: OnMessage) -> OnMessage:
        """Have a function called with every ClientMessage before it is published, by WebSocket or POST. A decorator.

        It returns what is published: str as text, bytes as binary, None for nothing, which the client is not told.
        It runs in the event loop for every message, so its cost is the app's, and it cannot be an `async def`. What
        it raises is logged; a POST is answered with 500, and a WebSocket is closed with 1011.

        Raises:
            InvalidSetting: there is one already, or it is an `async def`.
        """
        self._mount.hooks.set_message(hook)
        self._core.feed.heed_hooks()
        return hook

    def rpc(self, name: str) -> Callable[[Rpc], Rpc]:
        """Let SDK clients call a function by a name. A decorator: `@mux.rpc("time")`.

        It is called with an RpcCall, and what it returns is sent as JSON. It may be an `async def`, and has
        handshake_seconds. It raises CommandFailed with a code from 400 to 1999 to have the client told an error of the
        app's own. What else it raises is logged, and the client is told that the server has failed.

        Raises:
            InvalidSetting: there is one of this name already.
        """

        def add(rpc: Rpc) -> Rpc:
            self._mount.rpcs.add(name, rpc)
            return rpc

        return add

    def on_join(self, hook: OnMember) -> OnMember:
        """Have a function called with a Member when a client has joined a channel of this process. A decorator.

        It may be an `async def`, which then runs as a task, until the app ends at the latest. What it raises is logged.
        """
        self._mount.hooks.join.append(hook)
        return hook

    def on_leave(self, hook: OnMember) -> OnMember:
        """Have a function called with a Member when a client has left a channel of this process; as on_join()."""
        self._mount.hooks.leave.append(hook)
        return hook

    def token(
        self, *, subject: str | None = None, subscribe: Sequence[str] = (), publish: Sequence[str] = (), seconds: float
    ) -> str:
        """Return a token for a client of this feed, or of another server with the same key.

        Args:
            subject: the identity of the client.
            subscribe: the channels that it may subscribe to, as patterns: "orders", "orders.*", "user:{sub}".
            publish: the channels that it may publish to.
            seconds: how long it holds.

        Raises:
            InvalidSetting: there is no token_key, or no token can be made with it, as with a public key.
        """
        settings = self.settings
        if settings.token_key is None:
            raise InvalidSetting("token_key is missing; a token is made with the secret that checks it")
        if isinstance(subscribe, str) or isinstance(publish, str):
            raise InvalidSetting("subscribe and publish are lists of patterns")
        return mint(
            settings.token_key,
            subject=subject,
            subscribe=subscribe,
            publish=publish,
            seconds=seconds,
            audience=settings.token_audience,
            issuer=settings.token_issuer,
            allows_weak=settings.allow_weak_token_key,
        )

    async def drain(self) -> None:
        """Admit nobody any more, and say goodbye to every client with 1001 (going away); the app does so as it stops.

        They are told in batches over drain_seconds. Returns when all are gone, drain_seconds + 3 s later at the
        latest. May be called again, also at the same time: it is done once.
        """
        await self._core.drain()


def _query(last: int | None, since: str | float | None) -> Query | None:
    """Return which messages are asked for; None when none are."""
    if isinstance(since, (int, float)):
        return Query(seconds=float(since), last=inf if last is None else last)
    return Query.read(since=since or "", last="" if last is None else str(last))


def _encode(message: object) -> bytes:
    if not isinstance(message, str):
        return orjson.dumps(message)
    try:
        return message.encode()
    except UnicodeEncodeError as error:
        raise TypeError(f"the message is no text: {error}") from None


def _load(options: dict[str, object]) -> Settings:
    """Return the settings of a Mux in somebody's app, and log variables that are misspelt."""
    for sentence in unknown_variables():
        logger.warning("%s", sentence)
    return Settings.load(options, in_app=True)
