"""The work every server is given.

Each case names what is counted, gives the question, and returns its figures by name, of which the first is
the one compared; less is better in all of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from bench.loadgen.churn import Churned, churn
from bench.loadgen.dialect import Target
from bench.loadgen.run import Generator, Load
from bench.measure import Result, Say, measure, silent
from bench.meters import redis_use
from bench.servers import Running, free_port

Figures = dict[str, float]

CPU = "us CPU/delivery"


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
    size: int = 128
    longest: float = 5.0
    """Seconds after the schedule until a server that does not keep up is given up; the rest counts as lost."""
    longest_burst: float = 20.0
    """The same where all is due at once."""


FULL = Amounts(
    clients=1000,
    burst_messages=1000,
    seconds=2,
    steady_rate=100,
    channels=5000,
    many_rate=10_000,
    flat_messages=30_000,
    echo_clients=50,
    echo_rate=4000,
    idle=5000,
    churned=500,
    storm=5000,
    disjoint_channels=1000,
    disjoint_rate=1000,
)
SMOKE = Amounts(
    clients=5,
    burst_messages=10,
    seconds=0.2,
    steady_rate=50,
    channels=10,
    many_rate=100,
    flat_messages=40,
    echo_clients=3,
    echo_rate=60,
    idle=5,
    churned=5,
    storm=10,
    disjoint_channels=6,
    disjoint_rate=60,
    longest=5,
)


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of work."""

    name: str
    title: str
    load: Callable[[Amounts], Load | None]
    """The load, with a target to be replaced; None for work that is not one run of load."""
    unit: str = CPU
    own_door: bool = False
    """The clients publish by themselves."""
    has_limit: bool = False


NOWHERE = Target("127.0.0.1", 0, "/feed/{channel}")


def _burst(a: Amounts) -> Load:
    return Load(target=NOWHERE, clients=a.clients, messages=a.burst_messages, rate=0)


def _steady(a: Amounts) -> Load:
    return Load(target=NOWHERE, clients=a.clients, messages=round(a.steady_rate * a.seconds), rate=a.steady_rate)


def _many(a: Amounts) -> Load:
    count = round(a.many_rate * a.seconds)
    return Load(target=NOWHERE, clients=a.channels, channels=a.channels, messages=count, rate=a.many_rate)


def _flat(a: Amounts) -> Load:
    return Load(target=NOWHERE, clients=a.channels, channels=a.channels, messages=a.flat_messages, rate=0)


def _echo(a: Amounts) -> Load:
    count = round(a.echo_rate * a.seconds)
    return Load(target=NOWHERE, clients=a.echo_clients, channels=a.echo_clients, messages=count, rate=a.echo_rate)


def _idle(a: Amounts) -> Load:
    return Load(target=NOWHERE, clients=a.idle, channels=a.idle)


def _storm(a: Amounts) -> Load:
    return Load(target=NOWHERE, clients=a.storm, channels=a.storm, at_once=a.storm)


CASES = (
    Case("burst", "1,000 messages back to back to 1,000 clients of one channel", _burst, has_limit=True),
    Case("steady", "100 messages a second to 1,000 clients of one channel", _steady, has_limit=True),
    Case("many", "10,000 messages a second over 5,000 channels with a client each", _many, has_limit=True),
    Case("many-flat-out", "the same as fast as it goes", _flat, has_limit=True),
    Case("echo", "50 clients publish 4,000 messages a second together and get them back", _echo, own_door=True),
    Case("idle", "connections that do nothing", _idle, unit="KiB/connection"),
    Case("churn", "clients that join a channel of their own and leave", lambda a: None, unit="us CPU/join and leave"),
    Case("storm", "5,000 clients connect at once", _storm, unit="s until all are served"),
)


