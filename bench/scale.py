"""How cost grows: one quantity after the other from small to large, and a law fitted to what was seen (bench.curve).

Where a curve bends, a sentence says why: it stands here before anything is measured, and is printed only when the
bend is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.curve import Curve
from bench.disjoint import run_disjoint
from bench.in_process import channels_us, memory_bytes_each
from bench.loadgen.run import Load
from bench.measure import Say, measure, silent
from bench.pace import Pace
from bench.peers.registry import MUX
from bench.servers import redis_server, serving
from bench.works import CPU, FULL, NOWHERE, SMOKE, Amounts, figures

MANY_CHANNELS = 1000
"""From so many on the memory of a channel can be told from that of the process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """What is tried."""

    subscribers: Sequence[int]
    channels: Sequence[int]
    payloads: Sequence[int]
    processes: Sequence[int]
    connections: Sequence[int]
    deliveries: int
    amounts: Amounts


FULL_STEPS = Steps(
    subscribers=(1, 3, 10, 30, 100, 300, 1000, 2000, 5000),
    channels=(1, 10, 100, 1000, 10_000, 100_000, 1_000_000),
    payloads=(16, 64, 256, 1024, 4096, 16384, 65536),
    processes=(1, 2, 3, 4),
    connections=(100, 300, 1000, 3000, 8000, 16000),
    deliveries=50_000,
    amounts=FULL,
)
SMOKE_STEPS = Steps(
    subscribers=(3,),
    channels=(10,),
    payloads=(16,),
    processes=(2,),
    connections=(2,),
    deliveries=60,
    amounts=SMOKE,
)


@dataclass(frozen=True, slots=True)
class _Plan:
    """A curve of which only x is known, and what measures y."""

    curve: Curve
    cost: Callable[[int], float]


def curves(steps: Steps, peers: Path, say: Say = silent) -> Iterator[Curve]:
    """Measure one curve after the other."""
    plans = list(_plans(steps, peers))
    pace = Pace([(plan.curve.name, f"{x:g}") for plan in plans for x in plan.curve.x])
    for plan in plans:
        y = []
        for x in plan.curve.x:
            say(f"{plan.curve.name}: {x:,.0f}, {pace.said()}", pace.share, 0, 0, 0)
            y.append(plan.cost(round(x)))
            pace.done()
        yield replace(plan.curve, y=y)


def _plans(steps: Steps, peers: Path) -> Iterator[_Plan]:
    some = max(2, min(100, steps.amounts.clients))
    yield _Plan(
        Curve(
            name="subscribers",
            kind="shared",
            title="Delivery against subscribers",
            x_label="subscribers of the channel",
            y_label="µs CPU/delivery",
            x=_floats(steps.subscribers),
            why="a message costs what it costs to wake up, read and parse, and subscribers share that until send() is"
            " all",
        ),
        lambda clients: _subscribers_us(clients, steps, peers),
    )
    yield _Plan(
        Curve(
            name="payload",
            kind="linear",
            step="byte",
            title=f"Delivery against payload ({some} subscribers)",
            x_label="bytes of a message",
            y_label="µs CPU/delivery",
            x=_floats(steps.payloads),
            why="up to some KiB a system call costs more than the bytes it copies; beyond, copying is the cost",
        ),
        lambda size: _payload_us(size, some, steps, peers),
    )
    yield _Plan(
        Curve(
            name="processes",
            kind="linear",
            step="process",
            title="Message against processes (disjoint channels)",
            x_label="processes",
            y_label="µs CPU/message, all processes",
            x=_floats(steps.processes),
            why="the share of unheard messages grows with the processes",
        ),
        lambda processes: _processes_us(processes, steps, peers),
    )
    yield _Plan(
        Curve(
            name="connection-memory",
            kind="shared",
            title="Memory against connections",
            x_label="idle connections",
            y_label="KiB/connection",
            x=_floats(steps.connections),
            why="what is loaded with the first connection is shared by all later ones",
        ),
        lambda clients: _connection_kib(clients, peers),
    )
    yield _Plan(
        Curve(
            name="channels",
            title="Delivery against channels (in process)",
            x_label="channels with one subscriber",
            y_label="µs/message",
            x=_floats(steps.channels),
            why="channels beyond the processor's caches are looked up in memory",
        ),
        channels_us,
    )
    yield _Plan(
        Curve(
            name="channel-memory",
            kind="shared",
            title="Memory against channels (in process)",
            x_label="channels with one subscriber",
            y_label="bytes/channel",
            # Below, it is pages that are counted and not channels.
            x=_floats([count for count in steps.channels if count >= MANY_CHANNELS] or steps.channels),
            why="a dict doubles when it is two thirds full: a channel costs most just after that",
        ),
        memory_bytes_each,
    )


def _subscribers_us(clients: int, steps: Steps, peers: Path) -> float:
    messages = max(20, min(500, steps.deliveries // clients))
    # Each message is one batch: the next is due when the one before is delivered.
    rate = min(200.0, steps.deliveries / clients)
    return _run(Load(target=NOWHERE, clients=clients, messages=messages, rate=rate), peers, steps)[CPU]


def _payload_us(size: int, clients: int, steps: Steps, peers: Path) -> float:
    messages = max(20, min(300, steps.deliveries // clients))
    load = Load(target=NOWHERE, clients=clients, messages=messages, rate=100, message_bytes=size)
    return _run(load, peers, steps)[CPU]


def _processes_us(processes: int, steps: Steps, peers: Path) -> float:
    with redis_server() as redis_url:
        return run_disjoint(MUX, processes, redis_url, peers, steps.amounts)["us CPU/message"]


def _connection_kib(clients: int, peers: Path) -> float:
    with redis_server() as redis_url, serving(MUX, redis_url, peers) as running:
        result = measure(Load(target=running.target, clients=clients, channels=clients), running.tree, redis_url)
    return (result.rss_bytes_each or 0.0) / 1024


def _run(load: Load, peers: Path, steps: Steps) -> dict[str, float]:
    with redis_server() as redis_url, serving(MUX, redis_url, peers) as running:
        aimed = replace(
            load, target=running.target, door=running.door(load.message_bytes), longest=steps.amounts.longest
        )
        return figures(measure(aimed, running.tree, redis_url))


def _floats(values: Sequence[int]) -> list[float]:
    return list(map(float, values))
