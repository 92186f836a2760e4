"""The work every server is given.

Each case names what is counted, gives the question, and returns its figures by name; less is better in the one that
is compared.

The last case is bad for us: with one pattern every process receives every message, so with n processes Redis sends
each message n times and n - 1 of them parse it for nothing. A server with a SUBSCRIBE for each channel pays nothing
there. How much the clients of n processes publish together stays the same, so what grows with n is that price.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace

from bench.loadgen.dialect import Target
from bench.loadgen.load import Load
from bench.loadgen.run import Generator
from bench.measure import CPU, MEMORY, MESSAGE_CPU, Figures, measure
from bench.servers import Running, free_port, redis_use

SECONDS = 2.0
"""Seconds for which works with a rate publish."""

LONGEST_SECONDS, LONGEST_BURST_SECONDS = 5.0, 20.0
"""Seconds after the schedule, with a rate and without, until a server that does not keep up is given up."""

_PERCENTILES = ("p50 ms", "p99 ms", "p99.9 ms")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One kind of work."""

    name: str
    title: str
    full: Load
    """The load, still without a server; with a rate, the number of messages comes from the seconds."""
    unit: str = CPU
    """The figure that is compared."""
    extra: tuple[str, ...] = ()
    """Other figures worth a column."""
    clients_publish: bool = False
    has_limit: bool = False
    processes: tuple[int, ...] = ()
    """Numbers of processes to try, of a server that can be several."""

    def load(self, *, smoke: bool, seconds: float = SECONDS) -> Load:
        """Return the load, still without a server."""
        full = self.full
        load = replace(full, messages=round(full.rate * seconds) or full.messages)
        if smoke:  # as little of the same as shows that it runs
            clients, channels, rate = min(full.clients, 8), min(full.channels, 8), min(full.rate, 100)
            load = replace(load, clients=clients, channels=channels, rate=rate, messages=min(load.messages, 24))
        return replace(load, longest=LONGEST_SECONDS if load.rate else LONGEST_BURST_SECONDS)


BURST = Case(
    name="burst",
    title="1,000 messages back to back to 1,000 clients of one channel",
    full=Load(clients=1000, messages=1000),
    extra=("delivered/s", "p99 ms"),
    has_limit=True,
)
STEADY = Case(
    name="steady",
    title="100 messages a second to 1,000 clients of one channel",
    full=Load(clients=1000, rate=100),
    extra=_PERCENTILES,
    has_limit=True,
)
ECHO = Case(
    name="echo",
    title="50 clients publish 4,000 messages a second together and get them back",
    full=Load(clients=50, channels=50, rate=4000),
    extra=("p50 ms", "p99 ms", "us Redis CPU/message"),
    clients_publish=True,
)
IDLE = Case(
    name="idle",
    title="connections that do nothing",
    full=Load(clients=5000, channels=5000),
    unit=MEMORY,
)
CHURN = Case(
    name="churn",
    title="clients that join a channel of their own and leave",
    full=Load(clients=500),
    unit="us CPU/join and leave",
    extra=("Redis commands", "us Redis CPU", "p99 ms", "p99.9 ms"),
)
DISJOINT = Case(
    name="disjoint",
    title="1,000 messages a second over 1,000 channels, spread over 1, 2 and 4 processes",
    full=Load(clients=1000, channels=1000, rate=1000),
    unit=MESSAGE_CPU,
    extra=("Redis bytes/message", "us Redis CPU/message", "p99 ms"),
    processes=(1, 2, 4),
)
CASES = (
    BURST,
    STEADY,
    Case(
        name="many",
        title="10,000 messages a second over 5,000 channels with a client each",
        full=Load(clients=5000, channels=5000, rate=10_000),
        extra=_PERCENTILES,
        has_limit=True,
    ),
    Case(
        name="many-flat-out",
        title="the same as fast as it goes",
        full=Load(clients=5000, channels=5000, messages=30_000),
        extra=("delivered/s",),
        has_limit=True,
    ),
    ECHO,
    IDLE,
    CHURN,
    Case(
        name="storm",
        title="5,000 clients connect at once",
        full=Load(clients=5000, channels=5000, at_once=5000),
        unit="s until all are served",
        extra=("connects/s", "us CPU/connection"),
    ),
    DISJOINT,
)


def run_case(case: Case, load: Load, running: Running, redis_url: str) -> Figures:
    """Run a case once against a server.

    Raises:
        TimeoutError: the server stands still.
        ConnectionError: the server or Redis broke a connection, or refused.
    """
    inlet = None if case.clients_publish or not load.messages else running.inlet(load.message_bytes)
    load = replace(load, target=running.target, dialect=running.peer.dialect, inlet=inlet)
    if case is CHURN:
        return _run_churn(load, running, redis_url)
    with ExitStack() as stack:
        if case is IDLE:
            # What a server loads with its first clients is no cost of a client: some are there before it is weighed.
            stack.enter_context(Generator(replace(load, clients=max(1, load.clients // 10)))).connect()
        result = measure(load, running.tree, redis_url)
    if refused := result.figures["refused"]:
        raise ConnectionError(f"{refused:.0f} of {load.clients} clients were not served: {result.reason}")
    return result.figures


def run_limit(load: Load) -> Figures:
    """Run a load against a loop of send()."""
    target = Target("127.0.0.1", free_port(), "/feed/{channel}")
    return measure(replace(load, target=target, limit=True), None, None).figures


def unheard_us(by_processes: dict[int, float]) -> float:
    """Return what each further process adds to the cost of a message."""
    most = max(by_processes)
    return (by_processes[most] - by_processes[1]) / (most - 1) if most > 1 else 0.0


def _run_churn(load: Load, running: Running, redis_url: str) -> Figures:
    """Count join and leave with nothing else going on; then see what they do to clients that stay."""
    with Generator(replace(load, clients=min(100, load.clients))) as first:
        first.churn()  # what is loaded once, is loaded
    cpu, redis_before = running.tree.cpu_seconds(), redis_use(redis_url)
    with Generator(load) as generator:
        done = generator.churn()
    used, redis_used = running.tree.cpu_seconds() - cpu, redis_use(redis_url) - redis_before
    pairs = max(1, len(done.waits))
    staying = replace(load, clients=max(2, load.clients // 5), messages=200 if pairs > 100 else 20, rate=100)
    restless = threading.Thread(target=_quietly, args=(load,))
    restless.start()
    result = measure(replace(staying, inlet=running.inlet(), longest=LONGEST_SECONDS), running.tree, redis_url)
    restless.join()
    return result.figures | {
        CHURN.unit: used * 1e6 / pairs,
        "Redis commands": redis_used.commands / pairs,
        "us Redis CPU": redis_used.cpu_seconds * 1e6 / pairs,
        "pairs/s": pairs / done.seconds,
    }


def _quietly(load: Load) -> None:
    with suppress(OSError), Generator(load) as generator:  # that it fails shows in the first run
        generator.churn()
