"""Floods against `mux serve` as a process: its memory stays bounded, and others are served meanwhile."""

from __future__ import annotations

import asyncio
import gc
import resource
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.servers import PATIENCE_SECONDS, ServerProcess, Serving, handshake, mux_serve, receive, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

FLOOD_BYTES = 1 << 17
"""How much each flood sends: 20,000 frames of 6 bytes."""

GROWTH_KIB = 16 * 1024
"""How much a server may have grown after a flood. Kept frame by frame it would be a hundred bytes a frame."""

KEY = b"\x00\x00\x00\x00"


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Run the clients on one loop only; the servers have their own."""
    return "asyncio", {"use_uvloop": True}


def resident_kib(server: ServerProcess) -> int:
    """Return what the kernel counts as the server's memory."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def descriptors(server: ServerProcess) -> int:
    """Return how many descriptors the server has open."""
    return len(list(Path(f"/proc/{server.pid}/fd").iterdir()))


def open_socket(server: ServerProcess | Serving, channel: str) -> socket.socket:
    """Open a WebSocket by hand."""
    client = socket.create_connection(("127.0.0.1", server.port), PATIENCE_SECONDS)
    client.sendall(handshake(server.port, channel))
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += client.recv(1)
    assert head.startswith(b"HTTP/1.1 101 "), head
    return client


@contextmanager
def flooded(server: ServerProcess, data: bytes) -> Iterator[Callable[[], int]]:
    """Open a WebSocket that sends as fast as it can, and reads; gives what sends."""
    with open_socket(server, "flood") as client:
        client.setblocking(False)

        def flood() -> int:
            sent, ends = 0, time.monotonic() + PATIENCE_SECONDS
            while sent < FLOOD_BYTES and time.monotonic() < ends:
                try:
                    sent += client.send(data[sent % len(data) :])
                except BlockingIOError:
                    time.sleep(0.001)
                except ConnectionError:
                    break
                try:
                    while client.recv(1 << 20):
                        pass
                except (BlockingIOError, ConnectionError):
                    pass
            return sent

        yield flood


@asynccontextmanager
async def others_are_served(server: ServerProcess) -> AsyncIterator[None]:
    """Have a client hear its echo again and again while the block runs, and once more after it."""
    async with server.connect("quiet") as client:
        stop = asyncio.Event()

        async def echo() -> int:
            count = 0
            while not stop.is_set() or not count:
                await client.send(f"{count}")
                assert await receive(client, 1) == [f"{count}"]
                count += 1
            return count

        echoing = asyncio.create_task(echo())
        try:
            yield
        finally:
            stop.set()
            async with asyncio.timeout(PATIENCE_SECONDS):
                assert await echoing


@pytest.fixture(scope="module")
def server(redis_url: str) -> Iterator[ServerProcess]:
    """Return a server that all floods meet."""
    options = ("--redis-url", redis_url, "--prefix", "flood:", "--no-announce", "--handshake-seconds", "1")
    with mux_serve(*options) as one:
        yield one


FLOODS = {
    "pings": b"\x89\xfd" + KEY + b"p" * 125,
    "empty pings": b"\x89\x80" + KEY,
    "pongs": b"\x8a\x80" + KEY,
    "tiny messages": b"\x81\x81" + KEY + b"x",
    "empty messages": b"\x82\x80" + KEY,
    "messages of a few empty fragments": b"\x01\x80" + KEY + (b"\x00\x80" + KEY) * 60 + b"\x80\x80" + KEY,
    "empty fragments without end": b"\x01\x80" + KEY + (b"\x00\x80" + KEY) * 100_000,
}


