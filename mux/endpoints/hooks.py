"""Let the app that a feed is part of have its say: functions of its own are called at certain moments.

    authorize       a request wants to subscribe or publish; the app allows it, or does not
    on_message      a client publishes; the app changes the message, or drops it
    on_join         a client has joined a channel
    on_leave        a client has left one
    on_gap          messages may have been missed

Rules:

1. Whatever is wrong with a hook, the feed goes on, and an exception is never a yes (endpoints.calls).
2. A hook may be an `async def`, except on_message, which is called for every message.
3. Without a hook nothing is called, and nothing is done for a message.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from inspect import isawaitable, iscoroutinefunction
from math import inf, isnan
from time import time
from typing import TypeAlias, cast

from sanic.request import Request

from mux import reasons
from mux.broker.gap import Gap
from mux.endpoints.calls import Calls
from mux.endpoints.request_checks import Permit
from mux.endpoints.takeover import Asking
from mux.errors import InvalidSetting, Refused
from mux.grants.grants import Action, Grants, check_subject
from mux.grants.patterns import NONE, Patterns
from mux.hub.subscriber import AnySubscriber
from mux.settings.settings import Settings
from mux.wire.channel import Namespace


@dataclass(frozen=True, slots=True)
class Grant:
    """A yes of authorize with more to it.

    Args:
        until: Unix time in seconds at which the client's connection is ended.
        subject: the identity of the client, for presence, announcements and mux.disconnect().
    """

    until: float = inf
    subject: str | None = None

    def __post_init__(self) -> None:
        until: object = self.until
        subject: object = self.subject
        if not isinstance(until, int | float) or isnan(until):
            raise TypeError(f"until is a Unix time in seconds, not {until!r}")
        if not isinstance(subject, str | None):
            raise TypeError(f"subject is a str, not {type(subject).__name__}")
        check_subject(subject)


@dataclass(frozen=True, slots=True)
class Member:
    """A client in a channel.

    Attributes:
        channel: the name of the channel.
        name: what the client is called there; presence and announcements tell the same.
        subject: the subject of its token or grant; None when it has none.
    """

    channel: str
    name: str
    subject: str | None


@dataclass(frozen=True, slots=True)
class ClientMessage:
    """A message that a client publishes.

    Attributes:
        channel: the name of the channel.
        data: str if it is text, and bytes otherwise.
        subject: the subject of the client's token or grant; None when it has none.
    """

    channel: str
    data: str | bytes
    subject: str | None


Authorize: TypeAlias = Callable[[Request, str, str], bool | Grant | Awaitable[bool | Grant]]
"""Takes a request, the name of a channel, and "subscribe" or "publish"; allows the action by True or a Grant only."""

OnMember: TypeAlias = Callable[[Member], object]
OnMessage: TypeAlias = Callable[[ClientMessage], str | bytes | None]
"""Takes a client's message and returns the text or bytes to publish in its place, or None to publish nothing."""

GapCallback: TypeAlias = Callable[[Gap], object]
"""Takes a gap; what it returns is awaited if it can be."""

Outgoing: TypeAlias = tuple[bytes, bool]
"""The payload of a message, and True when it is binary."""


