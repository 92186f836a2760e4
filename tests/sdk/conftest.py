"""One server of two workers on a Redis that can be restarted, and a process of each SDK that is on this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from redis.asyncio import Redis

from tests.chaos.processes import RedisServer, redis_client
from tests.sdk.driver import Driver, driving
from tests.sdk.kits import KITS, Kit
from tests.support.servers import PATIENCE_SECONDS, ServerProcess, mux_serve
from tests.support.tokens import AUDIENCE, SECRET

WORKERS = 2

OPTIONS = [
    *("--workers", str(WORKERS), "--drain-seconds", "0.5", "--token-audience", AUDIENCE),
    *("--allowed-origin", "file://", "--allowed-origin", "null"),
    *("--anyone-subscribe", "*", "--anyone-publish", "*"),
]


@dataclass(frozen=True, slots=True)
class Rig:
    """The server, and the Redis beneath it."""

    server: ServerProcess
    redis: RedisServer
    publisher: Redis

    @property
    def port(self) -> int:
        """The port of the server."""
        return self.server.port


@pytest.fixture(scope="package")
async def redis_server(anyio_backend: object, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RedisServer]:
    """Return a Redis that keeps its port."""
    folder: Path = tmp_path_factory.mktemp("redis")
    redis = RedisServer(folder)
    await redis.start()
    yield redis
    redis.kill()


@pytest.fixture(scope="package")
def server(redis_server: RedisServer) -> Iterator[ServerProcess]:
    """Return a server of two workers where strangers may do everything, and tokens are checked."""
    url = f"redis://127.0.0.1:{redis_server.port}"
    with mux_serve("--redis-url", url, *OPTIONS, env={"MUX_TOKEN_KEY": SECRET, "MUX_PROBE_SECONDS": "0.5"}) as process:
        yield process


@pytest.fixture(scope="package")
async def rig(server: ServerProcess, redis_server: RedisServer) -> AsyncIterator[Rig]:
    """Return the server with its Redis and a client of that, once both workers have a place in the common order."""
    async with (
        redis_client(redis_server.port, timeout_seconds=30) as publisher,
        asyncio.timeout(PATIENCE_SECONDS),
        httpx.AsyncClient(headers={"Connection": "close"}) as http,
    ):
        while sum(client["psub"] == "1" for client in await publisher.client_list()) < WORKERS:
            await asyncio.sleep(0.02)
        for _ in range(10):  # whichever worker takes it
            while not (await http.get(f"http://127.0.0.1:{server.port}/readyz")).is_success:
                await asyncio.sleep(0.02)
    async with redis_client(redis_server.port, timeout_seconds=30) as publisher:
        yield Rig(server, redis_server, publisher)


@pytest.fixture(scope="package")
async def drivers(anyio_backend: object) -> AsyncIterator[dict[str, Driver]]:
    """Return a process of each SDK that is here."""
    async with AsyncExitStack() as stack:
        yield {kit.name: await stack.enter_async_context(driving(kit)) for kit in KITS if kit.is_there}


@pytest.fixture(params=KITS, ids=lambda kit: kit.name)
def driver(request: pytest.FixtureRequest, drivers: dict[str, Driver]) -> Driver:
    """Return the process of one SDK."""
    kit: Kit = request.param
    if not kit.is_there:
        pytest.skip(kit.lack)
    return drivers[kit.name]


@pytest.fixture
def every_driver(drivers: dict[str, Driver]) -> list[Driver]:
    """Return the processes of all SDKs that are here, for what happens to all of them together."""
    if not drivers:
        pytest.skip("; ".join(kit.lack for kit in KITS))
    return list(drivers.values())
