"""One quantity against another, and the law fitted to it.

A law has a part that is fixed and one that grows, and says how much each is:

    shared   y = fixed / x + slope        a cost all share, and what each one costs
    linear   y = fixed + slope * x        a cost for all, and what each step adds
    power    y = fixed * x ** slope       a straight line where both axes are logarithmic

They are fitted to relative errors, for a curve spans decades. Where the exponent of the first half of a curve is
not that of the second, it bends.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

import numpy as np

from bench.screen import number

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
    why: str
    """Why it bends, if it does."""
    y: list[float] = field(default_factory=list)
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
            "shared": f"{number(fixed)} shared + {number(slope)} each",
            "linear": f"{number(fixed)} + {number(slope)} a {self.step}",
            "power": f"{number(fixed)} · x^{slope:.2f}",
        }[self.kind]

    def fitted(self, x: float) -> float:
        """Return what the law says."""
        fixed, slope = self.fit
        if self.kind == "shared":
            return fixed / x + slope
        return fixed + slope * x if self.kind == "linear" else fixed * math.pow(x, slope)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Curve:
        """Take it from a results file."""
        return cls(**{one.name: content[one.name] for one in fields(cls)})

    def as_json(self) -> dict[str, Any]:
        """Return what goes into a results file."""
        return asdict(self) | {"law": self.law, "slope": self.slope, "bends": self.bends}

    def sentence(self) -> str:
        """Return one line for the screen."""
        bend = f"; it bends: {self.why}" if self.bends else ""
        return f"{self.title}: {self.y_label} = {self.law}{bend}"


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
