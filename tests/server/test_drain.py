"""A process empties itself of its clients, in its own loop and under Sanic's own server."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from mux.goodbye.goodbyes import ANSWER_SECONDS
from tests.support.servers import (
    CONNECT_OPTIONS,
    PATIENCE_SECONDS,
    Serving,
    handshake,
    mux_serve,
    raw_client,
    serving,
    until,
)

CLIENTS = 300
MASKED_CLOSE = b"\x88\x82\x00\x00\x00\x00\x03\xe9"


async def goodbyes(clients: list[ClientConnection]) -> list[tuple[float, int | None]]:
    """Wait for all to be closed; return when each was, on the monotonic clock, and its close code."""

    async def goodbye(client: ClientConnection) -> tuple[float, int | None]:
        with suppress(ConnectionClosed):
            while True:
                await client.recv()
        return time.monotonic(), client.close_code

    async with asyncio.timeout(PATIENCE_SECONDS * 2):
        return await asyncio.gather(*map(goodbye, clients))


async def connected(stack: AsyncExitStack, url: str, count: int) -> list[ClientConnection]:
    """Open so many WebSockets."""
    options: dict[str, Any] = {**CONNECT_OPTIONS, "ping_interval": None}
    return [await stack.enter_async_context(connect(url.format(number), **options)) for number in range(count)]


async def test_clients_are_told_in_batches_and_served_until_then(redis_url: str, prefix: str) -> None:
    """Over the drain's time, not all at once; whose turn has not come yet hears what is published."""
    async with serving(redis_url=redis_url, prefix=prefix, drain_seconds=1.5) as feed, AsyncExitStack() as stack:
        clients = await connected(stack, feed.url(), 60)
        began = time.monotonic()
        draining = asyncio.create_task(feed.mux.drain())
        await until(lambda: len(feed.mux._core.hub) < 60)
        assert len(feed.mux._core.hub) > 30
        await feed.mux.publish("lobby", "still here")
        heard = sum([await _rest(client) == ["still here"] for client in clients])
        assert 1 <= heard < 60
        await draining
        assert not len(feed.mux._core.hub)
        ends = await goodbyes(clients)
        assert {code for _, code in ends} == {1001}
        assert time.monotonic() - began > 0.9


async def _rest(client: ClientConnection) -> list[str | bytes]:
    messages: list[str | bytes] = []
    with suppress(ConnectionClosed):
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                messages.append(await client.recv())
    return messages


async def test_zero_seconds_are_at_once(redis_url: str, prefix: str) -> None:
    """All in the same turn of the loop."""
    async with serving(redis_url=redis_url, prefix=prefix, drain_seconds=0) as feed, AsyncExitStack() as stack:
        clients = await connected(stack, feed.url(), 40)
        draining = asyncio.create_task(feed.mux.drain())
        await until(lambda: not feed.mux._core.hub.open_connections())
        await draining
        assert {code for _, code in await goodbyes(clients)} == {1001}


async def test_drain_may_be_asked_for_twice_at_the_same_time(feed: Serving) -> None:
    """Sanic's runner does it; and who waited and was cancelled has not ended it."""
    async with raw_client(feed.port) as client:
        first = asyncio.create_task(feed.mux.drain())
        second = asyncio.create_task(feed.mux.drain())
        assert await client.read(2) == b"\x88\x1a"
        first.cancel()
        assert not second.done()
        client.send(MASKED_CLOSE)
        await second
        assert not len(feed.mux._core.hub)
        await feed.mux.drain()


async def test_what_waits_for_a_client_is_sent_before_goodbye(redis_url: str, prefix: str) -> None:
    """A reader that is behind gets all of it, then the close frame, then the end."""
    big = 64 << 20
    async with (
        serving(redis_url=redis_url, prefix=prefix, max_pending_bytes=big) as feed,
        raw_client(feed.port) as client,
    ):
        client.stop_reading()
        for _ in range(200):
            await feed.mux.publish("lobby", b"x" * 60_000)
        await until(lambda: feed.mux._core.hub.pending_bytes > 1_000_000)
        draining = asyncio.create_task(feed.mux.drain())
        await until(feed.mux._core.hub.closing_connections)
        client.reader._transport.resume_reading()  # type: ignore[attr-defined]  # of StreamReader, since 3.4
        data = bytearray()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not data.endswith(b"the server is going away"):
                chunk = await client.reader.read(1 << 20)
                assert chunk, "it was cut off"
                data += chunk
        assert data.count(b"x") == 200 * 60_000
        client.send(MASKED_CLOSE)
        await draining


