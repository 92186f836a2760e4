"""The time for which a hostile client holds the loop.

For how long does it hold up everybody else, by what it sends in one read?

The app of `mux serve` runs in this process behind its doorstep, and the client is a thread that sends 256 KiB at once
and reads nothing. The figure is the longest time between two turns of the loop, in CPU time of its thread, so that a
busy machine lengthens none. Beside each attack stands the same loop when nobody asks. It does not tell how long a
client waits that is one of many: see test_pauses.py.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from time import thread_time
from typing import Any

import pytest
import uvloop
from sanic import Sanic

from bench.conftest import Benchmark, Score
from mux.serve.application import create_app
from mux.settings.settings import Settings

HOST = b"Host: 127.0.0.1\r\n"
TOKEN = "t" * 32
READ_BYTES = 256 * 1024
"""An event loop reads so many bytes at once."""

POST = b"POST /feed/lobby HTTP/1.1\r\n" + HOST
HEALTH = b"GET /healthz HTTP/1.1\r\n" + HOST


def _many(data: bytes) -> bytes:
    return data * (READ_BYTES // len(data))


ATTACKS = {
    "nothing": b"",
    "pipelined GETs": _many(HEALTH + b"\r\n"),
    "pipelined /metrics": _many(
        b"GET /metrics HTTP/1.1\r\n" + HOST + b"Authorization: Bearer " + TOKEN.encode() + b"\r\n\r\n"
    ),
    "pipelined POSTs": _many(POST + b"Content-Length: 1\r\n\r\nx"),
    "tiny chunks": POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 43_000,
    "empty lines": _many(b"\r\n"),
    "a head of 6,000 fields": HEALTH + b"a:b\r\n" * 6000 + b"\r\n",
    "a list of 5,000 types": b"GET /feed/a HTTP/1.1\r\n" + HOST + b"Accept: " + b"a;q=0," * 5000 + b"\r\n\r\n",
}


def _attack(port: int, data: bytes, seconds: float, done: Callable[[], object]) -> None:
    """Send, and read nothing; the server may end the connection."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(seconds)
        with suppress(OSError):
            client.sendall(data)
        threading.Event().wait(seconds)
    done()


async def _longest_hold(redis_url: str, data: bytes, seconds: float) -> float:
    """Return the longest time in ms that the loop was held."""
    Sanic.test_mode = True  # one app after the other has the same name
    app = create_app(Settings(redis_url=redis_url, prefix="hold:", announce=False, inspect_token=TOKEN))
    loop, longest, last = asyncio.get_running_loop(), 0.0, 0.0
    with socket.create_server(("127.0.0.1", 0)) as sock:
        server: Any = await app.create_server(
            sock=sock.dup(), access_log=False, protocol=app.ctx.http_protocol, asyncio_server_kwargs={}
        )
        await server.startup()
        await server.before_start()
        await server.after_start()
        ended = asyncio.Event()
        gc.collect()

        def tick() -> None:
            nonlocal longest, last
            now = thread_time()
            longest, last = max(longest, now - last), now
            if not ended.is_set():
                loop.call_soon(tick)

        last = thread_time()
        tick()
        done = lambda: loop.call_soon_threadsafe(ended.set)  # noqa: E731 - it has no other use
        await asyncio.to_thread(_attack, sock.getsockname()[1], data, seconds, done)
        await ended.wait()
        app.ctx.mux_arrivals.leave()
        await server.before_stop()
        closed = server.close()
        await app.ctx.mux_arrivals.finish(0)
        await closed
        await server.after_stop()
    return longest * 1000


@pytest.mark.parametrize("attack", [pytest.param(data, id=name) for name, data in ATTACKS.items()])
def test_hold(
    attack: bytes, redis_url: str, smoke: bool, benchmark: Benchmark, score: Score, request: pytest.FixtureRequest
) -> None:
    """Send it, and find the longest turn of the loop."""
    case = benchmark.group = "longest_hold"
    held: list[float] = []
    seconds = 0.1 if smoke else 1.0
    benchmark.pedantic(
        lambda: held.append(uvloop.run(_longest_hold(redis_url, attack, seconds))), rounds=1 if smoke else 3
    )
    score(case, "ms", value=min(held), contender=request.node.callspec.id)