def run_case(case: Case, running: Running, redis_url: str, amounts: Amounts, say: Say = silent) -> Figures:
    """Run a case once against a server.

    Raises:
        TimeoutError: the server stands still.
        ConnectionError: the server or Redis broke a connection, or refused.
    """
    load = case.load(amounts)
    if load is None:
        return _run_churn(running, redis_url, amounts)
    load = _aimed(load, running, amounts, own_door=case.own_door)
    if case.name == "idle":
        # What a server loads with its first clients is no cost of a client: some are there before it is weighed.
        with Generator(replace(load, clients=max(1, load.clients // 10))) as first:
            first.connect()
            result = measure(load, running.tree, redis_url, say)
    else:
        result = measure(load, running.tree, redis_url, say)
    if result.refused:
        raise ConnectionError(f"{result.refused} of {load.clients} clients were not served: {result.reason}")
    if case.name == "idle":
        assert result.rss_bytes_each is not None, "the server is ours"
        return {case.unit: result.rss_bytes_each / 1024}
    if case.name == "storm":
        return {
            case.unit: result.clients / result.connects_per_second,
            "connects/s": result.connects_per_second,
            "us CPU/connection": result.handshake_cpu_us or 0.0,
        }
    return figures(result)


def run_limit(case: Case, amounts: Amounts) -> Figures:
    """Run a case with nothing but send()."""
    load = case.load(amounts)
    assert load is not None, "a case with a limit is a run of load"
    target = Target("127.0.0.1", free_port(), "/feed/{channel}")
    return figures(measure(_replaced(load, target=target, limit=True, amounts=amounts), None, None))


def figures(result: Result) -> Figures:
    """Return what is kept of a run."""
    found = {
        CPU: result.cpu_us or 0.0,
        "delivered/s": result.delivered_per_second,
        "lost": float(result.lost),
        "lost %": 100 * result.lost / max(1, result.expected),
        "duplicated": float(result.duplicated),
        "reordered": float(result.reordered),
        "CPU share": result.cpu_share or 0.0,
        "us Redis CPU/publish": result.redis_cpu_us or 0.0,
        "Redis bytes/publish": result.redis_bytes or 0.0,
    }
    return found | {f"{name} ms": value for name, value in (result.latency_ms or {}).items()}


def _run_churn(running: Running, redis_url: str, amounts: Amounts) -> Figures:
    """Count join and leave with nothing else going on; then see what they do to those who stay."""
    load = _replaced(
        Load(target=running.target, clients=amounts.churned, dialect=running.peer.dialect), amounts=amounts
    )
    churn(_replaced(load, clients=min(100, amounts.churned), amounts=amounts))  # what is loaded once, is loaded
    cpu, redis_before = running.tree.cpu(), redis_use(redis_url)
    done = churn(load)
    used, redis_used = running.tree.cpu() - cpu, redis_use(redis_url) - redis_before
    pairs = max(1, done.pairs)
    staying = _aimed(
        Load(target=NOWHERE, clients=max(2, amounts.clients // 10), messages=round(100 * amounts.seconds), rate=100),
        running,
        amounts,
    )
    restless = threading.Thread(target=_quietly, args=(load,))
    restless.start()
    result = measure(staying, running.tree, redis_url)
    restless.join()
    return {
        "us CPU/join and leave": used.total * 1e6 / pairs,
        "Redis commands": redis_used.commands / pairs,
        "us Redis CPU": redis_used.cpu.total * 1e6 / pairs,
        "pairs/s": done.pairs / done.seconds,
        "lost": float(result.lost),
        "lost %": 100 * result.lost / max(1, result.expected),
    } | {f"{name} ms": value for name, value in (result.latency_ms or {}).items()}


def _quietly(load: Load) -> Churned | None:
    try:
        return churn(load)
    except OSError:
        return None  # what it does to others is measured; that it failed shows in the first run


def _aimed(load: Load, running: Running, amounts: Amounts, *, own_door: bool = False) -> Load:
    door = None if own_door or not load.messages else running.door(amounts.size)
    return _replaced(load, target=running.target, dialect=running.peer.dialect, door=door, amounts=amounts)


def _replaced(load: Load, *, amounts: Amounts, **changes: object) -> Load:
    longest = amounts.longest if load.rate else amounts.longest_burst
    return replace(load, message_bytes=amounts.size, longest=longest, **changes)  # type: ignore[arg-type]