async def test_who_does_not_say_goodbye_is_cut_off(
    redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When drain() returns nobody is left, for uvloop's server waits for every transport."""
    monkeypatch.setattr("mux.goodbye.goodbyes.ANSWER_SECONDS", 0.2)
    async with serving(redis_url=redis_url, prefix=prefix) as feed, raw_client(feed.port), raw_client(feed.port):
        with caplog.at_level("INFO", "mux.goodbye"):
            await feed.mux.drain()
        assert not len(feed.mux._core.hub)
        assert "cut off 2 clients" in caplog.text
        assert "drained: 2 clients" in caplog.text


async def test_closing_ends_a_drain_wherever_it_is(redis_url: str, prefix: str) -> None:
    """Its task has an owner."""
    async with serving(redis_url=redis_url, prefix=prefix) as feed, raw_client(feed.port) as client:
        waiting = asyncio.create_task(feed.mux.drain())
        assert await client.read(2) == b"\x88\x1a"
        await feed.mux._core.aclose()
        await waiting


async def test_newcomers_are_refused_and_readiness_is_gone_while_it_drains(redis_url: str, prefix: str) -> None:
    """A load balancer is told, and so is a client that comes all the same."""
    with mux_serve("--redis-url", redis_url, "--prefix", prefix) as server, socket.socket() as mute:
        mute.connect(("127.0.0.1", server.port))
        mute.sendall(handshake(server.port))
        assert mute.recv(4096).startswith(b"HTTP/1.1 101 ")
        assert (await _get(server.port, "/readyz")).startswith(b"HTTP/1.1 200 ")
        server.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(_until_close_frame, mute)
        ready = await _get(server.port, "/readyz")
        assert ready.startswith(b"HTTP/1.1 503 ")
        assert b'"failing":["not_draining"]' in ready
        assert (await _get(server.port, "/healthz")).startswith(b"HTTP/1.1 200 ")
        refused = await _get(server.port, "/feed/lobby")
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After" in refused
        stream = await _get(server.port, "/feed/lobby", "Accept: text/event-stream\r\n")
        assert stream.startswith(b"HTTP/1.1 200 "), "an EventSource that hears another status never comes back"
        assert b"\nretry: " in stream
        mute.sendall(MASKED_CLOSE)
        assert await asyncio.to_thread(server.process.wait, PATIENCE_SECONDS) == 0


async def _get(port: int, path: str, headers: str = "") -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n".encode())
    async with asyncio.timeout(PATIENCE_SECONDS):
        answer = await reader.read()
    writer.close()
    return answer


def _until_close_frame(client: socket.socket) -> None:
    client.settimeout(PATIENCE_SECONDS)
    while b"\x88" not in client.recv(4096):
        pass


def drain_seconds(log: str, clients: int) -> float:
    """Return the longest drain of the processes that had so many clients together, as the log has it.

    The clients themselves do not tell: where the machine is busy, a test may hear all goodbyes in one go.
    """
    drained = re.findall(r"drained: (\d+) clients in ([\d.]+) s", log)
    assert sum(int(count) for count, _ in drained) == clients, log
    return max(float(seconds) for _, seconds in drained)


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_server_drains_in_its_time_and_leaves_nothing(redis_url: str, prefix: str, workers: int) -> None:
    """300 clients, 3 that do not answer, one that asks for nothing: told over 1 s, gone by 6 s, status 0."""
    control = redis.Redis.from_url(redis_url)
    before = {client["name"] for client in control.client_list()}
    options = ("--redis-url", redis_url, "--prefix", prefix, "--workers", str(workers), "--drain-seconds", "1")
    with mux_serve(*options) as server:
        async with AsyncExitStack() as stack:
            url = f"ws://127.0.0.1:{server.port}/feed/c{{}}"
            clients = await connected(stack, url, CLIENTS)
            for _ in range(3):
                await stack.enter_async_context(raw_client(server.port))
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            began = time.monotonic()
            stopping = asyncio.create_task(asyncio.to_thread(server.stop))
            ends = await goodbyes(clients)
            status, said = await stopping
            took = time.monotonic() - began
        assert status == 0, said
        assert {code for _, code in ends} == {1001}
        assert drain_seconds(said, CLIENTS + 3) > ANSWER_SECONDS + 0.5
        assert took > 1
        assert "Traceback" not in said
        await until(lambda: {client["name"] for client in control.client_list()} <= before)


# Under Sanic's own server and manager.

SHOP = """
import sys
from sanic import Sanic
from sanic.worker.manager import WorkerManager
import mux.goodbye.goodbyes
from mux import Mux

mux.goodbye.goodbyes.ANSWER_SECONDS = 0.5

wait = WorkerManager.wait_for_ack

def wait_and_tell(manager):
    wait(manager)
    print("all are ready", flush=True)

# Stopped before, Sanic's manager waits for workers that have ended, for ever.
WorkerManager.wait_for_ack = wait_and_tell

app = Sanic("shop")
Mux(app, redis_url=sys.argv[1], prefix=sys.argv[2], drain_seconds=1)
if __name__ == "__main__":
    app.run("127.0.0.1", int(sys.argv[3]), workers=int(sys.argv[4]), single_process=sys.argv[4] == "0",
            access_log=False)
"""


@contextmanager
def shop(folder: Path, redis_url: str, prefix: str, port: int, workers: int) -> Iterator[subprocess.Popen[str]]:
    """Run an app with a Mux as its author does; without workers it is one process."""
    program = folder / "shop.py"
    program.write_text(SHOP)
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, str(program), redis_url, prefix, str(port), str(workers)],
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # so that a Ctrl-C can be sent to all of it, and to nobody else
        )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.mark.parametrize(("workers", "is_ctrl_c"), [(0, False), (2, False), (2, True)])
