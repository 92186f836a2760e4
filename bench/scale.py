"""How cost grows: one quantity after the other from small to large, and a law fitted to what was seen.

A law has a part that is fixed and one that grows, and says how much each is:

    shared   y = fixed / x + slope        a cost all share, and what each one costs
    linear   y = fixed + slope * x        a cost for all, and what each step adds
    power    y = fixed * x ** slope       a straight line where both axes are logarithmic

They are fitted to relative errors, for a curve spans decades. Where the exponent of the first half of a curve is
not that of the second, it bends, and a sentence says why: it stands here before anything is measured, and is
printed only when the bend is there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bench.disjoint import run_disjoint
from bench.in_process import channels_us, memory_bytes_each
from bench.loadgen.run import Load
from bench.measure import Say, measure, silent
from bench.peers.registry import MUX
from bench.servers import redis_server, serving
from bench.works import CPU, FULL, NOWHERE, SMOKE, Amounts, figures

MANY_CHANNELS = 1000
"""From so many on the memory of a channel can be told from that of the process."""

BEND = 0.15
"""An exponent that differs by so much between the two halves of a curve is a bend."""


Kind = Literal["shared", "linear", "power"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One quantity against another."""

    name: str
    title: str
    x_label: str
    y_label: str
    x: list[float]
    y: list[float]
    why: str
    """Why it bends, if it does."""
    kind: Kind = "power"
    step: str = ""
    """What a linear law counts."""

    @property
    def fit(self) -> tuple[float, float]:
        """The fixed part and the slope."""
        return _fit(self.kind, self.x, self.y)

    @property
    def slope(self) -> float:
        """What each one costs, what each step adds, or the exponent."""
        return self.fit[1]

    @property
    def bends(self) -> bool:
        """True when the two halves have different slopes."""
        half = len(self.x) // 2
        if half < 2:
            return False
        first = _fit("power", self.x[: half + 1], self.y[: half + 1])[1]
        return abs(first - _fit("power", self.x[half:], self.y[half:])[1]) > BEND

    @property
    def law(self) -> str:
        """The law in words."""
        fixed, slope = self.fit
        return {
            "shared": f"{fixed:.3g} shared + {slope:.3g} each",
            "linear": f"{fixed:.3g} + {slope:.3g} a {self.step}",
            "power": f"{fixed:.3g} · x^{slope:.2f}",
        }[self.kind]

    def fitted(self, x: float) -> float:
        """Return what the law says."""
        fixed, slope = self.fit
        if self.kind == "shared":
            return fixed / x + slope
        return fixed + slope * x if self.kind == "linear" else fixed * math.pow(x, slope)

    def as_json(self) -> dict[str, Any]:
        """Return what goes into a results file."""
        return asdict(self) | {"law": self.law, "slope": self.slope, "bends": self.bends}

    def sentence(self) -> str:
        """Return one line for the screen."""
        bend = f"; it bends: {self.why}" if self.bends else ""
        return f"{self.title}: {self.y_label} = {self.law}{bend}"


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
    subscribers=(1, 3),
    channels=(10, 100),
    payloads=(16, 256),
    processes=(1, 2),
    connections=(2,),
    deliveries=30,
    amounts=SMOKE,
)


def curves(steps: Steps, peers: Path, say: Say = silent) -> Iterator[Curve]:
    """Measure one curve after the other."""
    yield _against_subscribers(steps, peers, say)
    yield _against_payload(steps, peers, say)
    yield _against_processes(steps, peers, say)
    yield _against_connections(steps, peers, say)
    say("channels in process", 0.0, 0, 0, 0)
    x = list(map(float, steps.channels))
    yield Curve(
        name="channels",
        title="Delivery against channels (in process)",
        x_label="channels with one subscriber",
        y_label="µs/message",
        x=x,
        y=[channels_us(count) for count in steps.channels],
        why="channels beyond the processor's caches are looked up in memory",
    )
    say("memory of channels", 0.0, 0, 0, 0)
    # Below, it is pages that are counted and not channels.
    many = [count for count in steps.channels if count >= MANY_CHANNELS] or steps.channels
    yield Curve(
        name="channel-memory",
        kind="shared",
        title="Memory against channels (in process)",
        x_label="channels with one subscriber",
        y_label="bytes/channel",
        x=list(map(float, many)),
        y=[memory_bytes_each(count) for count in many],
        why="a dict doubles when it is two thirds full: a channel costs most just after that",
    )


