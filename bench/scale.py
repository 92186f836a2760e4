"""How cost grows: one quantity after the other from small to large, and a law fitted to what was seen.

A law has a part that is fixed and one that grows, and says how much each is:

    shared   y = fixed / x + slope        a cost all share, and what each one costs
    linear   y = fixed + slope * x        a cost for all, and what each step adds
    power    y = fixed * x ** slope       a straight line where both axes are logarithmic

They are fitted to relative errors, for a curve spans decades. Where the exponent of the first half of a curve is
not that of the second, it bends. Why it would bend is written here before anything is measured, and printed only
where the bend is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np

from bench.in_process import channels_us, membership
from bench.loadgen.load import Load
from bench.measure import Result, measure
from bench.peers.registry import MUX
from bench.report import number
from bench.servers import redis_server, serving
from bench.works import DISJOINT, FULL, MESSAGE_CPU, SMOKE, Amounts, run_case

BEND = 0.15
"""An exponent that differs by so much between the two halves of a curve is a bend."""

MANY_CHANNELS = 1000
"""With fewer channels their memory cannot be told from that of the process."""

_SHAPES: dict[str, Callable[[Any, float, float], Any]] = {
    "shared": lambda x, fixed, slope: fixed / x + slope,
    "linear": lambda x, fixed, slope: fixed + slope * x,
    "power": lambda x, fixed, slope: fixed * x**slope,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One quantity against another."""

    name: str
    title: str
    x_label: str
    y_label: str
    x: list[float]
    why: str
    """Why it bends, if it does."""
    y: list[float] = field(default_factory=list)
    kind: str = "power"
    step: str = ""
    """What a linear law counts."""

    @property
    def fit(self) -> tuple[float, float]:
        """The fixed part and the slope: what each one costs, what each step adds, or the exponent."""
        return _fit(self.kind, self.x, self.y)

    @property
    def bends(self) -> bool:
        """True when the two halves have different exponents."""
        half = len(self.x) // 2
        first, second = (_fit("power", self.x[part], self.y[part])[1] for part in (slice(half + 1), slice(half, None)))
        return half >= 2 and abs(first - second) > BEND

    @property
    def law(self) -> str:
        """The law in words."""
        fixed, slope = self.fit
        return {
            "shared": f"{number(fixed)} shared + {number(slope)} each",
            "linear": f"{number(fixed)} + {number(slope)} a {self.step}",
            "power": f"{number(fixed)} · x^{slope:.2f}",
        }[self.kind]

    def fitted(self, x: float) -> float:
        """Return what the law says."""
        return float(_SHAPES[self.kind](x, *self.fit))

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Curve:
        """Take it from a results file."""
        return cls(**{one.name: content[one.name] for one in fields(cls)})

    def as_json(self) -> dict[str, Any]:
        """Return what goes into a results file."""
        return asdict(self) | {"law": self.law, "slope": self.fit[1], "bends": self.bends}


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
    subscribers=(3,), channels=(10,), payloads=(16,), processes=(2,), connections=(2,), deliveries=60, amounts=SMOKE
)


def curves(steps: Steps, say: Callable[[str], None] = lambda line: None) -> Iterator[Curve]:
    """Measure one curve after the other."""
    for curve, cost in _plans(steps):
        y = []
        for x in curve.x:
            y.append(cost(round(x)))
            say(f"{curve.name}: {x:,.0f}: {number(y[-1])} {curve.y_label}")
        yield replace(curve, y=y)


def _plans(steps: Steps) -> Iterator[tuple[Curve, Callable[[int], float]]]:
    """Give each curve with its x alone, and the function that measures y."""
    some = max(2, min(100, steps.amounts.clients))
    few = [count for count in steps.channels if count >= MANY_CHANNELS] or steps.channels
    yield Curve(
        name="subscribers", kind="shared", title="Delivery against subscribers",
        x_label="subscribers of the channel", y_label="µs CPU/delivery", x=_floats(steps.subscribers),
        why="a message costs what it costs to wake up, read and parse, and subscribers share that until send() is all",
    ), lambda clients: _delivery_us(Load(
        # Each message is one batch: the next is due when the one before is delivered.
        clients=clients, messages=max(20, min(500, steps.deliveries // clients)),
        rate=min(200.0, steps.deliveries / clients), longest=steps.amounts.longest,
    ))  # fmt: skip
    yield Curve(
        name="payload", kind="linear", step="byte", title=f"Delivery against payload ({some} subscribers)",
        x_label="bytes of a message", y_label="µs CPU/delivery", x=_floats(steps.payloads),
        why="up to some KiB a system call costs more than the bytes it copies; beyond, copying is the cost",
    ), lambda size: _delivery_us(Load(
        clients=some, messages=max(20, min(300, steps.deliveries // some)), rate=100, message_bytes=size,
        longest=steps.amounts.longest,
    ))  # fmt: skip
    yield Curve(
        name="processes", kind="linear", step="process", title="Message against processes (disjoint channels)",
        x_label="processes", y_label="µs CPU/message, all processes", x=_floats(steps.processes),
        why="the share of unheard messages grows with the processes",
    ), lambda processes: _disjoint_us(processes, steps.amounts)  # fmt: skip
    yield Curve(
        name="connection-memory", kind="shared", title="Memory against connections",
        x_label="idle connections", y_label="KiB/connection", x=_floats(steps.connections),
        why="what is loaded with the first connection is shared by all later ones",
    ), lambda clients: (_run(Load(clients=clients, channels=clients)).memory_bytes_each or 0.0) / 1024  # fmt: skip
    yield Curve(
        name="channels", title="Delivery against channels (in process)",
        x_label="channels with one subscriber", y_label="µs/message", x=_floats(steps.channels),
        why="channels beyond the processor's caches are looked up in memory",
    ), channels_us  # fmt: skip
    yield Curve(
        name="channel-memory", kind="shared", title="Memory against channels (in process)",
        x_label="channels with one subscriber", y_label="bytes/channel", x=_floats(few),
        why="a dict doubles when it is two thirds full: a channel costs most just after that",
    ), lambda channels: membership("router", channels).bytes_each  # fmt: skip


def _delivery_us(load: Load) -> float:
    return _run(load).cpu_us or 0.0


def _run(load: Load) -> Result:
    with redis_server() as redis_url, serving(MUX, redis_url) as running:
        return measure(
            replace(load, target=running.target, door=running.door(load.message_bytes)), running.tree, redis_url
        )


def _disjoint_us(processes: int, amounts: Amounts) -> float:
    with redis_server() as redis_url, serving(MUX, redis_url, workers=processes) as running:
        return run_case(DISJOINT, running, redis_url, amounts)[MESSAGE_CPU]


def _fit(kind: str, x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Return the fixed part and the slope of the law, by least squares of the relative errors."""
    xs, ys = np.array(x, dtype=float), np.maximum(np.array(y, dtype=float), 1e-9)
    if len(xs) < 2:
        return (0.0, float(ys.sum())) if kind == "shared" else (float(ys.sum()), 0.0)
    if kind == "power":
        slope, offset = np.polyfit(np.log(xs), np.log(ys), 1)
        return float(np.exp(offset)), float(slope)
    columns = np.stack([_SHAPES[kind](xs, 1.0, 0.0) / ys, _SHAPES[kind](xs, 0.0, 1.0) / ys], axis=1)
    fixed, slope = np.linalg.lstsq(columns, np.ones_like(ys), rcond=None)[0]
    return float(fixed), float(slope)


def _floats(values: Sequence[int]) -> list[float]:
    return list(map(float, values))
