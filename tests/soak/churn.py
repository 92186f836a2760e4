"""Clients that come and go in every way there is, and what a server uses meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from tests.chaos.traffic import post
from tests.soak.slope import Sample, Slope, fit
from tests.support.servers import PATIENCE_SECONDS, handshake

CLIENTS = 40
"""In a round, all at once."""

RESOLUTION = {"memory": 2 * 1024 * 1024, "descriptors": 2.0, "tasks": 2.0}
"""What the measurement is good for: an allocator's arenas in bytes; a descriptor or task more or less."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a server uses: quantities by name, each a function that measures it now."""

    measures: dict[str, Callable[[], float]]

    def sample(self) -> dict[str, float]:
        """Measure everything."""
        return {name: measure() for name, measure in self.measures.items()}


def of_process(pid: int) -> dict[str, Callable[[], float]]:
    """Return the measures of any process: resident memory in bytes, and open descriptors (proc(5))."""

    def memory() -> float:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return float(line.split()[1]) * 1024
        raise AssertionError("a process has a size")

    return {"memory": memory, "descriptors": lambda: float(len(list(Path(f"/proc/{pid}/fd").iterdir())))}


async def client(port: int, random: Random) -> None:
    """Come, do something, and go, in one of the ways there are."""
    channel = f"soak-{random.randrange(1000)}"
    way = random.choice(("talk", "listen", "abort", "slow", "half", "post", "garbage", "refused"))
    async with asyncio.timeout(PATIENCE_SECONDS):
        if way == "post":
            assert await post(port, channel, b"hi") == 204
        elif way in ("half", "garbage", "refused"):
            await _raw(port, channel, way)
        else:
            await _websocket(port, channel, way, random)


async def _raw(port: int, channel: str, way: str) -> None:
    request = handshake(port, channel)
    data = {"half": request[:40], "garbage": request + b"\xff\xff\xff", "refused": request.replace(b": 13", b": 12")}
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data[way])
    if way != "half":
        await reader.read(4096)
    writer.transport.abort()


async def _websocket(port: int, channel: str, way: str, random: Random) -> None:
    options: dict[str, Any] = {"compression": None, "max_size": None}
    with suppress(ConnectionClosed, InvalidHandshake, InvalidMessage):
        async with connect(f"ws://127.0.0.1:{port}/feed/{channel}", **options) as websocket:
            if way in ("talk", "slow"):
                for _ in range(random.randrange(1, 10)):
                    await websocket.send(random.randbytes(random.randrange(4000)))
            if way == "talk":
                await websocket.recv()
            if way in ("abort", "slow"):
                websocket.transport.abort()


async def churn(
    port: int,
    usage: Usage,
    *,
    seconds: float,
    rounds: int,
    seed: int,
    progress: Callable[[str], None] = lambda text: None,
) -> dict[str, Slope]:
    """Let clients come and go until both the time and the rounds are over; return the slope of each quantity.

    It is measured between rounds, when everybody has gone and the server has had a moment to notice.
    """
    random = Random(seed)
    samples: dict[str, list[Sample]] = {name: [] for name in usage.measures}
    started = monotonic()
    done = 0
    while done < rounds or monotonic() - started < seconds:
        await asyncio.gather(*(client(port, random) for _ in range(CLIENTS)))
        now = await _lowest(usage)
        for name, value in now.items():
            samples[name].append((monotonic() - started, value))
        done += 1
        progress(f"{monotonic() - started:6.0f} s, round {done}: " + ", ".join(f"{k} {v:,.0f}" for k, v in now.items()))
    return {name: fit(values) for name, values in samples.items()}


async def _lowest(usage: Usage) -> dict[str, float]:
    """Return the least of some measurements: what is just going away is not held against the server."""
    measured = []
    for _ in range(5):
        await asyncio.sleep(0.02)
        measured.append(usage.sample())
    return {name: min(each[name] for each in measured) for name in usage.measures}
