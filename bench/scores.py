"""What the suites share: pytest-benchmark's fixture, which has no types, and the figures of a run.

A figure is that of the quietest round. CPU time has no outliers downwards: what a neighbour on the machine does to
caches and clock rates only adds to it, and on a busy machine it adds to one contender and not to the next.
"""

from __future__ import annotations

from typing import Protocol

from bench.compare import Rounds

Scores = dict[tuple[str, str], dict[str, Rounds]]
"""The figures by case and unit, and by contender."""


class Timings(Protocol):
    """What is used of pytest_benchmark.stats.Stats."""

    @property
    def min(self) -> float:
        """Seconds on the benchmark's timer in the quietest round."""


class Metadata(Protocol):
    """What is used of pytest_benchmark.stats.Metadata."""

    stats: Timings


class Benchmark(Protocol):
    """What is used of pytest_benchmark.fixture.BenchmarkFixture."""

    group: str | None
    extra_info: dict[str, object]
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

        Without a contender, the figure is that of the server the test is parametrised with, or of mux.
        """
