"""Two processes of one fleet with an API, and a client of each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from cent import AsyncClient

from tests.support.servers import Serving, serving, until

KEY = "test-api-key"


def client_of(feed: Serving, key: str = KEY) -> AsyncClient:
    """Return a client of the API of one process."""
    return AsyncClient(f"http://127.0.0.1:{feed.port}/api", key)


@pytest.fixture
async def two(redis_url: str, prefix: str) -> AsyncIterator[list[Serving]]:
    """Two processes of one fleet, in this one, that know each other."""
    async with AsyncExitStack() as stack:
        options: dict[str, Any] = {"redis_url": redis_url, "prefix": prefix, "drain_seconds": 0}
        options["api_key"] = (KEY, "another-api-key")
        feeds = [await stack.enter_async_context(serving(**options)) for _ in range(2)]
        await until(lambda: all(len(feed.mux._core._fleet._census) == 1 for feed in feeds))
        await until(lambda: all((past := feed.mux._core.past) and past.numbering.epoch for feed in feeds))
        yield feeds


@pytest.fixture
async def clients(two: list[Serving]) -> AsyncIterator[list[AsyncClient]]:
    """A client of each."""
    clients = [client_of(feed) for feed in two]
    yield clients
    for client in clients:
        await client.close()
