"""Two processes of one fleet, in this one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.support.servers import Serving, serving, until


@pytest.fixture
async def two(redis_url: str, prefix: str) -> AsyncIterator[list[Serving]]:
    """Two processes of one fleet, in this one, that know each other."""
    async with AsyncExitStack() as stack:
        options: dict[str, Any] = {"redis_url": redis_url, "prefix": prefix, "drain_seconds": 0, "announce": True}
        feeds = [await stack.enter_async_context(serving(**options)) for _ in range(2)]
        await until(lambda: all(len(feed.mux._core._fleet._census) == 1 for feed in feeds))
        yield feeds
