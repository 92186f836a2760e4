"""`kill -HUP` under traffic: clients that come back with their position get every message once and in order."""

from __future__ import annotations

import asyncio
import signal

from tests.server.test_replace import is_replaced, workers
from tests.support.resuming import HttpxResumer, Resumer, following, numbers, once_each
from tests.support.servers import PATIENCE_SECONDS, mux_serve, until


async def test_every_worker_is_replaced_and_no_client_misses_anything(redis_url: str, prefix: str) -> None:
    """A new worker has copied the journal before an old one drains, so every position stays good."""
    options = ("--redis-url", redis_url, "--prefix", prefix, "--workers", "2", "--no-announce")
    with mux_serve(*options, "--drain-seconds", "0.5") as server:
        url = server.url(scheme="http")
        clients = [*(Resumer(url) for _ in range(8)), *(HttpxResumer(url) for _ in range(2))]
        await until(lambda: len(workers(server.pid)) == 2)
        async with following(*clients), numbers(redis_url, f"{prefix}lobby") as said:
            for client in clients:
                await client.until(1)
            before = workers(server.pid)
            server.process.send_signal(signal.SIGHUP)
            async with asyncio.timeout(2 * PATIENCE_SECONDS):
                await is_replaced(server, before, 2)
            last = said.published + 50
            for client in clients:
                await client.until(last)
        status, output = await asyncio.to_thread(server.stop)
    assert [client.missed for client in clients] == [[]] * len(clients)
    assert all(client.comebacks for client in clients)
    assert all(once_each(client) for client in clients)
    assert status == 0, output
    assert "ERROR" not in output
