"""Nonsense on the sockets of a live server: it goes on, others notice nothing, and its log stays clean."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.strategies import client_streams, frame, mutated
from tests.support.servers import PATIENCE_SECONDS, Serving, handshake, receive, serving, until

REQUESTS = [
    b"GET /feed/lobby HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /feed/%00%ff HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /feed/other HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /feed/other HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"POST /feed/other HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"GET /feed/other HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\nGET / HTTP/1.1\r\n",
    b"GET /feed/other HTTP/1.0\r\nAccept: text/event-stream;q=1\r\nOrigin: x://x\r\n\r\n",
    b"OPTIONS /feed/other HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\n\r\n",
    handshake(1, "other"),
    handshake(1, "other", "Origin: http://elsewhere.example", "Origin: null"),
    handshake(1, "other", "Sec-WebSocket-Extensions: permessage-deflate; ="),
]


class Errors(logging.Handler):
    """Keeps what is logged as an error, by anybody."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Run on one loop only: the bytes are what is different."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
async def victim(redis_url: str, prefix: str) -> AsyncIterator[tuple[Serving, Errors]]:
    """Return a server and what it logs as errors."""
    errors = Errors()
    logging.getLogger().addHandler(errors)
    try:
        async with serving(redis_url=redis_url, prefix=prefix, max_message_bytes=500) as one:
            yield one, errors
    finally:
        logging.getLogger().removeHandler(errors)


def examples(seed: int, strategy: st.SearchStrategy[bytes], count: int) -> list[bytes]:
    """Return what a strategy draws with a seed: Hypothesis cannot drive an event loop that goes on."""
    drawn: list[bytes] = []

    @settings(
        max_examples=count, database=None, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(strategy)
    def draw(example: bytes) -> None:
        drawn.append(example)

    draw()
    Random(seed).shuffle(drawn)
    return drawn


async def send_nonsense(port: int, data: bytes) -> None:
    """Send bytes, read what comes for a moment, and be gone in a random way."""
    loop = asyncio.get_running_loop()
    with socket.socket() as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, ("127.0.0.1", port))
        try:
            async with asyncio.timeout(0.05):
                await loop.sock_sendall(sock, data)
                while await loop.sock_recv(sock, 65536):
                    pass
        except (OSError, TimeoutError):
            pass  # it was thrown out, or the server waits for more


@pytest.mark.parametrize("kind", ["after the handshake", "instead of a request"])
async def test_nonsense_harms_nobody_else(victim: tuple[Serving, Errors], kind: str) -> None:
    """A client that is well-behaved hears everything, in order, and nothing else."""
    server, errors = victim
    if kind == "after the handshake":
        nonsense = [handshake(server.port, "other") + data for data in examples(1, client_streams, 120)]
    else:
        requests = mutated(st.sampled_from(REQUESTS)) | st.binary(max_size=200)
        nonsense = examples(2, requests, 120)
    async with server.connect("lobby") as good:
        await good.send("first")
        assert await receive(good, 1) == ["first"]
        for number in range(0, len(nonsense), 10):
            await asyncio.gather(*(send_nonsense(server.port, data) for data in nonsense[number : number + 10]))
            await good.send(f"{number}")
            assert await receive(good, 1) == [f"{number}"]
        await until(lambda: len(server.mux._core.hub) == 1)
    assert errors.lines == []


async def test_a_byte_at_a_time_is_a_client_too(victim: tuple[Serving, Errors]) -> None:
    """Request, handshake and frames come in the smallest pieces there are."""
    server, errors = victim
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    for byte in handshake(server.port) + frame(0x81, b"hi"):
        writer.write(bytes((byte,)))
        await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(4) == b"\x81\x02hi"
    writer.transport.abort()
    assert errors.lines == []
