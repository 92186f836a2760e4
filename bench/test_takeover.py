"""The opening handshake.

What does it cost to let a client in, in this process: Sanic's parsing and routing, the answer, the take-over?

Two numbers: the answer alone, which is computing, and the whole of it on a real socket. The second has the
system calls of the client in it, which is here too; a client of another process is in test_connections.py.
"""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import uvloop

from bench.scores import Benchmark, Score
from mux.serve.application import create_app
from mux.settings import Settings
from mux.wire.websocket.handshake import Handshake, accept_usual

HEADERS = (
    ("host", "127.0.0.1"),
    ("upgrade", "websocket"),
    ("connection", "Upgrade"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("sec-websocket-version", "13"),
)
REQUEST = (
    b"GET /feed/lobby HTTP/1.1\r\n" + b"".join(f"{name}: {value}\r\n".encode() for name, value in HEADERS) + b"\r\n"
)
BATCHES = (1, 32)
"""Clients that come at once."""


def test_handshake_answer_by_websockets(benchmark: Benchmark, score: Score) -> None:
    """Read the headers, judge them, make the answer."""
    case = benchmark.group = "handshake_answer"
    handshake = Handshake()
    benchmark(lambda: handshake.answer("/feed/lobby", HEADERS).serialize())
    score(case, "us/connection", contender="websockets")


def test_handshake_answer(benchmark: Benchmark, score: Score) -> None:
    """Know the headers by sight, make the answer."""
    case = benchmark.group = "handshake_answer"
    benchmark(lambda: accept_usual(HEADERS))
    score(case, "us/connection", contender="mux")


@pytest.fixture(scope="module")
def door(redis_url: str) -> Iterator[tuple[asyncio.Runner, int]]:
    """A server in this process: its loop and its port."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        server, port = runner.run(_serve(redis_url))
        yield runner, port
        runner.run(_stop(server))


@pytest.mark.parametrize("clients", BATCHES)
def test_takeover(clients: int, door: tuple[asyncio.Runner, int], benchmark: Benchmark, score: Score) -> None:
    """Connect, ask, and be taken over, so many at once; then go."""
    case = benchmark.group = f"takeover_{clients}conns"
    runner, port = door

    async def come_and_go() -> None:
        sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(clients)]
        poll = select.poll()
        for client in sockets:
            client.sendall(REQUEST)
            poll.register(client, select.POLLIN)
        waiting = {client.fileno() for client in sockets}
        while waiting:
            await asyncio.sleep(0)
            for fd, _ in poll.poll(0):
                waiting.discard(fd)
                poll.unregister(fd)
        for client in sockets:
            assert client.recv(12) == b"HTTP/1.1 101"
            client.close()

    benchmark(lambda: runner.run(come_and_go()))
    score(case, "us/connection", per=clients, contender="mux")


async def _serve(redis_url: str) -> tuple[Any, int]:
    app = create_app(Settings(redis_url=redis_url, announce=False))
    sock = socket.create_server(("127.0.0.1", 0), backlog=1024)
    # Any: the methods of Sanic's AsyncioServer have no annotations.
    server: Any = await app.create_server(sock=sock, access_log=False, asyncio_server_kwargs={"start_serving": False})
    await server.startup()
    await server.before_start()
    await server.start_serving()
    await server.after_start()
    return server, sock.getsockname()[1]


async def _stop(server: Any) -> None:
    await server.before_stop()
    await server.close()
    await server.after_stop()
