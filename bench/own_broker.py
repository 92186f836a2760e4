"""Mux' broker by itself, for a benchmark that has another server around it, or none."""

from __future__ import annotations

from collections.abc import Callable

from bench.messages import PREFIX
from mux.broker.broker import Broker
from mux.broker.holding import Holding
from mux.broker.location import parse_location
from mux.settings import Settings
from mux.wire.resp import Push


def own_broker(redis_url: str, pattern: bytes, on_messages: Callable[[list[Push]], None]) -> Broker:
    """Return a broker with the default settings, subscribed to a pattern once started."""
    settings = Settings()
    return Broker(
        parse_location(redis_url),
        pattern,
        probe_prefix=PREFIX + b"$probe:",
        probe_seconds=settings.probe_seconds,
        holding=Holding(max_bytes=settings.max_held_bytes, max_seconds=settings.max_held_seconds),
        on_read=lambda read, messages, is_whole: on_messages(messages) if messages else None,
        on_writable=lambda: None,
        on_gap=lambda gap: None,
    )
