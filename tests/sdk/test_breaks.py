"""The SDKs of others while workers and Redis end beneath them: nothing missed, nothing twice, or told.

All SDKs go through each break together, and a message is published every few milliseconds meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from redis.exceptions import RedisError

from tests.sdk.conftest import Rig
from tests.sdk.driver import Client, Driver
from tests.support.servers import is_replaced, until, workers

CLIENTS_EACH = 3
"""Clients of one SDK; the kernel deals them out to the workers."""


class Numbers:
    """The numbers that Redis has taken."""

    def __init__(self) -> None:
        self.taken: list[int] = []


@asynccontextmanager
async def numbers(rig: Rig, channel: str) -> AsyncIterator[Numbers]:
    """Publish 0, 1, 2 … until the block ends, also while Redis is away."""
    said = Numbers()
    is_over = False

    async def publish() -> None:
        number = 0
        while not is_over:
            with suppress(RedisError, OSError):
                await rig.publisher.publish(f"feed:{channel}", str(number))
                said.taken.append(number)
            number += 1
            await asyncio.sleep(0.005)

    task = asyncio.create_task(publish())
    try:
        yield said
    finally:
        is_over = True
        await task


async def crowd(rig: Rig, drivers: list[Driver], channel: str) -> list[Client]:
    """Return clients of every SDK that can come back to where they were."""
    clients = [driver.client(rig.port) for driver in drivers for _ in range(CLIENTS_EACH)]
    for client in clients:
        await client.subscribe(channel, recoverable=True)
    return clients


async def heard_to_the_end(client: Client, channel: str, last: int) -> list[int]:
    """Return what a client has heard once it has heard the last number."""
    await client.until("publication", channel=channel, data=last)
    return [event["data"] for event in client.found("publication", channel=channel)]


async def all_of_it_once(clients: list[Client], channel: str, taken: list[int]) -> None:
    """Check that every client has heard an unbroken run of what was taken, to its end."""
    for client in clients:
        heard = await heard_to_the_end(client, channel, taken[-1])
        assert heard == taken[taken.index(heard[0]) :], client.name
        again = client.found("subscribed", channel=channel)[1:]
        assert all(event["recovered"] for event in again), client.name


def descriptors(pid: int) -> int:
    """Return how many descriptors a process has, which tells how many clients it took."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def test_a_worker_that_is_killed(rig: Rig, every_driver: list[Driver]) -> None:
    """Its clients come back to the other worker, or to the one in its place, and get what they missed."""
    async with numbers(rig, "killed") as said:
        before = {pid: descriptors(pid) for pid in workers(rig.server.pid)}
        clients = await crowd(rig, every_driver, "killed")
        os.kill(max(before, key=lambda pid: descriptors(pid) - before[pid]), signal.SIGKILL)
        await until(lambda: any(len(client.found("connected")) > 1 for client in clients))
        for client in clients:
            await client.until("subscribed", len(client.found("connected")))
    await all_of_it_once(clients, "killed", said.taken)


async def test_a_rolling_restart(rig: Rig, every_driver: list[Driver]) -> None:
    """New workers take over what the old ones kept."""
    async with numbers(rig, "rolling") as said:
        clients = await crowd(rig, every_driver, "rolling")
        before = workers(rig.server.pid)
        rig.server.process.send_signal(signal.SIGHUP)
        await is_replaced(rig.server.pid, before, 2)
        for client in clients:
            await client.until("connected", 2)
            await client.until("subscribed", 2)
    await all_of_it_once(clients, "rolling", said.taken)


async def test_a_redis_that_is_restarted(rig: Rig, every_driver: list[Driver]) -> None:
    """No client has a hole in what it heard without being told of it, and all go on with what comes next."""
    async with numbers(rig, "redis") as said:
        clients = await crowd(rig, every_driver, "redis")
        rig.redis.kill()
        await rig.redis.start()
        count = len(said.taken)
        await until(lambda: len(said.taken) > count)
        mark = said.taken[-1]  # a number after it may lie in what a client is told that it has missed
        await until(
            lambda: all([e for e in client.found("publication")[-1:] if e["data"] > mark] for client in clients)
        )
    for client in clients:
        heard = [event["data"] for event in client.found("publication", channel="redis")]
        assert heard == sorted(set(heard)), client.name
        expected = [number for number in said.taken if heard[0] <= number <= heard[-1]]
        if heard != expected:
            await client.until("subscribed", wasRecovering=True, recovered=False)  # told some time after the gap
