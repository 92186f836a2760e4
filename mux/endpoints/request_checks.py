"""Decide whether a request may use a channel, and whether there is room for one more client.

There are two steps, and every request for the feed takes both, by whichever way it comes:

    permit()       the host, the page, the channel's name, and whether this client may do this here; may have to wait
    admit()        whatever can change while the first step waits: the process leaves, or is full; never waits

The caller takes the connection over, or publishes, in the same turn of the loop in which the second step has passed.
Each raises a Refused, which refusals.py counts and answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from functools import partial
from time import time
from typing import NamedTuple, TypeAlias, cast

from mux import reasons
from mux.endpoints.credentials import token_of
from mux.endpoints.takeover import Asking, keep, kept, own_end, plain_connections
from mux.errors import Refused
from mux.grants.authority import Authority, Found
from mux.grants.grants import Action, Grants
from mux.hub.admission import counted_as
from mux.hub.hub import Hub
from mux.settings.settings import Settings
from mux.wire.channel import Namespace, check_channel, check_subscription
from mux.wire.http.answer import sharing
from mux.wire.http.host import HostPolicy
from mux.wire.http.origin import OriginPolicy


class Permit(NamedTuple):
    """The answer to a request that is allowed.

    Attributes:
        redis_channel: the one channel it may use, or the wildcard it may listen to.
        may_publish: whether a client that joins may publish to the channel.
        grants: what its token grants, and until when; None when nobody needs a token.
    """

    redis_channel: bytes
    may_publish: bool
    grants: Grants | None


NAMES_PER_TURN = 100
"""Most channels of one request that are decided on in one turn of the loop: a millisecond."""

Decision: TypeAlias = Permit | Callable[[], Awaitable[Permit]]
"""A Permit, or a function to call and await for one. Nothing has begun before the call, so a caller that cannot wait
drops the function."""


class RequestChecks:
    """Checks requests for the feed of one process.

    Args:
        hub: knows how many clients there are and may be.
        settings: prefix, client_publish, token_cookie, allowed_host and allowed_origin.
        authority: knows what a token grants.
    """

    def __init__(self, hub: Hub, settings: Settings, authority: Authority) -> None:
        self._hub = hub
        self._authority = authority
        self._cookie = settings.token_cookie
        self._namespace = Namespace(settings.prefix)
        self._may_publish = settings.client_publish
        self._hosts = HostPolicy(settings.allowed_host)
        self._origins = OriginPolicy(settings.allowed_origin)
        self.is_draining = False
        """True when no new client is admitted."""
        self.authorize: Callable[[Asking, Permit, str, Action], Awaitable[Permit]] | None = None
        """Returns what the app leaves of a permit, where it has a hook for that; see Hooks.authorized()."""

    @property
    def takes_tokens(self) -> bool:
        """True when a token says what a request may do; False when everything is open."""
        return not self._authority.is_open

    @property
    def needs_token(self) -> bool:
        """True when a client without a token may do nothing at all."""
        return self._authority.is_closed

    def check_host_first(self, host: str, request: Callable[[], Asking]) -> None:
        """Check as check_host(), by the value of Host alone if that is enough; request returns the request.

        Raises:
            Refused: as check_host().
        """
        if not self._hosts.passes_at_sight((host,)):
            self.check_host(request())

    def check_host(self, request: Asking) -> None:
        """Let a request pass that came under a name that is served.

        Raises:
            Refused: it came under another.
        """
        headers = request.headers
        hosts = headers.getall("host", [])
        if not self._hosts.passes_at_sight(hosts):
            self._hosts.check(
                hosts,
                headers.getall("origin", []),
                own=own_end(request),
                version=request.version,
                names={name.lower() for name in headers},
            )

    def check_origin(self, request: Asking) -> None:
        """Check the host of a request, and the page it is from, if it is from one.

        Raises:
            Refused: as check_host(), or the page is of another host, and not allowed.
        """
        self.check_host(request)
        if "origin" not in request.headers:
            return
        origins = request.headers.getall("origin")
        if len(origins) > 1:
            raise Refused(reasons.ORIGIN, "a request has at most one Origin")
        self._origins.check(origins[0], request.host)

    def permit(self, request: Asking, name: str | bytes, action: Action) -> Decision:
        """Decide what a request may do by its token and by the app; name is the channel's, percent-decoded already.

        Raises:
            Refused: as check_origin(), or no client may do this.
            InvalidChannel: no channel has this name.
        """
        decision = self._by_token(request, name, action)
        return decision if self.authorize is None else partial(self._authorized, request, decision, name, action)

    async def _authorized(self, request: Asking, decision: Decision, name: str | bytes, action: Action) -> Permit:
        assert self.authorize is not None, "there is somebody to ask"
        permit = decision if isinstance(decision, Permit) else await decision()
        return await self.authorize(request, permit, check_subscription(name).decode(), action)

    def _by_token(self, request: Asking, name: str | bytes, action: Action) -> Decision:
        """Decide as permit(), without the app."""
        self.check_origin(request)
        self._named(name, action)
        if not self.takes_tokens:
            return self.granted(None, name, action, has_token=False)
        found, has_token = self._found(request)
        if isinstance(found, Grants):
            return self.granted(found, name, action, has_token=has_token)
        return partial(self._granted_later, found, name, action)

    def _found(self, request: Asking) -> tuple[Found, bool]:
        """Return the grants of a request, and whether it has a token.

        Raises:
            Refused: as token_of() and grants_of().
        """
        token = self.token_of(request)
        return self.grants_of(token, "" if token is None else request.client_ip), token is not None

    async def _granted_later(
        self, grants: Callable[[], Awaitable[Grants]], name: str | bytes, action: Action
    ) -> Permit:
        return self.granted(await grants(), name, action, has_token=True)

    def token_of(self, request: Asking) -> str | None:
        """Return the token of a request, None when there is none.

        Raises:
            Refused: it has several.
        """
        return token_of(request, self._cookie_of(request))

    def grants_of(self, token: str | None, address: str) -> Found:
        """Return what a token from an address grants, or what is granted without one; it may have to be waited for.

        Raises:
            Refused: as Authority.grants().
        """
        return self._authority.grants(token, address and counted_as(address))

    def granted(self, grants: Grants | None, name: str | bytes, action: Action, *, has_token: bool) -> Permit:
        """Return what grants let a client do; without grants everything is open.

        Raises:
            Refused: not this.
            InvalidChannel: no channel has this name.
        """
        channel = self._named(name, action)
        if grants is None:
            return Permit(self._namespace.redis_channel(channel), self._may_publish, None)
        name = channel.decode()
        if not grants.allows(action, name):
            if not has_token:
                raise Refused(reasons.UNAUTHORIZED, f"a token is needed to {action.value} to {name}")
            raise Refused(reasons.FORBIDDEN, f"with this token a client may not {action.value} to {name}")
        may_publish = self._may_publish and grants.allows(Action.PUBLISH, name)
        return Permit(self._namespace.redis_channel(channel), may_publish, grants)

    def _named(self, name: str | bytes, action: Action) -> bytes:
        """Return the name of a channel in which a client may want to do something.

        Raises:
            Refused: no client may.
            InvalidChannel: no channel has this name.
        """
        channel = check_channel(name) if action is Action.PUBLISH else check_subscription(name)
        if action is Action.PUBLISH and not self._may_publish:
            raise Refused(reasons.READ_ONLY)
        return channel

    def _cookie_of(self, request: Asking) -> str | None:
        """Return the name of the cookie that counts for a request: no page of another host acts with it."""
        if self._cookie is None:
            return None
        origins = request.headers.getall("origin", [])
        if not origins:
            return self._cookie if request.headers.get("sec-fetch-site") == "same-origin" else None
        return self._cookie if self._origins.may_use_cookies(origins[0], request.host) else None

    def check_time(self, permit: Permit) -> None:
        """Let a request pass whose token has not ended since it was permitted.

        Raises:
            Refused: it has.
        """
        if permit.grants is not None and permit.grants.until <= time():
            raise Refused(reasons.UNAUTHORIZED, "the token has expired")

    def permit_at_once(self, request: Asking, name: bytes, action: Action) -> Permit | None:
        """Decide as permit(), for a caller that cannot wait and lets permitted() answer all but a Permit.

        permitted() goes on with what was decided here: a hook is called once, and a signature is checked once.
        """
        if self.authorize is not None:
            return None  # a hook asks Sanic's request, which comes later
        try:
            decision: Decision | Refused = self.permit(request, name, action)
        except Refused as error:
            decision = error.with_traceback(None)  # its frames hold the request
        if isinstance(decision, Permit):
            return decision
        keep(request, decision)
        return None

    async def permitted(self, request: Asking, name: str | bytes, action: Action) -> Permit:
        """Decide as permit(), and wait for the decision if it has to wait."""
        decision = cast("Decision | Refused | None", kept(request)) or self.permit(request, name, action)
        if isinstance(decision, Refused):
            try:
                raise decision
            finally:
                del decision  # its traceback has this frame, which would hold it in turn
        return decision if isinstance(decision, Permit) else await decision()

    async def permitted_each(
        self, request: Asking, names: Iterable[str]
    ) -> AsyncIterator[tuple[str, Permit | Refused]]:
        """Decide for each of several channels whether a request may subscribe to it.

        Raises:
            Refused: as check_origin(), or the request has a token that is not valid.
        """
        self.check_origin(request)
        if self.takes_tokens:
            found, _ = self._found(request)
            if not isinstance(found, Grants):
                await found()  # from now on it is known
        for count, name in enumerate(names, 1):
            try:
                yield name, await self.permitted(request, name, Action.SUBSCRIBE)
            except Refused as error:
                yield name, error.with_traceback(None)
            if not count % NAMES_PER_TURN:
                await asyncio.sleep(0)

    def check_not_leaving(self) -> None:
        """Let a request pass unless the process leaves.

        Raises:
            Refused: it does.
        """
        if self.is_draining:
            raise Refused(reasons.LEAVING)

    def check_no_body(self, request: Asking) -> None:
        """Let a request pass that has no body.

        Raises:
            Refused: it has one.
        """
        headers = request.headers
        if "transfer-encoding" in headers or headers.get("content-length", "0") != "0":
            raise Refused(reasons.BODY, "a request to join has no body")

    def check_site(self, request: Asking) -> None:
        """Let a request pass that a page of another site has not sent in secret.

        Raises:
            Refused: such a page has sent it.
        """
        headers = request.headers
        if "sec-fetch-site" in headers and "origin" not in headers:  # one that is there has been checked
            self._origins.check_site(headers.getall("sec-fetch-site"))

    def admit(self, request: Asking) -> str:
        """Return the address by which to count the client that a request becomes; nothing if addresses do not count.

        Raises:
            Refused: a page of another site has sent the request in secret, or there is no room for a client.
        """
        self.check_site(request)
        admission = self._hub.admission
        address = request.client_ip if admission.counts_addresses else ""
        admission.check(clients=len(self._hub), plain=plain_connections(request), address=address)
        return address

    def sharing(self, request: Asking) -> dict[str, str]:
        """Return the header fields by which an answer says which pages may read it."""
        origins = request.headers.getall("origin", [])
        if len(origins) != 1:  # a request with several is refused, and no page may read that
            return sharing(self._origins, None, "")
        return sharing(self._origins, origins[0], request.host)
