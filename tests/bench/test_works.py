"""Every work once, with tiny amounts; no number is judged."""

from __future__ import annotations

import pytest

from bench.peers.registry import MUX
from bench.servers import Running
from bench.works import CASES, SMOKE, Case, run_case, run_limit


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_mux_does_the_work(case: Case, mux: Running, redis_url: str) -> None:
    """What is compared is among the figures, and where messages are sent none is lost."""
    assert mux.peer is MUX
    figures = run_case(case, mux, redis_url, SMOKE)
    assert next(iter(figures)) == case.unit
    assert figures.get("lost", 0.0) == figures.get("lost %", 0.0) == 0.0


@pytest.mark.parametrize("case", [case for case in CASES if case.has_limit], ids=lambda case: case.name)
def test_limit_does_the_work(case: Case) -> None:
    """A loop of send() delivers everything, and its cost is known."""
    figures = run_limit(case, SMOKE)
    assert figures["lost"] == 0.0
    assert figures[case.unit] > 0.0
