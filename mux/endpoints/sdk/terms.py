"""The ends of single subscriptions, where their tokens end before the connection does."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from mux.endpoints.expiry import Expiry
from mux.endpoints.sdk.session import SdkClient, SdkSession
from mux.endpoints.sdk.tokens import GRACE_SECONDS


class Terms:
    """Ends subscriptions whose time is over.

    Args:
        end: ends one, of a client in a Redis channel.
    """

    def __init__(self, end: Callable[[SdkClient, bytes], None]) -> None:
        self._end = end
        self._expiry: Expiry[tuple[SdkClient, bytes]] = Expiry(self._due)
        self._now = 0.0

    def set(self, client: SdkClient, session: SdkSession, redis_channel: bytes, ends: float) -> None:
        """Let a subscription end at a Unix time in seconds, and after those that a client has for the next token."""
        self.forget(client, session, redis_channel)
        if ends < inf:
            until = ends + GRACE_SECONDS
            if session.ends is None:
                session.ends = {}
            session.ends[redis_channel] = until
            self._expiry.watch((client, redis_channel), until)

    def forget(self, client: SdkClient, session: SdkSession, redis_channel: bytes) -> None:
        """Take note that a subscription is over, or does not end."""
        if session.ends is not None:
            self._expiry.forget((client, redis_channel), session.ends.pop(redis_channel, inf))

    def tick(self, now: float) -> None:
        """End those that are due; to be called about once a second with the Unix time in seconds."""
        self._now = now
        self._expiry.tick(now)

    def _due(self, subscription: tuple[SdkClient, bytes]) -> None:
        client, redis_channel = subscription
        session = client.session
        # It may have been renewed since it was due.
        if session is not None and session.ends and session.ends.get(redis_channel, inf) <= self._now:
            self._end(client, redis_channel)