async def test_an_app_drains_in_sanics_own_order(
    redis_url: str, prefix: str, free_port: int, tmp_path: Path, workers: int, is_ctrl_c: bool
) -> None:
    """In one process, under the manager, and by Ctrl-C, which reaches all processes, workers twice."""
    with shop(tmp_path, redis_url, prefix, free_port, workers) as process:
        log = tmp_path / "log"
        await until(lambda: ("all are" if workers else "Worker") + " ready" in log.read_text())
        async with AsyncExitStack() as stack:
            clients = await connected(stack, f"ws://127.0.0.1:{free_port}/feed/c{{}}", 40)
            await stack.enter_async_context(raw_client(free_port))  # never says goodbye
            if is_ctrl_c:
                os.killpg(process.pid, signal.SIGINT)
            else:
                process.send_signal(signal.SIGTERM)
            ends = await goodbyes(clients)
            assert {code for _, code in ends} == {1001}
            assert await asyncio.to_thread(process.wait, PATIENCE_SECONDS) == 0, log.read_text()
        assert drain_seconds(log.read_text(), 41) > 0.7  # without batches 0.5, for the one that does not answer
        assert "Traceback" not in log.read_text()


# A rolling restart.


@asynccontextmanager
async def listener(url: str, heard: list[int], away: list[tuple[int, int]]) -> AsyncIterator[None]:
    """Listen for as long as the block runs, coming back whenever the connection ends.

    Args:
        url: where.
        heard: gets the numbers that come.
        away: gets, each time, the last number heard before and the first one after.
    """

    async def listen() -> None:
        while True:
            with suppress(OSError, WebSocketException):
                async with connect(url, compression=None, open_timeout=2) as client:
                    is_back = bool(heard)
                    async for message in client:
                        number = int(message)
                        if is_back:
                            away.append((heard[-1], number))
                            is_back = False
                        heard.append(number)
            await asyncio.sleep(0.02)

    task = asyncio.create_task(listen())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_rolling_restart_loses_nothing_but_the_time_away(redis_url: str, prefix: str, free_port: int) -> None:
    """One of two servers is restarted under load; the clients of the other do not notice, its own come back."""
    options = ("--redis-url", redis_url, "--prefix", prefix, "--no-announce", "--drain-seconds", "0.5")
    stays: list[list[int]] = [[] for _ in range(5)]
    moves: list[list[int]] = [[] for _ in range(20)]
    none: list[tuple[int, int]] = []
    away: list[list[tuple[int, int]]] = [[] for _ in moves]
    published = 0
    async with AsyncExitStack() as stack:
        other = stack.enter_context(mux_serve(*options))
        one = stack.enter_context(mux_serve(*options, "--port", str(free_port)))
        for numbers in stays:
            await stack.enter_async_context(listener(other.url(), numbers, none))
        for numbers, gaps in zip(moves, away, strict=True):
            await stack.enter_async_context(listener(one.url(), numbers, gaps))

        async def publish() -> None:
            nonlocal published
            async with other.connect() as talker:
                while True:
                    published += 1
                    await talker.send(str(published))
                    await asyncio.sleep(0.002)

        publishing = asyncio.create_task(publish())
        await until(lambda: all([*stays, *moves]))
        status, said = await asyncio.to_thread(one.stop)
        assert status == 0, said
        stack.enter_context(mux_serve(*options, "--port", str(free_port)))
        await until(lambda: all(away))
        enough = published + 200
        await until(lambda: all(numbers[-1] > enough for numbers in [*stays, *moves]))
        publishing.cancel()
        with suppress(asyncio.CancelledError):
            await publishing
    assert none == []
    for numbers in stays:
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
    for numbers, gaps in zip(moves, away, strict=True):
        ((last, first),) = gaps
        assert numbers == [*range(numbers[0], last + 1), *range(first, numbers[-1] + 1)]
