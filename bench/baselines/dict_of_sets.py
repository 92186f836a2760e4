"""Baseline: subscribers as one writes them first, a dict of sets in both directions."""

from __future__ import annotations

from collections import defaultdict

from mux.hub.subscriber import AnySubscriber


class DictOfSets:
    """Which subscriber listens to which channel."""

    def __init__(self) -> None:
        self._subscribers: defaultdict[bytes, set[AnySubscriber]] = defaultdict(set)
        self._channels: defaultdict[AnySubscriber, set[bytes]] = defaultdict(set)

    def join(self, subscriber: AnySubscriber, channel: bytes) -> None:
        """Add a subscriber to a channel."""
        self._subscribers[channel].add(subscriber)
        self._channels[subscriber].add(channel)

    def leave(self, subscriber: AnySubscriber, channel: bytes) -> None:
        """Take a subscriber from a channel it has joined."""
        subscribers = self._subscribers[channel]
        subscribers.discard(subscriber)
        if not subscribers:
            del self._subscribers[channel]
        channels = self._channels[subscriber]
        channels.discard(channel)
        if not channels:
            del self._channels[subscriber]
