"""The growth of cost: one quantity after the other from small to large, and a law fitted to the figures.

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
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from bench.in_process import channels_us, membership
from bench.loadgen.load import Load
from bench.measure import CPU, MEMORY, MESSAGE_CPU, Figures, measure
from bench.peers.registry import MUX
from bench.report import number
from bench.servers import redis_server, serving
from bench.works import DISJOINT, LONGEST_SECONDS

BEND = 0.15
"""An exponent that differs by so much between the two halves of a curve is a bend."""

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
    why: str
    """Why it bends, if it does."""
    x: list[float] = field(default_factory=list)
    y: list[float] = field(default_factory=list)
    kind: str = "power"
    step: str = ""
    """The quantity that a linear law counts."""

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

    def as_json(self) -> dict[str, Any]:
        """Return what goes into a results file."""
        return asdict(self) | {"law": self.law, "slope": self.fit[1], "bends": self.bends}


FULL: dict[str, list[float]] = {
    "subscribers": [1, 3, 10, 30, 100, 300, 1000, 2000, 5000],
    "payload": [16, 64, 256, 1024, 4096, 16384, 65536],
    "processes": [1, 2, 3, 4],
    "connection-memory": [100, 300, 1000, 3000, 8000, 16000],
    "channels": [1, 10, 100, 1000, 10_000, 100_000, 1_000_000],
    # With fewer channels their memory cannot be told from that of the process.
    "channel-memory": [1000, 10_000, 100_000, 1_000_000],
}
SMOKE: dict[str, list[float]] = {
    "subscribers": [3], "payload": [16], "processes": [2], "connection-memory": [2], "channels": [10],
    "channel-memory": [10],
}  # fmt: skip
"""The sizes that are tried, by curve."""

CURVES = (
    Curve(
        name="subscribers", kind="shared", title="Delivery against subscribers",
        x_label="subscribers of the channel", y_label="µs CPU/delivery",
        why="a message costs what it costs to wake up, read and parse, and subscribers share that until send() is all",
    ),
    Curve(
        name="payload", kind="linear", step="byte", title="Delivery against payload (100 subscribers)",
        x_label="bytes of a message", y_label="µs CPU/delivery",
        why="up to some KiB a system call costs more than the bytes it copies; beyond, copying is the cost",
    ),
    Curve(
        name="processes", kind="linear", step="process", title="Message against processes (disjoint channels)",
        x_label="processes", y_label="µs CPU/message, all processes",
        why="the share of unheard messages grows with the processes",
    ),
    Curve(
        name="connection-memory", kind="shared", title="Memory against connections",
        x_label="idle connections", y_label="KiB/connection",
        why="what is loaded with the first connection is shared by all later ones",
    ),
    Curve(
        name="channels", title="Delivery against channels (in process)",
        x_label="channels with one subscriber", y_label="µs/message",
        why="channels beyond the processor's caches are looked up in memory",
    ),
    Curve(
        name="channel-memory", kind="shared", title="Memory against channels (in process)",
        x_label="channels with one subscriber", y_label="bytes/channel",
        why="a dict doubles when it is two thirds full: a channel costs most just after that",
    ),
)  # fmt: skip


def curves(steps: dict[str, list[float]], say: Callable[[str], None] = lambda line: None) -> Iterator[Curve]:
    """Measure one curve after the other."""
    for curve in CURVES:
        y = []
        for x in steps[curve.name]:
            y.append(_cost(curve.name, round(x), smoke=steps is SMOKE))
            say(f"{curve.name}: {x:,.0f}: {number(y[-1])} {curve.y_label}")
        yield replace(curve, x=steps[curve.name], y=y)


def _cost(curve: str, x: int, *, smoke: bool) -> float:
    deliveries = 60 if smoke else 50_000
    match curve:
        case "subscribers":
            # Each message is one batch: the next is due when the one before is delivered.
            messages, rate = max(20, min(500, deliveries // x)), min(200.0, deliveries / x)
            return _run(Load(clients=x, messages=messages, rate=rate))[CPU]
        case "payload":
            clients, messages = (5, 20) if smoke else (100, 300)
            return _run(Load(clients=clients, messages=messages, rate=100, message_bytes=x))[CPU]
        case "processes":
            return _run(DISJOINT.load(smoke=smoke), workers=x)[MESSAGE_CPU]
        case "connection-memory":
            return _run(Load(clients=x, channels=x))[MEMORY]
        case "channels":
            return channels_us(x)
        case _:
            return membership("router", x).bytes_each


def _run(load: Load, workers: int = 1) -> Figures:
    with redis_server() as redis_url, serving(MUX, redis_url, workers=workers) as running:
        inlet = running.inlet(load.message_bytes)
        load = replace(load, target=running.target, inlet=inlet, longest=LONGEST_SECONDS)
        return measure(load, running.tree, redis_url).figures


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
