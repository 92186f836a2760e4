"""One run of load against one server, with the meters read before and after.

    connect ─ rest ─ meters ─ publish ─ rest ─ meters

What the server spends on connecting is in neither of the two readings around publishing. A figure that could not be
known, because the server or its Redis cannot be seen, is not among the figures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from bench.loadgen.latencies import PERCENTILES, at_percentile
from bench.loadgen.load import Load
from bench.loadgen.run import Generator
from bench.loadgen.worker import Delivery
from bench.servers import Tree, redis_use

CPU = "us CPU/delivery"
"""Server CPU, user and system of all its processes."""

MESSAGE_CPU = "us CPU/message"
CONNECTION_CPU = "us CPU/connection"
MEMORY = "KiB/connection"
"""Private memory of the server."""

Figures = dict[str, float]


@dataclass(slots=True)
class Result:
    """The figures of a run."""

    figures: Figures = field(default_factory=dict)
    reason: str = ""
    """Why the first client that was refused was refused."""
    delivery: Delivery | None = None
    """None when nothing was published."""


def measure(
    load: Load, server: Tree | None, redis_url: str | None, *, stop: Callable[[], bool] = lambda: False
) -> Result:
    """Connect, publish if there is anything to publish and anybody to hear it, and report.

    When stop() becomes true, what was published by then is reported.

    Raises:
        TimeoutError: nothing moves.
        ConnectionError: the connection that publishes broke, or publishing was refused.
    """
    idle = server.cpu_seconds() if server else None
    memory = server.memory_bytes() if server else 0  # after the clock, which is waited for: a server may be starting
    with Generator(load) as generator:
        joined = generator.connect()
        before = server.cpu_seconds() if server else None
        clients = len(joined.waits)
        result = Result(reason=joined.reason)
        result.figures = {
            "clients": clients,
            "refused": joined.refused,
            "s until all are served": joined.seconds,
            "connects/s": clients / joined.seconds,
            "p99 ms until joined": float(np.percentile(joined.waits or [0], 99)) * 1e3,
        }
        if server and before is not None and idle is not None and clients:
            result.figures[MEMORY] = (server.memory_bytes() - memory) / clients / 1024
            result.figures[CONNECTION_CPU] = (before - idle) * 1e6 / clients
        if not load.messages or not clients:
            return result
        redis_before = redis_use(redis_url) if redis_url else None
        delivery = result.delivery = generator.publish(stop=stop)
        used = server.cpu_seconds() - before if server and before is not None else None
        if redis_url and redis_before:
            redis_used, messages = redis_use(redis_url) - redis_before, max(1, delivery.published.messages)
            result.figures["us Redis CPU/message"] = redis_used.cpu_seconds * 1e6 / messages
            result.figures["Redis bytes/message"] = redis_used.output_bytes / messages
    result.figures |= delivered(delivery, used)
    return result


def delivered(delivery: Delivery, used: float | None) -> Figures:
    """Return the ledger, the latencies, and what the server used for them."""
    seconds, published = max(delivery.seconds, 1e-6), delivery.published
    found: Figures = {
        name: getattr(delivery, name)
        for name in ("expected", "delivered", "lost", "duplicated", "reordered", "other", "closed")
    }
    found |= {f"p{percent:g} ms": at_percentile(delivery.counts, percent) / 1e3 for percent in PERCENTILES}
    found |= {
        "max ms": at_percentile(delivery.counts, 100) / 1e3,
        "lost %": 100 * delivery.lost / max(1, delivery.expected),
        "delivered/s": delivery.delivered / seconds,
        "published": published.messages,
        "ms the publisher was late": published.late_us / 1e3,
    }
    if published.cpu_seconds is not None:
        used = published.cpu_seconds
    if used is not None:
        found[CPU] = used * 1e6 / max(1, delivery.delivered)
        found[MESSAGE_CPU] = used * 1e6 / max(1, published.messages)
        found["CPU share"] = used / seconds
    return found
