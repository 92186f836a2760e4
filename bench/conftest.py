"""The start of every suite: the amount of work, a Redis, a server, and a place for its figures.

A test that takes `server` is timed by the CPU clock of that server and by nothing else: the fixture sets
the timer, so it stands before `benchmark` among the arguments.

A figure is that of the quietest round. CPU time has no outliers downwards: what a neighbour on the machine does to
caches and clock rates only adds to it, and on a busy machine it adds to one contender and not to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bench.compare import LIMIT, Rounds
from bench.peers.registry import MUX, Peer
from bench.report import number, summarised, table
from bench.results import environment
from bench.servers import Running, redis_server, serving

Benchmark = Any
"""pytest_benchmark.fixture.BenchmarkFixture, which has no types."""

Score = Callable[..., None]
"""Keeps a figure of the test that asked for it: see score()."""

_SCORES = pytest.StashKey[dict[tuple[str, str], dict[str, Rounds]]]()
"""The figures by case and unit, and by contender."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --smoke."""
    parser.addoption("--smoke", action="store_true", help="run everything once with tiny sizes; judge no number")


def pytest_configure(config: pytest.Config) -> None:
    """Prepare the scores, and keep pytest-benchmark from repeating what is only to be tried."""
    config.stash[_SCORES] = {}
    if config.getoption("--smoke"):
        config.option.benchmark_max_time = "0.001"
        config.option.benchmark_min_rounds = 1


def pytest_terminal_summary(config: pytest.Config) -> None:
    """Print mux beside its baselines, as the comparison of servers does."""
    cells = [
        (case, unit, row.name, *(number(one.median) if one else "" for one in (row.value, row.to_mux, row.to_limit)))
        for (case, unit), results in config.stash[_SCORES].items()
        for row in summarised(results, unit)
    ]
    if cells:
        made = environment()
        title = f"\n{made['cpus']} x {made['cpu']}, {made['system']}, Python {made['python']}, {made['versions']}"
        table(title, ("case", "unit", "", "figure", "x mux", f"x {LIMIT}"), cells, left=3)


@pytest.fixture(scope="session")
def smoke(pytestconfig: pytest.Config) -> bool:
    """True when everything is run once with tiny sizes, and no promise is judged."""
    return bool(pytestconfig.getoption("--smoke"))


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A Valkey of our own."""
    with redis_server() as url:
        yield url


@pytest.fixture
def server(request: pytest.FixtureRequest, redis_url: str) -> Iterator[Running]:
    """The server of this parameter; what is measured is its CPU time."""
    peer: Peer = request.param
    with serving(peer, redis_url) as running:
        request.node.add_marker(pytest.mark.benchmark(timer=running.tree.cpu_seconds))
        yield running


@pytest.fixture
def score(request: pytest.FixtureRequest, benchmark: Benchmark, pytestconfig: pytest.Config) -> Score:
    """Keeps a figure of this test: in the table, and in pytest-benchmark's JSON."""

    def keep(case: str, unit: str, *, per: int = 1, value: float | None = None, contender: str | None = None) -> None:
        if value is None:
            if benchmark.stats is None:
                return  # --benchmark-disable
            value = benchmark.stats.stats.min / per * 1e6
        served = getattr(request.node, "funcargs", {}).get("server")
        name = contender or (served.peer.name if served else MUX.name)
        pytestconfig.stash[_SCORES].setdefault((case, unit), {})[name] = [{unit: value}]
        benchmark.extra_info[f"{case}: {unit}"] = value

    return keep
