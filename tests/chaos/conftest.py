from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.chaos.rig import Rig
from tests.chaos.rig import rig as run_rig


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Run the clients and proxies on one loop only; the servers have their own."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="session")
async def rig(anyio_backend: object) -> AsyncIterator[Rig]:
    """Return the machines that all scenarios break, one after the other."""
    async with run_rig(seed=4) as one:
        yield one
