"""Stops and hostile connections as an operator meets them: `mux serve` is a process that others connect to."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.doorstep.test_doorstep import ALIVE, POST, STUCK, statuses
from tests.support.servers import PATIENCE_SECONDS, ServerProcess, handshake, mux_serve, until

DRAIN_SECONDS = 0.2
END_SECONDS = DRAIN_SECONDS + 5
"""How long a stop may take: the drain, and what requests that have begun then have to finish."""

SLACK_SECONDS = 5.0
"""What a machine that is busy with other things may add to a stop."""

STORMERS = 20
"""How many clients of a storm run at the same time."""

KEPT = 100
"""How many connections that nobody has ended a storm keeps."""


Act = Callable[["Storm"], Awaitable[None]]
"""What a client does with one connection."""


class Storm:
    """Clients that go on until nobody listens any more, and a count of what they heard."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.heard: Counter[int | str] = Counter()
        self.acts = 0
        self.kept: deque[asyncio.StreamWriter] = deque()
        self.every: list[asyncio.StreamWriter] = []

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection that stays until the storm is over, or until so many others have been opened."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.acts += 1
        self.kept.append(writer)
        self.every.append(writer)
        if len(self.kept) > KEPT:
            self.kept.popleft().transport.abort()
        return reader, writer

    async def head(self, reader: asyncio.StreamReader) -> int:
        """Return the status of the next answer."""
        status = statuses(await reader.readuntil(b"\r\n\r\n"))[0]
        self.heard[status] += 1
        self.acts += 1
        return status

    async def client(self, act: Act) -> None:
        """Do the same again and again until a connection is refused; count how the others were ended."""
        while True:
            try:
                await act(self)
            except ConnectionRefusedError:
                return
            except (OSError, asyncio.IncompleteReadError) as error:
                self.heard[type(error).__name__] += 1
            await asyncio.sleep(0)

    async def end(self) -> None:
        """Give up all connections."""
        for writer in self.every:
            writer.transport.abort()
        await asyncio.sleep(0)


async def handshakes(storm: Storm) -> None:
    """Join, and leave without a word."""
    reader, writer = await storm.connect()
    try:
        writer.write(handshake(storm.port))
        await storm.head(reader)
    finally:
        writer.transport.abort()


async def unfinished_bodies(storm: Storm) -> None:
    """Send half a message, the first half of the next one, and no more."""
    _, writer = await storm.connect()
    writer.write(POST + b"Content-Length: 10\r\n\r\nhalf")


async def unread_answers(storm: Storm) -> None:
    """Ask for far more than is ever read."""
    _, writer = await storm.connect()
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(ALIVE * 500)


async def posts(storm: Storm) -> None:
    """Publish on a kept connection until it is ended."""
    reader, writer = await storm.connect()
    try:
        while True:
            writer.write(POST + b"Content-Length: 2\r\n\r\nhi")
            if await storm.head(reader) != 204:
                return
    finally:
        writer.transport.abort()


STORMS = (handshakes, unfinished_bodies, unread_answers, posts)


async def stop_in(act: Act, server: ServerProcess, acts: int = 100) -> tuple[int, str, float, Storm]:
    """Stop a server while a storm is on; return its exit status, its log, how long it took, and the storm."""
    storm = Storm(server.port)
    clients = [asyncio.create_task(storm.client(act)) for _ in range(STORMERS)]
    try:
        await until(lambda: storm.acts >= acts)
        began = time.monotonic()
        status, said = await asyncio.to_thread(server.stop)
        took = time.monotonic() - began
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(*clients)
    finally:
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        await storm.end()
    return status, said, took, storm


@pytest.mark.parametrize("act", STORMS, ids=lambda act: act.__name__)
async def test_a_stop_in_a_storm_ends_in_its_time(act: Act, redis_url: str, prefix: str) -> None:
    """Of ten stops while somebody connected seven never ended, and requests under way were answered with 500."""
    options = ["--redis-url", redis_url, "--prefix", prefix, "--no-announce", "--drain-seconds", str(DRAIN_SECONDS)]
    with mux_serve(*options) as server:
        status, said, took, storm = await stop_in(act, server)
    assert status == 0
    assert took < END_SECONDS + SLACK_SECONDS
    assert "Traceback" not in said
    assert {heard for heard in storm.heard if isinstance(heard, int)} <= {101, 204, 503}


def _kept_by(pid: int) -> tuple[int, int]:
    """Return how many descriptors a process has open, and its resident memory in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return len(list(Path(f"/proc/{pid}/fd").iterdir())), int(status.partition("VmRSS:")[2].split()[0]) * 1024


async def test_hostile_connections_leave_neither_descriptors_nor_memory(redis_url: str, prefix: str) -> None:
    """One address held 239 descriptors for ever, and bodies that nobody wanted stayed in memory."""
    options = [
        "--redis-url",
        redis_url,
        "--prefix",
        prefix,
        "--handshake-seconds",
        "0.4",
        "--keep-alive-seconds",
        "0.4",
    ]
    with mux_serve(*options) as server:

        async def come(rounds: int) -> None:
            for _ in range(rounds):
                async with asyncio.timeout(PATIENCE_SECONDS):
                    streams = [await asyncio.open_connection("127.0.0.1", server.port) for _ in STUCK]
                    for (_, writer), data in zip(streams, STUCK.values(), strict=True):
                        writer.write(data)
                    await asyncio.sleep(0)
                    for at, (_, writer) in enumerate(streams):
                        if at % 2:
                            writer.transport.abort()
                left.extend(writer for at, (_, writer) in enumerate(streams) if not at % 2)

        left: list[asyncio.StreamWriter] = []
        descriptors = 24  # its own, with some to spare; an idle server has 16
        await come(10)
        await until(lambda: _kept_by(server.pid)[0] <= descriptors)
        _, memory = _kept_by(server.pid)
        await come(60)
        await until(lambda: _kept_by(server.pid)[0] <= descriptors)
        assert _kept_by(server.pid)[1] < memory + 8 * 1024 * 1024
        for writer in left:
            writer.transport.abort()
