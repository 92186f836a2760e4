"""A soak of seconds: it would find what grows with every connection. `tox -e soak` finds what grows slowly."""

from __future__ import annotations

import asyncio
import os
from random import Random

import pytest

from tests.soak.churn import RESOLUTION, Usage, churn, of_process
from tests.soak.slope import fit
from tests.support.servers import Serving, mux_serve

ROUNDS = 12


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Run the clients on one loop only."""
    return "asyncio", {"use_uvloop": True}


@pytest.mark.parametrize("per_second", [0.0, 2.5, -3.0])
def test_slope_of_a_line_is_found(per_second: float) -> None:
    """Without noise the fit is exact, and only what goes up grows."""
    slope = fit([(float(x), 7 + per_second * x) for x in range(10)], warm_up=0)
    assert slope.per_second == pytest.approx(per_second)
    assert slope.seconds == 9
    assert slope.growth == pytest.approx(9 * per_second)
    assert slope.grows(1) == (per_second > 0)


def test_noise_is_no_growth() -> None:
    """Nor is a leak hidden by it."""
    random = Random(1)
    noise = [(float(x), random.gauss(100, 5)) for x in range(100)]
    assert not fit(noise).grows(1)
    assert fit([(x, y + 0.5 * x) for x, y in noise]).grows(1)


def test_less_than_can_be_measured_is_no_growth() -> None:
    """However straight the line is."""
    assert not fit([(float(x), 0.001 * x) for x in range(10)]).grows(1)


def test_warm_up_is_left_out() -> None:
    """What fills once does not grow."""
    assert not fit([(float(x), min(x, 3) * 100.0) for x in range(12)]).grows(1)


def test_a_line_needs_three_points() -> None:
    """And time has to pass."""
    for samples in ([], [(0.0, 1.0), (1.0, 1.0)], [(1.0, 1.0)] * 5):
        with pytest.raises(ValueError, match="too few"):
            fit(samples)


async def test_a_server_does_not_grow(redis_url: str, prefix: str) -> None:
    """Clients come and go in every way: descriptors and memory of `mux serve` stay as they are."""
    with mux_serve("--redis-url", redis_url, "--prefix", prefix, "--log-level", "error") as server:
        slopes = await churn(server.port, Usage(of_process(server.pid)), seconds=0, rounds=ROUNDS, seed=4)
    assert not slopes["descriptors"].grows(RESOLUTION["descriptors"]), slopes
    # So short a run is warm-up for memory: this finds only what is kept of every connection.
    assert not slopes["memory"].grows(8 * RESOLUTION["memory"]), slopes


async def test_no_task_stays(feed: Serving) -> None:
    """In this process, where they can be counted, with the descriptors of both sides."""
    measures = of_process(os.getpid()) | {"tasks": lambda: float(len(asyncio.all_tasks()))}
    slopes = await churn(feed.port, Usage(measures), seconds=0, rounds=ROUNDS, seed=5)
    for name in ("tasks", "descriptors"):
        assert not slopes[name].grows(RESOLUTION[name]), slopes
