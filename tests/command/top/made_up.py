"""A fleet that does not exist, in the words of GET /stats and GET /channels."""

from __future__ import annotations

import math
from typing import Any

NUMBERS = (
    "healed",
    "journal_bytes",
    "resumes",
    "connections",
    "channels",
    "received",
    "unheard",
    "delivered",
    "published",
    "received_per_second",
    "unheard_per_second",
    "delivered_per_second",
    "published_per_second",
    "pending_bytes",
    "gaps",
    "gap_seconds",
    "memory_bytes",
)


def process(number: int = 0, **given: Any) -> dict[str, Any]:
    """Return what one process says; the higher its number, the busier it is."""
    busy = 1 + number / 4
    return {
        "id": f"{number:032x}",
        "host": f"feed-{number // 4 + 1}",
        "pid": 4700 + number,
        "version": "0.1.0",
        "uptime_seconds": 273_600.0 + number,
        "connections": int(9_800 * busy),
        "channels": int(3_150 * busy),
        "received": 100_000,
        "unheard": 100,
        "delivered": 9_000_000,
        "published": 50_000,
        "received_per_second": 1_240.0,
        "unheard_per_second": 12.5,
        "delivered_per_second": 24_300.0 * busy,
        "published_per_second": 310.0 * busy,
        "pending_bytes": int(41_000 * busy),
        "evicted": {},
        "refused": {"channel": 2},
        "gaps": 0,
        "gap_seconds": 0.0,
        "healed": 0,
        "journal_bytes": 4_000_000,
        "journal_seconds": 610.0,
        "resumes": 12,
        "resumes_refused": {},
        "loop_lag_seconds": 0.0012 * busy,
        "memory_bytes": int(96_000_000 * busy),
        **given,
    }


def stats(processes: list[dict[str, Any]], missing: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """Return what GET /stats answers about them."""
    total: dict[str, Any] = {name: sum(one[name] for one in processes) for name in NUMBERS}
    for name in ("uptime_seconds", "loop_lag_seconds", "journal_seconds"):
        total[name] = max((one[name] for one in processes), default=0.0)
    for name in ("evicted", "refused", "resumes_refused"):
        total[name] = {}
        for one in processes:
            for reason, count in one[name].items():
                total[name][reason] = total[name].get(reason, 0) + count
    total["processes"] = len(processes)
    return {"processes": processes, "total": total, "missing": missing or [], "took_seconds": 0.012}


def missing(number: int = 9, seconds: float = 3.2) -> dict[str, Any]:
    """Return a process that does not answer."""
    return {"id": f"{number:032x}", "host": f"feed-{number // 4 + 1}", "pid": 4700 + number, "silent_seconds": seconds}


NAMES = ("lobby", "orders/eu", "orders/us", "prices/EURUSD", "prices/BTC", "game/7f3a", "game/91c0", "chat/general")


def channels(names: tuple[str, ...] = NAMES) -> dict[str, Any]:
    """Return what GET /channels answers, the busiest first."""
    found = [
        {"name": name, "subscribers": int(12_400 / (at + 1) ** 1.5) + 1, "messages_per_second": 412.0 / (at + 1) ** 1.2}
        for at, name in enumerate(names)
    ]
    return {"channels": found, "after": None, "missing": [], "took_seconds": 0.01}


def wave(step: int, period: float) -> float:
    """Return something between 0.5 and 1 that goes up and down."""
    return 0.78 + 0.16 * math.sin(step / period) + 0.06 * math.sin(step / 1.7)
