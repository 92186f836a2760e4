"""What the suites share: pytest-benchmark's fixture, and the figures of a run.

A figure is that of the quietest round. CPU time has no outliers downwards: what a neighbour on the machine does to
caches and clock rates only adds to it, and on a busy machine it adds to one contender and not to the next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.compare import Rounds

Benchmark = Any
"""pytest_benchmark.fixture.BenchmarkFixture, which has no types."""

Scores = dict[tuple[str, str], dict[str, Rounds]]
"""The figures by case and unit, and by contender."""

Score = Callable[..., None]
"""Keeps a figure of the test that asked for it (conftest.score)."""
