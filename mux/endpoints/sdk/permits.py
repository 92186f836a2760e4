"""Decide what an SDK client may do in a channel, by the token of its connection and by the app."""

from __future__ import annotations

from collections.abc import Awaitable
from math import inf

from mux import reasons
from mux.endpoints.membership import Membership
from mux.endpoints.request_checks import Permit, RequestChecks
from mux.endpoints.sdk.failures import CommandFailed
from mux.endpoints.sdk.session import SdkClient, SdkSession
from mux.errors import Refused
from mux.grants.grants import Action
from mux.hub.router import Router
from mux.wire.channel import Namespace
from mux.wire.sdk.replies import INTERNAL


class Permits:
    """Decides for the SDK clients of one process.

    Args:
        checks: know what grants allow, and ask the app.
        members: hold what clients may do.
        router: knows which channels clients are in.
        namespace: what channels are called in Redis.
    """

    def __init__(self, checks: RequestChecks, members: Membership, router: Router, namespace: Namespace) -> None:
        self._checks = checks
        self._members = members
        self._router = router
        self._namespace = namespace

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
        return name.isascii() and self.redis_channel(name) in self._router.channels(client)

    async def allowed(self, client: SdkClient, session: SdkSession, permit: Permit, name: str) -> Permit:
        """Return what the app leaves of a permit to subscribe to a channel.

        Raises:
            Refused: nothing.
        """
        if self._checks.authorize is None or session.request is None:
            return permit
        asking = self._checks.authorize(session.request, permit, name, Action.SUBSCRIBE)
        return await self.left_by_app(client, session, asking)

    async def left_by_app(self, client: SdkClient, session: SdkSession, permit: Awaitable[Permit]) -> Permit:
        """Wait for what the app leaves of a permit, and note what it says of the client."""
        left = await permit
        check_here(client)
        if left.grants is not None:
            held = inf if client.grants is None else client.grants.until
            if left.grants.until < held:
                session.app_until = left.grants.until
            self._members.narrow(client, left.grants)
        return left


def check_here(client: SdkClient) -> None:
    """Go on with a client for which something was waited for, if it is still there.

    Raises:
        CommandFailed: it is not.
    """
    if client.session is None or client.session.has_left or client.transport.is_closing():
        raise CommandFailed(INTERNAL)
