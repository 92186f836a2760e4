"""The work every server is given.

Each case names what is counted, gives the question, and returns its figures by name; less is better in the one that
is compared.

The last case is bad for us: with one pattern every process receives every message, so with n processes Redis sends
each message n times and n - 1 of them parse it for nothing. A server with a SUBSCRIBE for each channel pays nothing
there. How much the clients of n processes publish together stays the same, so what grows with n is that price.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from bench.loadgen.dialect import Target
from bench.loadgen.load import Load
from bench.loadgen.run import Generator
from bench.measure import Result, measure
from bench.servers import Running, free_port, redis_use

Figures = dict[str, float]

CPU = "us CPU/delivery"
MESSAGE_CPU = "us CPU/message"
PROCESSES = (1, 2, 4)
"""Processes of the case that is bad for us."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """How much of everything."""

    clients: int
    burst_messages: int
    seconds: float
    steady_rate: float
    channels: int
    many_rate: float
    flat_messages: int
    echo_clients: int
    echo_rate: float
    idle: int
    churned: int
    storm: int
    disjoint_channels: int
    disjoint_rate: float
    longest: float = 5.0
    """Seconds after the schedule until a server that does not keep up is given up; the rest counts as lost."""
    longest_burst: float = 20.0
    """The same where all is due at once."""


FULL = Amounts(
    clients=1000, burst_messages=1000, seconds=2, steady_rate=100, channels=5000, many_rate=10_000,
    flat_messages=30_000, echo_clients=50, echo_rate=4000, idle=5000, churned=500, storm=5000,
    disjoint_channels=1000, disjoint_rate=1000,
)  # fmt: skip
SMOKE = Amounts(
    clients=5, burst_messages=10, seconds=0.2, steady_rate=50, channels=10, many_rate=100,
    flat_messages=40, echo_clients=3, echo_rate=60, idle=5, churned=5, storm=10,
    disjoint_channels=6, disjoint_rate=60,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of work."""

    name: str
    title: str
    load: Callable[[Amounts], Load]
    """The load, still without a server."""
    unit: str = CPU
    """The figure that is compared."""
    extra: tuple[str, ...] = ()
    """Other figures worth a column."""
    clients_publish: bool = False
    has_limit: bool = False
    processes: tuple[int, ...] = ()
    """Numbers of processes to try, of a server that can be several."""


def _many(a: Amounts) -> Load:
    return Load(clients=a.channels, channels=a.channels, messages=round(a.many_rate * a.seconds), rate=a.many_rate)


def _echo(a: Amounts) -> Load:
    count = round(a.echo_rate * a.seconds)
    return Load(clients=a.echo_clients, channels=a.echo_clients, messages=count, rate=a.echo_rate)


def _disjoint(a: Amounts) -> Load:
    count = round(a.disjoint_rate * a.seconds)
    return Load(clients=a.disjoint_channels, channels=a.disjoint_channels, messages=count, rate=a.disjoint_rate)


_PERCENTILES = ("p50 ms", "p99 ms", "p99.9 ms")

BURST = Case(
    "burst", "1,000 messages back to back to 1,000 clients of one channel",
    lambda a: Load(clients=a.clients, messages=a.burst_messages), extra=("delivered/s", "p99 ms"), has_limit=True,
)  # fmt: skip
STEADY = Case(
    "steady", "100 messages a second to 1,000 clients of one channel",
    lambda a: Load(clients=a.clients, messages=round(a.steady_rate * a.seconds), rate=a.steady_rate),
    extra=_PERCENTILES, has_limit=True,
)  # fmt: skip
IDLE = Case("idle", "connections that do nothing", lambda a: Load(clients=a.idle, channels=a.idle), "KiB/connection")
CHURN = Case(
    "churn", "clients that join a channel of their own and leave", lambda a: Load(clients=a.churned),
    "us CPU/join and leave", ("Redis commands", "us Redis CPU", "p99 ms", "p99.9 ms"),
)  # fmt: skip
STORM = Case(
    "storm", "5,000 clients connect at once", lambda a: Load(clients=a.storm, channels=a.storm, at_once=a.storm),
    "s until all are served", ("connects/s", "us CPU/connection"),
)  # fmt: skip
DISJOINT = Case(
    "disjoint", "1,000 messages a second over 1,000 channels, spread over 1, 2 and 4 processes", _disjoint, MESSAGE_CPU,
    ("Redis bytes/message", "us Redis CPU/message", "p99 ms"), processes=PROCESSES,
)  # fmt: skip