def _against_subscribers(steps: Steps, peers: Path, say: Say) -> Curve:
    def cost(clients: int) -> float:
        messages = max(20, min(500, steps.deliveries // clients))
        # Each message is one batch: the next is due when the one before is delivered.
        rate = min(200.0, steps.deliveries / clients)
        return _run(Load(target=NOWHERE, clients=clients, messages=messages, rate=rate), peers, steps)[CPU]

    x, y = _points(steps.subscribers, cost, say)
    return Curve(
        name="subscribers",
        kind="shared",
        title="Delivery against subscribers",
        x_label="subscribers of the channel",
        y_label="µs CPU/delivery",
        x=x,
        y=y,
        why="a message costs what it costs to wake up, read and parse, and subscribers share that until send() is all",
    )


def _against_payload(steps: Steps, peers: Path, say: Say) -> Curve:
    clients = max(2, min(100, steps.amounts.clients))

    def cost(size: int) -> float:
        messages = max(20, min(300, steps.deliveries // clients))
        load = Load(target=NOWHERE, clients=clients, messages=messages, rate=100, message_bytes=size)
        return _run(load, peers, steps)[CPU]

    x, y = _points(steps.payloads, cost, say)
    return Curve(
        name="payload",
        kind="linear",
        step="byte",
        title=f"Delivery against payload ({clients} subscribers)",
        x_label="bytes of a message",
        y_label="µs CPU/delivery",
        x=x,
        y=y,
        why="up to some KiB a system call costs more than the bytes it copies; beyond, copying is the cost",
    )


def _against_processes(steps: Steps, peers: Path, say: Say) -> Curve:
    def cost(processes: int) -> float:
        with redis_server() as redis_url:
            return run_disjoint(MUX, processes, redis_url, peers, steps.amounts)["us CPU/message"]

    x, y = _points(steps.processes, cost, say)
    return Curve(
        name="processes",
        kind="linear",
        step="process",
        title="Message against processes (disjoint channels)",
        x_label="processes",
        y_label="µs CPU/message, all processes",
        x=x,
        y=y,
        why="the share of unheard messages grows with the processes",
    )


def _against_connections(steps: Steps, peers: Path, say: Say) -> Curve:
    def cost(clients: int) -> float:
        with redis_server() as redis_url, serving(MUX, redis_url, peers) as running:
            result = measure(Load(target=running.target, clients=clients, channels=clients), running.tree, redis_url)
        return (result.rss_bytes_each or 0.0) / 1024

    x, y = _points(steps.connections, cost, say)
    return Curve(
        name="connection-memory",
        kind="shared",
        title="Memory against connections",
        x_label="idle connections",
        y_label="KiB/connection",
        x=x,
        y=y,
        why="what is loaded with the first connection is shared by all later ones",
    )


def _run(load: Load, peers: Path, steps: Steps) -> dict[str, float]:
    with redis_server() as redis_url, serving(MUX, redis_url, peers) as running:
        aimed = replace(
            load, target=running.target, door=running.door(load.message_bytes), longest=steps.amounts.longest
        )
        return figures(measure(aimed, running.tree, redis_url))


def _points(xs: Sequence[int], cost: Callable[[int], float], say: Say) -> tuple[list[float], list[float]]:
    ys = []
    for at, x in enumerate(xs):
        say(f"{cost.__qualname__.split('.')[0].strip('_').replace('_', ' ')}: {x:,}", at / len(xs), 0, 0, 0)
        ys.append(cost(x))
    return list(map(float, xs)), ys


def _fit(kind: Kind, x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Return the fixed part and the slope of the law, by least squares of the relative errors."""
    xs, ys = np.array(x, dtype=float), np.maximum(np.array(y, dtype=float), 1e-9)
    if len(xs) == 1:
        return (float(ys[0]), 0.0) if kind != "shared" else (0.0, float(ys[0]))
    if kind == "power":
        slope, offset = np.polyfit(np.log(xs), np.log(ys), 1)
        return float(np.exp(offset)), float(slope)
    columns = (1 / xs, np.ones_like(xs)) if kind == "shared" else (np.ones_like(xs), xs)
    solution = np.linalg.lstsq(np.stack(columns, axis=1) / ys[:, None], np.ones_like(ys), rcond=None)[0]
    return float(solution[0]), float(solution[1])
