"""One run of load against one server, with the meters read before and after.

    connect ─ rest ─ meters ─ publish ─ rest ─ meters

What the server spends on connecting is in neither of the two readings around publishing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from bench.loadgen.latencies import PERCENTILES, Counts, histogram
from bench.loadgen.load import Load
from bench.loadgen.run import Generator
from bench.loadgen.worker import Delivery, Joined
from bench.servers import Cpu, RedisUse, Tree, redis_use


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a run showed; None is what could not be known."""

    clients: int
    connects_per_second: float
    wait_p99_ms: float
    refused: int
    reason: str
    memory_bytes_each: float | None = None
    """Private memory of the server per connection."""
    handshake_cpu_us: float | None = None
    """Server CPU per connection."""
    expected: int = 0
    delivered: int = 0
    delivered_per_second: float = 0.0
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    other: int = 0
    closed: int = 0
    published: int = 0
    publisher_late_ms: float = 0.0
    latency_ms: dict[str, float] = field(default_factory=dict)
    """Percentiles, and the maximum, of the time from the moment a message was due."""
    cpu_us: float | None = None
    """Server CPU per delivery, user and system of all its processes."""
    cpu_user_us: float | None = None
    cpu_system_us: float | None = None
    cpu_share: float | None = None
    """Server CPU over the time it took; 1 is one processor."""
    redis_cpu_us: float | None = None
    """Redis CPU per message published."""
    redis_bytes: float | None = None
    """Redis output per message published."""
    counts: Counts | None = field(default=None, repr=False)
    """All latencies, for a plot; not in a results file."""

    @property
    def lost_percent(self) -> float:
        """Deliveries lost, of those expected."""
        return 100 * self.lost / max(1, self.expected)

    def as_json(self) -> dict[str, object]:
        """Return what goes into a results file."""
        return asdict(replace(self, counts=None))


def measure(
    load: Load, server: Tree | None, redis_url: str | None, *, stop: Callable[[], bool] = lambda: False
) -> Result:
    """Connect, publish if there is anything to publish and anybody to hear it, and report.

    When stop() becomes true, what was published by then is reported.

    Raises:
        TimeoutError: nothing moves.
        ConnectionError: the connection that publishes broke, or publishing was refused.
    """
    idle = server.cpu() if server else None
    memory = server.memory_bytes() if server else 0  # after the clock, which is waited for: a server may be starting
    with Generator(load) as generator:
        joined = generator.connect()
        before = server.cpu() if server else None
        result = _connected(joined)
        if server and before and idle:
            clients = max(1, len(joined.waits))
            grown = (server.memory_bytes() - memory) / clients
            cpu_us = (before - idle).total * 1e6 / clients
            result = replace(result, memory_bytes_each=grown, handshake_cpu_us=cpu_us)
        if not load.messages or not joined.waits:
            return result
        redis_before = redis_use(redis_url) if redis_url else None
        delivery = generator.publish(stop=stop)
        used = server.cpu() - before if server and before else None
        redis_used = redis_use(redis_url) - redis_before if redis_url and redis_before else None
    return _delivered(result, delivery, used, redis_used)


def _connected(joined: Joined) -> Result:
    return Result(
        clients=len(joined.waits),
        connects_per_second=len(joined.waits) / joined.seconds,
        wait_p99_ms=float(np.percentile(joined.waits, 99)) * 1e3 if joined.waits else 0.0,
        refused=joined.refused,
        reason=joined.reason,
    )


def _delivered(result: Result, delivery: Delivery, used: Cpu | None, redis_used: RedisUse | None) -> Result:
    latencies = histogram(delivery.counts)
    deliveries, messages = max(1, delivery.delivered), max(1, delivery.published.messages)
    seconds = max(delivery.seconds, 1e-6)
    if delivery.published.cpu_seconds is not None:
        used = Cpu(delivery.published.cpu_seconds, 0.0)
    return replace(
        result,
        expected=delivery.expected,
        delivered=delivery.delivered,
        delivered_per_second=delivery.delivered / seconds,
        lost=delivery.lost,
        duplicated=delivery.duplicated,
        reordered=delivery.reordered,
        other=delivery.other,
        closed=delivery.closed,
        published=delivery.published.messages,
        publisher_late_ms=delivery.published.late_us / 1e3,
        latency_ms={f"p{percent:g}": latencies.get_value_at_percentile(percent) / 1e3 for percent in PERCENTILES}
        | {"max": latencies.get_max_value() / 1e3},
        cpu_us=used.total * 1e6 / deliveries if used else None,
        cpu_user_us=used.user * 1e6 / deliveries if used else None,
        cpu_system_us=used.system * 1e6 / deliveries if used else None,
        cpu_share=used.total / seconds if used else None,
        redis_cpu_us=redis_used.cpu_seconds * 1e6 / messages if redis_used else None,
        redis_bytes=redis_used.output_bytes / messages if redis_used else None,
        counts=delivery.counts,
    )
