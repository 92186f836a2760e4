"""What every suite starts from: how much work, a Redis, a server, and a place for its figures.

A test that takes `server` is timed by the CPU clock of that server and by nothing else: the fixture sets
the timer, so it stands before `benchmark` among the arguments. Its parameters are in this order: the
limit, the baselines, mux.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.programs import MUX, Process, Program, serving
from bench.scoreboard import Benchmark, Figure, Score, Scoreboard, environment
from bench.sizes import FULL, SMOKE, Sizes
from mux.broker.embedded import embedded_server

_SCOREBOARD = pytest.StashKey[Scoreboard]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --smoke."""
    parser.addoption("--smoke", action="store_true", help="run everything once with tiny sizes; judge no number")


def pytest_configure(config: pytest.Config) -> None:
    """Prepare the scoreboard, and keep pytest-benchmark from repeating what is only to be tried."""
    config.stash[_SCOREBOARD] = Scoreboard()
    if config.getoption("--smoke"):
        config.option.benchmark_max_time = "0.001"
        config.option.benchmark_min_rounds = 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print mux beside its baselines."""
    lines = list(config.stash[_SCOREBOARD].lines())
    if len(lines) > 1:
        terminalreporter.section("mux and its baselines: ratio is baseline / mux, limit is a bare loop of send()")
        for line in (*lines, "", environment()):
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def sizes(pytestconfig: pytest.Config) -> Sizes:
    """How much work."""
    return SMOKE if pytestconfig.getoption("--smoke") else FULL


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A Valkey of our own."""
    with embedded_server() as url:
        yield url


@pytest.fixture
def server(request: pytest.FixtureRequest, redis_url: str) -> Iterator[Process]:
    """The server of this parameter; what is measured is its CPU time."""
    program: Program = request.param
    with serving(program, redis_url) as process:
        request.node.add_marker(pytest.mark.benchmark(timer=process.cpu_seconds))
        yield process


@pytest.fixture
def score(benchmark: Benchmark, pytestconfig: pytest.Config) -> Score:
    """What keeps a figure of this test: in the table, and in pytest-benchmark's JSON."""

    def keep(case: str, unit: str, *, per: int = 1, value: float | None = None, contender: str | None = None) -> None:
        if value is None:
            if benchmark.stats is None:
                return  # --benchmark-disable
            value = benchmark.stats.stats.min / per * 1e6
        figure = Figure(case, contender or benchmark.param or MUX.name, value, unit)
        benchmark.extra_info.update(pytestconfig.stash[_SCOREBOARD].add(figure))

    return keep