CASES = (
    BURST,
    STEADY,
    Case("many", "10,000 messages a second over 5,000 channels with a client each", _many, CPU, _PERCENTILES,
         has_limit=True),
    Case("many-flat-out", "the same as fast as it goes",
         lambda a: replace(_many(a), messages=a.flat_messages, rate=0), CPU, ("delivered/s",), has_limit=True),
    Case("echo", "50 clients publish 4,000 messages a second together and get them back", _echo, CPU,
         ("p50 ms", "p99 ms", "us Redis CPU/message"), clients_publish=True),
    IDLE,
    CHURN,
    STORM,
    DISJOINT,
)  # fmt: skip


def run_case(case: Case, running: Running, redis_url: str, amounts: Amounts) -> Figures:
    """Run a case once against a server.

    Raises:
        TimeoutError: the server stands still.
        ConnectionError: the server or Redis broke a connection, or refused.
    """
    load = aimed(case, running, amounts)
    if case is CHURN:
        return _run_churn(load, running, redis_url, amounts)
    if case is IDLE:
        # What a server loads with its first clients is no cost of a client: some are there before it is weighed.
        with Generator(replace(load, clients=max(1, load.clients // 10))) as first:
            first.connect()
            result = measure(load, running.tree, redis_url)
    else:
        result = measure(load, running.tree, redis_url)
    if result.refused:
        raise ConnectionError(f"{result.refused} of {load.clients} clients were not served: {result.reason}")
    if case is IDLE:
        return {case.unit: (result.memory_bytes_each or 0.0) / 1024}
    if case is STORM:
        return {
            case.unit: result.clients / result.connects_per_second,
            "connects/s": result.connects_per_second,
            "us CPU/connection": result.handshake_cpu_us or 0.0,
        }
    return figures(result)


def run_limit(case: Case, amounts: Amounts) -> Figures:
    """Run a case with nothing but send()."""
    target = Target("127.0.0.1", free_port(), "/feed/{channel}")
    return figures(measure(replace(_timed(case.load(amounts), amounts), target=target, limit=True), None, None))


def aimed(case: Case, running: Running, amounts: Amounts) -> Load:
    """Return the load of a case for a server."""
    load = _timed(case.load(amounts), amounts)
    door = None if case.clients_publish or not load.messages else running.door()
    return replace(load, target=running.target, dialect=running.peer.dialect, door=door)


def figures(result: Result) -> Figures:
    """Return what is kept of a run."""
    found = {
        CPU: result.cpu_us or 0.0,
        MESSAGE_CPU: (result.cpu_us or 0.0) * result.delivered / max(1, result.published),
        "delivered/s": result.delivered_per_second,
        "lost": float(result.lost),
        "lost %": result.lost_percent,
        "duplicated": float(result.duplicated),
        "reordered": float(result.reordered),
        "CPU share": result.cpu_share or 0.0,
        "us Redis CPU/message": result.redis_cpu_us or 0.0,
        "Redis bytes/message": result.redis_bytes or 0.0,
    }
    return found | {f"{name} ms": value for name, value in result.latency_ms.items()}


def unheard_us(by_processes: dict[int, float]) -> float:
    """Return what each further process adds to the cost of a message."""
    most = max(by_processes)
    return (by_processes[most] - by_processes[1]) / (most - 1) if most > 1 else 0.0


def _run_churn(load: Load, running: Running, redis_url: str, amounts: Amounts) -> Figures:
    """Count join and leave with nothing else going on; then see what they do to those who stay."""
    with Generator(replace(load, clients=min(100, load.clients))) as first:
        first.churn()  # what is loaded once, is loaded
    cpu, redis_before = running.tree.cpu(), redis_use(redis_url)
    with Generator(load) as generator:
        done = generator.churn()
    used, redis_used = running.tree.cpu() - cpu, redis_use(redis_url) - redis_before
    pairs = max(1, len(done.waits))
    count = round(100 * amounts.seconds)
    staying = replace(load, clients=max(2, amounts.clients // 10), messages=count, rate=100, door=running.door())
    restless = threading.Thread(target=_quietly, args=(load,))
    restless.start()
    result = measure(replace(staying, longest=amounts.longest), running.tree, redis_url)
    restless.join()
    return {
        CHURN.unit: used.total * 1e6 / pairs,
        "Redis commands": redis_used.commands / pairs,
        "us Redis CPU": redis_used.cpu_seconds * 1e6 / pairs,
        "pairs/s": pairs / done.seconds,
        "lost": float(result.lost),
        "lost %": result.lost_percent,
    } | {f"{name} ms": value for name, value in result.latency_ms.items()}


def _quietly(load: Load) -> None:
    with suppress(OSError), Generator(load) as generator:  # that it fails shows in the first run
        generator.churn()


def _timed(load: Load, amounts: Amounts) -> Load:
    return replace(load, longest=amounts.longest if load.rate else amounts.longest_burst)
