"""The ends of single subscriptions, where their tokens end before the connection does."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from mux.endpoints.expiry import Expiry
from mux.endpoints.sdk.session import SdkClient
from mux.endpoints.sdk.tokens import GRACE_SECONDS


class Terms:
    """Ends subscriptions whose time is over.

    Args:
        end: ends one, of a client in a Redis channel.
    """

    def __init__(self, end: Callable[[SdkClient, bytes], None]) -> None:
        self._end = end
        self._expiry: Expiry[tuple[SdkClient, bytes]] = Expiry(self._due)
        # Not in the session, which an evicted client has no longer when it is known that its subscriptions are over.
        self._ends: dict[SdkClient, dict[bytes, float]] = {}
        self._now = 0.0

    def set(self, client: SdkClient, redis_channel: bytes, ends: float) -> None:
        """Let a subscription end at a Unix time in seconds, and after those that a client has for the next token."""
        self.forget(client, redis_channel)
        if ends < inf:
            until = ends + GRACE_SECONDS
            self._ends.setdefault(client, {})[redis_channel] = until
            self._expiry.watch((client, redis_channel), until)

    def forget(self, client: SdkClient, redis_channel: bytes) -> None:
        """Take note that a subscription is over, or does not end."""
        ends = self._ends.get(client)
        if ends is not None and redis_channel in ends:
            self._expiry.forget((client, redis_channel), ends.pop(redis_channel))
            if not ends:
                del self._ends[client]

    def tick(self, now: float) -> None:
        """End those that are due; to be called about once a second with the Unix time in seconds."""
        self._now = now
        self._expiry.tick(now)

    def _due(self, subscription: tuple[SdkClient, bytes]) -> None:
        client, redis_channel = subscription
        # It may have been renewed since it was due.
        if self._ends.get(client, {}).get(redis_channel, inf) <= self._now:
            self._end(client, redis_channel)
