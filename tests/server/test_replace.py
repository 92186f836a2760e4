"""`kill -HUP` on `mux serve`: new workers take the place of those that serve, and nobody outside notices."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import signal
import subprocess
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from threading import Timer
from typing import IO

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.support.servers import PATIENCE_SECONDS, TOKEN, ServerProcess, is_replaced, mux_serve, until, workers


@asynccontextmanager
async def traffic(server: ServerProcess, sent: list[str]) -> AsyncIterator[list[Exception]]:
    """Post for as long as the block runs, each message on a connection of its own or on one that is kept."""
    failures: list[Exception] = []
    ends = asyncio.Event()

    async def post(name: str, headers: dict[str, str]) -> None:
        number = 0
        async with httpx.AsyncClient(timeout=PATIENCE_SECONDS) as http:
            while not ends.is_set():
                number += 1
                try:
                    answer = await http.post(server.url(scheme="http"), content=f"{name} {number}", headers=headers)
                    answer.raise_for_status()
                except httpx.HTTPError as error:
                    failures.append(error)
                else:
                    sent.append(f"{name} {number}")
                await asyncio.sleep(0.005)

    async def come_and_go() -> None:
        while not ends.is_set():
            try:
                async with connect(server.url("other")):
                    pass
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told
                failures.append(error)

    tasks = [
        asyncio.create_task(job) for job in (post("kept", {}), post("new", {"Connection": "close"}), come_and_go())
    ]
    try:
        yield failures
    finally:
        ends.set()
        await asyncio.gather(*tasks)


async def published(server: ServerProcess) -> float:
    """Return how many messages all workers there are and were have published."""
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}) as http:
        numbers = await http.get(f"http://127.0.0.1:{server.port}/metrics")
    (found,) = re.findall(r"^mux_messages_published_total (\S+)", numbers.text, re.MULTILINE)
    return float(found)


@pytest.mark.parametrize("count", [1, 2])
async def test_workers_are_replaced_and_nobody_is_refused(redis_url: str, prefix: str, count: int) -> None:
    """Clients are told to come back, and can at once; every POST is answered. A SIGHUP in the middle of it counts."""
    options = ("--redis-url", redis_url, "--prefix", prefix, "--workers", str(count), "--no-announce")
    sent: list[str] = []
    codes: list[int | None] = []

    async def listen() -> None:
        async for websocket in connect(server.url()):
            with suppress(ConnectionClosed):
                async for _ in websocket:
                    pass
            codes.append(websocket.close_code)

    with mux_serve(*options, "--drain-seconds", "0.5") as server:
        await until(lambda: count == 1 or len(workers(server.pid)) == count)
        async with traffic(server, sent) as failures, asyncio.timeout(2 * PATIENCE_SECONDS):
            listening = asyncio.create_task(listen())
            while len(sent) < 10:
                await asyncio.sleep(0.01)
            for _ in range(2 if count == 1 else 1):
                before = workers(server.pid)
                server.process.send_signal(signal.SIGHUP)
                await is_replaced(server.pid, before, count)
            while not codes:
                await asyncio.sleep(0.01)
            so_far = len(sent)
            while len(sent) < so_far + 10:
                await asyncio.sleep(0.01)
            listening.cancel()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await published(server) < len(sent):  # the other worker's numbers are a second old
                await asyncio.sleep(0.1)
        status, said = await asyncio.to_thread(server.stop)
    assert failures == []
    assert status == 0, said
    assert "ERROR" not in said
    assert set(codes) == {1001}


def test_a_closed_terminal_is_a_stop(redis_url: str) -> None:
    """A shell that goes sends the same signal as `kill -HUP`, and wants nothing to be left behind."""
    main, terminal = pty.openpty()
    command = [sys.executable, "-m", "mux", "serve", "--port", "0", "--redis-url", redis_url, "--drain-seconds", "0"]
    with subprocess.Popen(
        command, stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=_take_terminal
    ) as process:
        os.close(terminal)
        assert process.stdout is not None
        late = Timer(PATIENCE_SECONDS, process.kill)
        late.start()
        wait_for_line(process.stdout, "serving on")
        process.send_signal(signal.SIGHUP)
        wait_for_line(process.stdout, "the worker is ready, and takes over")
        os.close(main)
        said = process.stdout.read()
        assert process.wait() == 0, said
        late.cancel()
    assert "SIGHUP: stopping" in said


def wait_for_line(lines: IO[str], words: str) -> None:
    """Read until a line has these words."""
    assert any(words in line for line in lines), f"nothing was said of {words}"


def _take_terminal() -> None:
    """Be the first process of a session whose terminal is standard input."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