class Hooks:
    """The hooks of one feed; they stay when the app runs again.

    Args:
        namespace: what channels are called in Redis.
        calls: calls the hooks for which nobody waits.
        settings: handshake_seconds, which authorize may take, and max_message_bytes.
    """

    def __init__(self, namespace: Namespace, calls: Calls, settings: Settings) -> None:
        self._namespace = namespace
        self._calls = calls
        self._seconds = settings.handshake_seconds
        self._max_message_bytes = settings.max_message_bytes
        self.authorize: Authorize | None = None
        self.message: OnMessage | None = None
        self.join: list[OnMember] = []
        self.leave: list[OnMember] = []
        self.gap: list[GapCallback] = []

    def set_authorize(self, hook: Authorize) -> None:
        """Have a hook decide who may do what.

        Raises:
            InvalidSetting: there is one already.
        """
        if self.authorize is not None:
            raise InvalidSetting("there is an authorize hook already; a feed has one")
        self.authorize = hook

    def set_message(self, hook: OnMessage) -> None:
        """Have a hook see what clients publish.

        Raises:
            InvalidSetting: there is one already, or it would wait.
        """
        if self.message is not None:
            raise InvalidSetting("there is an on_message hook already; a feed has one")
        if iscoroutinefunction(hook):
            raise InvalidSetting("on_message cannot be an async def: messages would change places while it waits")
        self.message = hook

    async def authorized(self, request: Asking, permit: Permit, name: str, action: Action) -> Permit:
        """Return what is left of a permit when the app has been asked.

        A WebSocket is for both, so the app is asked twice.

        Raises:
            Refused: the app does not allow the action, or authorize has failed.
        """
        sanics = cast("Request", request)  # where there is a hook, no other kind of request comes here
        grant = await self._ask(sanics, name, action)
        if grant is None:
            raise Refused(reasons.FORBIDDEN, f"this client may not {action.value} to {name}")
        may_publish = action is Action.PUBLISH
        if not may_publish and permit.may_publish and request.headers.get("upgrade", "").lower() == "websocket":
            other = await self._ask(sanics, name, Action.PUBLISH)
            if other is not None:
                may_publish = True
                grant = Grant(min(grant.until, other.until), grant.subject or other.subject)
        only = Patterns(beginnings=[name[:-1]]) if name.endswith("*") else Patterns([name])
        held = permit.grants or Grants(None, only, only if may_publish else NONE)
        grants = replace(held, subject=grant.subject or held.subject, until=min(grant.until, held.until))
        return Permit(permit.redis_channel, may_publish, grants)

    async def _ask(self, request: Request, name: str, action: Action) -> Grant | None:
        """Return what authorize allows; None when it does not."""
        assert self.authorize is not None, "there is somebody to ask"
        try:
            async with asyncio.timeout(self._seconds):
                said: object = self.authorize(request, name, action.value)
                if isawaitable(said):
                    said = await said
        except Exception as error:  # noqa: BLE001 - it is logged; whatever is wrong with it, it is no yes
            self._calls.log("authorize", self.authorize, error)
            raise Refused(reasons.HOOK) from None
        if said is True:
            return Grant()
        if said is not False and not isinstance(said, Grant):
            self._calls.log("authorize", self.authorize, TypeError(f"it returned {said!r:.40}, which is no yes"))
        return said if isinstance(said, Grant) and said.until > time() else None

    def filtered(self, redis_channel: bytes, payload: bytes, binary: bool, grants: Grants | None) -> Outgoing | None:
        """Return what is published instead of what a client has sent; None for nothing.

        Raises:
            Refused: on_message has failed.
        """
        assert self.message is not None, "there is somebody to ask"
        try:
            subject = None if grants is None else grants.subject
            said = self.message(ClientMessage(self._namespace.channel(redis_channel), _data(payload, binary), subject))
            if said is None:
                return None
            if not isinstance(said, str | bytes):
                raise TypeError(f"it returned {type(said).__name__}; a message is str or bytes, and None drops it")
            changed = said if isinstance(said, bytes) else said.encode()
            if len(changed) > self._max_message_bytes:
                raise ValueError(f"it returned {len(changed)} bytes; a message has {self._max_message_bytes} at most")
        except Exception as error:  # noqa: BLE001 - it is logged; whatever is wrong with it, the feed goes on
            self._calls.log("on_message", self.message, error)
            raise Refused(reasons.HOOK) from None
        return changed, isinstance(said, bytes)

    def tell_joined(self, client: AnySubscriber, redis_channel: bytes) -> None:
        """Tell the app that a client has joined a channel."""
        if self.join:
            self._calls.tell("on_join", self.join, self._member(client, redis_channel))

    def tell_left(self, client: AnySubscriber, redis_channels: Iterable[bytes]) -> None:
        """Tell the app that a client has left channels."""
        if self.leave:
            for redis_channel in redis_channels:
                self._calls.tell("on_leave", self.leave, self._member(client, redis_channel))

    def _member(self, client: AnySubscriber, redis_channel: bytes) -> Member:
        subject = None if client.grants is None else client.grants.subject
        return Member(self._namespace.channel(redis_channel), str(client.name_in(redis_channel)), subject)


def _data(payload: bytes, binary: bool) -> str | bytes:
    """Return a message as an app reads it; the body of a POST that is no text is bytes."""
    if binary:
        return payload
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return payload
