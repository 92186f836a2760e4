"""One mux for all tests of the benchmarks: starting one takes longer than most of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.peers.registry import DEFAULT_DIRECTORY, MUX
from bench.servers import Running, redis_server, serving


@pytest.fixture(scope="package")
def redis_url() -> Iterator[str]:
    """A Redis on a TCP port, as the peers need it."""
    with redis_server() as url:
        yield url


@pytest.fixture(scope="package")
def mux(redis_url: str) -> Iterator[Running]:
    """A running mux."""
    with serving(MUX, redis_url, DEFAULT_DIRECTORY) as server:
        yield server
