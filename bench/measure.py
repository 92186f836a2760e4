"""One run of load against one server, with the meters read before and after.

    connect ─ rest ─ meters ─ publish ─ rest ─ meters

What the server spends on connecting is in neither of the two readings around publishing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace

from bench.loadgen.course import Moment
from bench.loadgen.latencies import PERCENTILES, Counts, histogram
from bench.loadgen.run import Delivery, Generator, Joined, Load
from bench.meters import Cpu, RedisUse, Tree, redis_use

Say = Callable[[str, float, int, int, int], None]
"""Takes what is going on, how much of it is done (0 to 1), deliveries, messages passed over, p99 in us."""


def silent(what: str, done: float, delivered: int, missing: int, p99_us: int) -> None:
    """Say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a run showed; None is what could not be known."""

    clients: int
    connects_per_second: float
    wait_p99_ms: float
    refused: int
    reason: str
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
    latency_ms: dict[str, float] | None = None
    handshake_cpu_us: float | None = None
    """Server CPU per connection."""
    cpu_us: float | None = None
    """Server CPU per delivery, user and system of all its processes."""
    cpu_user_us: float | None = None
    cpu_system_us: float | None = None
    cpu_share: float | None = None
    """Server CPU over the time it took; 1 is one processor."""
    rss_bytes_each: float | None = None
    redis_cpu_us: float | None = None
    """Redis CPU per message published."""
    redis_bytes: float | None = None
    """Redis output per message published."""
    moments: list[Moment] = field(default_factory=list)
    counts: Counts | None = field(default=None, repr=False)
    """All latencies, for a plot; not in a results file."""

    def as_json(self) -> dict[str, object]:
        """Return what goes into a results file."""
        return asdict(replace(self, counts=None))


def measure(
    load: Load,
    server: Tree | None,
    redis_url: str | None,
    say: Say = silent,
    *,
    stop: Callable[[], bool] = lambda: False,
) -> Result:
    """Connect, publish if there is anything to publish and anybody to hear it, and report.

    When stop() becomes true, what was published by then is reported.

    Raises:
        TimeoutError: nothing moves.
        ConnectionError: the connection that publishes broke, or publishing was refused.
    """

    def connecting(count: int) -> None:
        if stop():
            raise KeyboardInterrupt  # there is nothing yet to report
        say("connecting", count / load.clients, 0, 0, 0)

    idle = server.cpu() if server else None
    rss = server.rss_bytes() if server else 0  # after the clock, which is waited for: a server may be starting
    with Generator(load) as generator:
        joined = generator.connect(connecting)
        before = server.cpu() if server else None
        rss_each = (server.rss_bytes() - rss) / max(1, joined.clients) if server else None
        handshake = (before - idle).total * 1e6 / max(1, joined.clients) if before and idle else None
        if not load.messages or not joined.clients:
            return _result(load, joined, rss_each, handshake)
        redis_before = redis_use(redis_url) if redis_url else None
        expected = load.messages * load.clients / load.channels

        def live(delivered: int, missing: int, p99_us: int) -> None:
            say("publishing", delivered / expected, delivered, missing, p99_us)

        delivery = generator.publish(live, stop=stop)
        used = server.cpu() - before if server and before else None
        redis_used = redis_use(redis_url) - redis_before if redis_url and redis_before else None
    return _result(load, joined, rss_each, handshake, delivery, used, redis_used)


def _result(
    load: Load,
    joined: Joined,
    rss_each: float | None,
    handshake: float | None,
    delivery: Delivery | None = None,
    used: Cpu | None = None,
    redis_used: RedisUse | None = None,
) -> Result:
    common = {
        "clients": joined.clients,
        "connects_per_second": joined.per_second,
        "wait_p99_ms": joined.wait_p99_seconds * 1e3,
        "refused": joined.refused,
        "reason": joined.reason,
        "rss_bytes_each": rss_each,
        "handshake_cpu_us": handshake,
    }
    if delivery is None:
        return Result(**common)  # type: ignore[arg-type]  # each value is of its field's type
    latencies = histogram(delivery.counts)
    deliveries, messages = max(1, delivery.delivered), max(1, delivery.published.messages)
    seconds = max(delivery.seconds, 1e-6)
    if delivery.published.cpu_seconds is not None:
        used = Cpu(delivery.published.cpu_seconds, 0.0)
    return Result(
        **common,  # type: ignore[arg-type]  # likewise
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
        redis_cpu_us=redis_used.cpu.total * 1e6 / messages if redis_used else None,
        redis_bytes=redis_used.output_bytes / messages if redis_used else None,
        moments=delivery.moments,
        counts=delivery.counts,
    )
