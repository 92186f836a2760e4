"""Medians, spread, and ratios paired within a round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from bench.compare import LIMIT, Comparison, Rounds
from bench.disjoint import DISJOINT, DISJOINT_CASE
from bench.peers.registry import MUX
from bench.works import CASES, CPU, Case

ALL_CASES = (*CASES, DISJOINT_CASE)


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some rounds, and the least and the most."""

    median: float
    least: float
    most: float


@dataclass(frozen=True, slots=True)
class Row:
    """A server in a case."""

    name: str
    value: Spread | None
    """None when it failed in every round."""
    to_mux: Spread | None
    """How many times mux."""
    to_limit: Spread | None
    details: dict[str, float]
    """Medians of all other figures."""
    why_failed: str = ""
    """What it said in the last round in which it failed."""

    @property
    def lost(self) -> float:
        """Deliveries lost."""
        return self.details.get("lost", 0.0)


def rows(comparison: Comparison, case: Case) -> list[Row]:
    """Return the servers of a case, the best first; those that failed come last."""
    results = comparison.cases.get(case.name, {})
    first = MUX.name if case.name != DISJOINT else f"{MUX.name} x1"
    found = [_row(name, rounds, results.get(first), results.get(LIMIT), case) for name, rounds in results.items()]
    found = [replace(row, why_failed=comparison.failures.get(f"{case.name}: {row.name}", "")) for row in found]
    return sorted(found, key=lambda row: (row.value is None, row.value.median if row.value else 0.0))


def spread(values: Sequence[float]) -> Spread | None:
    """Summarise; None when there is nothing to summarise."""
    return Spread(median(values), min(values), max(values)) if values else None


def _row(name: str, rounds: Rounds, mux: Rounds | None, limit: Rounds | None, case: Case) -> Row:
    values = [figures[case.unit] for figures in rounds if figures is not None]
    last = [figures for figures in rounds if figures is not None]
    details = {key: median(figures[key] for figures in last) for key in last[0] if key != case.unit} if last else {}
    return Row(
        name,
        spread(values),
        spread(_paired(rounds, mux, case.unit)) if name != LIMIT else None,
        spread(_paired(rounds, limit, case.unit)) if case.unit == CPU and name != LIMIT else None,
        details,
    )


def _paired(ours: Rounds, theirs: Rounds | None, unit: str) -> list[float]:
    return [
        one[unit] / other[unit]
        for one, other in zip(ours, theirs or (), strict=False)
        if one is not None and other is not None and other[unit]
    ]
