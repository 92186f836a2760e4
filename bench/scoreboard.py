"""What was measured, and how mux stands to whom it was compared with in the same run.

A figure is that of the quietest round. CPU time has no outliers downwards: what a neighbour on the machine
does to caches and clock rates only adds to it, and on a busy machine it adds to one contender and not to
the next.

Cases come in the order they ran, and within a case the baselines before mux, so that mux' own entry in
the JSON of pytest-benchmark can say the ratio.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Protocol

from bench.programs import BARE_SEND, MUX

Info = dict[str, object]


class Timings(Protocol):
    """What is used of pytest_benchmark.stats.Stats."""

    @property
    def min(self) -> float:
        """Seconds on the benchmark's timer in the quietest round."""


class Metadata(Protocol):
    """What is used of pytest_benchmark.stats.Metadata."""

    stats: Timings


class Benchmark(Protocol):
    """What is used of pytest_benchmark.fixture.BenchmarkFixture, which has no types."""

    group: str | None
    param: str | None
    extra_info: Info
    stats: Metadata | None

    def __call__(self, function: object, *args: object) -> object:
        """Time a function over as many calls as it takes."""

    def pedantic(self, target: object, *, setup: object = None, rounds: int = 1, warmup_rounds: int = 0) -> object:
        """Time a function over so many calls."""


class Score(Protocol):
    """Keeps a figure of the test that asked for it (conftest.score)."""

    def __call__(
        self, case: str, unit: str, *, per: int = 1, value: float | None = None, contender: str | None = None
    ) -> None:
        """Keep value, or else the microseconds the benchmark's quietest round took for one of per.

        Without a contender, the figure is the one's the test is parametrised with, or mux'.
        """


@dataclass(frozen=True, slots=True)
class Figure:
    """One measurement; less is better."""

    case: str
    contender: str
    value: float
    unit: str


class Scoreboard:
    """The figures of one run."""

    def __init__(self) -> None:
        self._cases: dict[str, dict[str, Figure]] = {}

    def add(self, figure: Figure) -> Info:
        """Keep a figure; return what is to be said with it in the JSON."""
        rivals = self._cases.setdefault(figure.case, {})
        info: Info = {f"{figure.case}: {figure.unit}": figure.value}
        if figure.contender == MUX.name and figure.value:  # a few connections may fit into pages there are
            info |= {f"{figure.case}: ratio to {name}": rival.value / figure.value for name, rival in rivals.items()}
        rivals[figure.contender] = figure
        return info

    def lines(self) -> Iterator[str]:
        """Give the table, a line for each case and baseline."""
        header = ("case", "unit", "mux", "baseline", "", "ratio", "x of limit")
        rows = [header, *(row for rivals in self._cases.values() for row in _rows(rivals))]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            yield "  ".join(
                cell.rjust(width) if at in (2, 4, 5, 6) else cell.ljust(width)
                for at, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()


def environment() -> str:
    """Return what the figures were measured with, in one line."""
    versions = [f"{name} {version(name)}" for name in ("mux", "sanic", "uvloop", "hiredis", "websockets", "redis")]
    machine = f"{platform.system()} {platform.release()}, {os.cpu_count()} CPUs"
    return ", ".join([machine, f"Python {platform.python_version()}", *versions])


def _rows(figures: dict[str, Figure]) -> Iterator[tuple[str, str, str, str, str, str, str]]:
    """Give the rows of one case: how many times mux a baseline takes, and how many times the limit mux takes."""
    ours = figures.get(MUX.name)
    limit = figures.get(BARE_SEND.name)
    some = next(iter(figures.values()))
    mux = _number(ours.value) if ours else "-"
    times = f"{ours.value / limit.value:.2f}" if ours and limit and limit.value else ""
    case, unit = some.case, some.unit
    for rival in figures.values():
        if rival is ours or rival is limit:
            continue
        ratio = _number(rival.value / ours.value) if ours and ours.value else "-"
        yield case, unit, mux, rival.contender, _number(rival.value), ratio, times
        case = unit = mux = times = ""
    if case:
        yield case, unit, mux, "", "", "", times


def _number(value: float) -> str:
    """Return three significant digits, without an exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:#.3g}".rstrip(".")
