"""Take the tokens that SDK clients send in the place of those that have ended."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import replace

from mux import reasons
from mux.endpoints.membership import Membership
from mux.endpoints.request_checks import RequestChecks
from mux.endpoints.sdk.failures import CommandFailed
from mux.endpoints.sdk.permits import check_here
from mux.endpoints.sdk.session import SdkClient, SdkSession
from mux.endpoints.sdk.subscriptions import Subscriptions
from mux.endpoints.sdk.tokens import REFRESH, SUB_REFRESH, check_owner, told_end
from mux.errors import Refused
from mux.wire.sdk.commands import Refresh, SubRefresh
from mux.wire.sdk.replies import BAD_REQUEST, NOT_AVAILABLE, PERMISSION_DENIED


class Renewals:
    """Does the commands `refresh` and `sub_refresh`.

    Args:
        checks: tell whether there are tokens.
        members: hold what clients may do.
        subscriptions: know what clients are in.
    """

    def __init__(self, checks: RequestChecks, members: Membership, subscriptions: Subscriptions) -> None:
        self._checks = checks
        self._members = members
        self._subscriptions = subscriptions

    def refresh(self, client: SdkClient, session: SdkSession, number: int, asked: Refresh) -> Awaitable[bytes]:
        """Let a client go on by another token: what it may do from now on, and until when."""
        if not asked.token:
            raise Refused(reasons.BAD_COMMAND)
        if not self._checks.takes_tokens:
            raise CommandFailed(NOT_AVAILABLE)
        return self._refreshed(client, session, asked.token)

    async def _refreshed(self, client: SdkClient, session: SdkSession, text: str) -> bytes:
        token = await self._subscriptions.tokens.check(text, session.address, REFRESH)
        check_here(client)
        check_owner(token, session, None)
        grants = replace(token.grants, until=min(token.grants.until, session.app_until))
        if grants.subject is None and client.grants is not None:
            grants = replace(grants, subject=client.grants.subject)  # that which the app has given
        self._members.hold(client, grants)
        session.has_token = True
        return b"{%b}" % told_end(token.claims.ends)

    def sub_refresh(self, client: SdkClient, session: SdkSession, number: int, asked: SubRefresh) -> Awaitable[bytes]:
        """Let a subscription go on by another token."""
        if not asked.channel:
            raise Refused(reasons.BAD_COMMAND)
        if not asked.token:
            raise CommandFailed(BAD_REQUEST)
        if not self._checks.takes_tokens:
            raise CommandFailed(NOT_AVAILABLE)
        if not self._subscriptions.permits.is_in(client, asked.channel):
            raise CommandFailed(PERMISSION_DENIED)
        return self._sub_refreshed(client, session, asked.channel, asked.token)

    async def _sub_refreshed(self, client: SdkClient, session: SdkSession, name: str, text: str) -> bytes:
        token = await self._subscriptions.tokens.check(text, session.address, SUB_REFRESH)
        check_here(client)
        check_owner(token, session, name)
        if not self._subscriptions.permits.is_in(client, name):
            raise CommandFailed(PERMISSION_DENIED)
        self._subscriptions.terms.set(client, self._subscriptions.permits.redis_channel(name), token.claims.ends)
        return b"{%b}" % told_end(token.claims.ends)