@pytest.mark.parametrize(
    "frames",
    [pytest.param(frames, id=name) for name, frames in FLOODS.items()],
)
async def test_a_flood_of_frames_is_bounded(server: ServerProcess, frames: bytes) -> None:
    """As fast as one client can."""
    data = frames * (1 + (1 << 18) // len(frames))
    with flooded(server, data) as flood:
        await asyncio.to_thread(flood)  # what is allocated once
        before = resident_kib(server)
        async with others_are_served(server):
            await asyncio.to_thread(flood)
        assert resident_kib(server) < before + GROWTH_KIB


HOLD_SECONDS = 0.03
"""How much longer than when it has next to nothing to do a turn of the loop may take; by one read it was 0.1 s once."""


async def longest_turn(working: asyncio.Future[None]) -> float:
    """Return how long the longest turn of this loop took until the work was done, in CPU time of this thread."""
    longest = 0.0
    gc.disable()  # whatever other tests have left behind is no part of a turn
    try:
        while not working.done():
            began = time.thread_time()
            await asyncio.sleep(0)
            longest = max(longest, time.thread_time() - began)
    finally:
        gc.enable()
    await working
    return longest


@pytest.mark.parametrize("frames", [pytest.param(frames, id=name) for name, frames in FLOODS.items()])
async def test_a_flood_holds_no_turn_of_the_loop(feed: Serving, frames: bytes) -> None:
    """Each read is as much as a read can be, and somebody else hears an echo while it is handled."""

    def speak(data: bytes) -> None:
        with open_socket(feed, "flood") as client:
            client.sendall(data + b"\x81\x84" + KEY + b"last")
            client.settimeout(0.2)
            with suppress(TimeoutError, ConnectionError):
                while client.recv(1 << 20):
                    pass

    await asyncio.to_thread(speak, b"")
    idle = await longest_turn(asyncio.ensure_future(asyncio.to_thread(speak, frames[:7])))
    flood = asyncio.ensure_future(asyncio.to_thread(speak, (frames * (1 + FLOOD_BYTES // len(frames)))[:FLOOD_BYTES]))
    async with feed.connect("quiet") as client:
        await client.send("hi")
        longest = await longest_turn(flood)
        assert await receive(client, 1) == ["hi"]
    assert longest < idle + HOLD_SECONDS


async def test_half_handshakes_do_not_stay(server: ServerProcess) -> None:
    """A hundred requests that never end, a byte at a time, are closed; others are served meanwhile."""
    before = descriptors(server)
    with ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(("127.0.0.1", server.port))) for _ in range(100)]
        for client in clients:
            client.sendall(handshake(server.port)[:-2] + b"X: ")
        await until(lambda: descriptors(server) > before + 50)

        def drip() -> bool:
            for client in clients:
                try:
                    client.send(b"x", socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
                except OSError:
                    continue
            time.sleep(0.05)
            return descriptors(server) <= before + 5  # the client that is served is one

        async with others_are_served(server), asyncio.timeout(PATIENCE_SECONDS):
            while not await asyncio.to_thread(drip):
                pass


async def test_connects_all_at_once(server: ServerProcess) -> None:
    """Two thousand connect before any is answered: all are let in, and when they go nothing of them stays."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(2000, hard - 1000)
    before = descriptors(server)

    def connect() -> list[socket.socket]:
        clients = []
        for number in range(count):
            client = socket.create_connection(("127.0.0.1", server.port), PATIENCE_SECONDS)
            client.sendall(handshake(server.port, f"c{number}"))
            clients.append(client)
        return clients

    memory = resident_kib(server)
    try:
        async with others_are_served(server):
            clients = await asyncio.to_thread(connect)
            for client in clients:
                assert client.recv(12) == b"HTTP/1.1 101"
        assert resident_kib(server) - memory < count * 16
    finally:
        for client in clients:
            client.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    await until(lambda: descriptors(server) <= before)


async def test_joining_and_leaving_without_end(server: ServerProcess) -> None:
    """One client comes and goes a thousand times; nothing of it stays."""

    def churn(times: int) -> None:
        for number in range(times):
            open_socket(server, f"churn{number}").close()

    await asyncio.to_thread(churn, 300)
    before = resident_kib(server)
    async with others_are_served(server):
        await asyncio.to_thread(churn, 700)
    assert resident_kib(server) < before + 2 * 1024


async def test_idle_connections_do_not_take_every_descriptor(redis_url: str, prefix: str) -> None:
    """More than a process may have: the excess is cut off, who was there is served, and all is well after."""
    options = ("--redis-url", redis_url, "--prefix", prefix, "--no-announce", "--handshake-seconds", "0.5")
    with mux_serve(*options, descriptors=256) as server:
        async with others_are_served(server):
            with ExitStack() as idle:
                for _ in range(400):
                    idle.enter_context(socket.create_connection(("127.0.0.1", server.port)))
                await until(lambda: descriptors(server) > 150)
                assert descriptors(server) <= 256
                await until(lambda: descriptors(server) < 50)
        async with server.connect() as client:
            await client.send("hi")
            assert await receive(client, 1) == ["hi"]
        _, said = await asyncio.to_thread(server.stop)
        assert "Traceback" not in said
        assert "Too many open files" not in said


def test_clients_that_never_read_do_not_fill_a_process(redis_url: str, prefix: str) -> None:
    """Each within its own bound, and together over theirs: they are evicted, and their memory is given back."""
    options = ("--redis-url", redis_url, "--prefix", prefix, "--no-announce", "--log-level", "error")
    message = b"\x82\xfe" + (65000).to_bytes(2) + KEY + bytes(65000)
    with mux_serve(*options, "--max-pending-total-bytes", "16000000") as server, ExitStack() as stack:
        clients = [stack.enter_context(open_socket(server, f"c{number}")) for number in range(200)]
        before = resident_kib(server)
        for client in clients:
            client.setblocking(False)
        waiting, most, ends = dict.fromkeys(clients, 16 * len(message)), 0, time.monotonic() + PATIENCE_SECONDS
        while waiting and time.monotonic() < ends:
            for client, left in tuple(waiting.items()):
                try:
                    waiting[client] = left - client.send(message[-left % len(message) :])
                except BlockingIOError:
                    continue
                except ConnectionError:
                    waiting[client] = 0
                if waiting[client] <= 0:
                    del waiting[client]
            most = max(most, resident_kib(server) - before)
            time.sleep(0.01)
        assert not waiting
        assert most < 64 * 1024  # without a bound it was 110 MB, and more with more clients
