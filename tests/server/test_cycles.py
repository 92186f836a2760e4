"""Nothing that a stranger can have made by the thousand waits for the collector: it goes when its connection goes.

The collector sets aside what has stayed for a while (mux.serve.collector). What is a cycle and in use just then stays
until everything is looked at, and memory grows by it.
"""

from __future__ import annotations

import asyncio
import gc
import socket
from collections import Counter
from contextlib import suppress

from mux.serve.application import create_app
from mux.settings.settings import Settings
from tests.support.servers import handshake, running, until

KEY = b"\x00\x00\x00\x00"
HI = b"\x81\x82" + KEY + b"hi"
TIMES = 3
OF_CONNECTIONS = frozenset(("httptools", "mux", "sanic", "websockets"))
"""Packages whose objects a connection has; the clients of this test have others."""


def request(line: str, *fields: str, body: bytes = b"") -> bytes:
    """Return a request."""
    return "".join(f"{each}\r\n" for each in [line, "Host: 127.0.0.1", *fields, ""]).encode() + body


OPENING = handshake(1)
CHUNKS = b"2\r\nhi\r\n0\r\n\r\n"

CONNECTIONS = {
    "nothing": b"",
    "half a request": OPENING[:40],
    "no request": b"\x16\x03\x01\r\n\r\n",
    "a client": OPENING,
    "a client that has asked for something else before": request("GET /healthz HTTP/1.1") + OPENING,
    "a client that speaks": OPENING + HI * 3,
    "a client that sends half a message": OPENING + HI[:5],
    "a client that sends a fragment": OPENING + b"\x01\x82" + KEY + b"hi",
    "a client that breaks the protocol": OPENING + b"\xff\xff\xff",
    "a client that sends no UTF-8": OPENING + b"\x81\x81" + KEY + b"\xff",
    "a client that sends too much": OPENING + b"\x81\xfe\xff\xff" + KEY,
    "a client that floods": OPENING + HI * 2000,
    "a client that says goodbye": OPENING + HI + b"\x88\x82" + KEY + b"\x03\xe8",
    "a handshake that is unusual": OPENING.replace(b"Connection: Upgrade", b"Connection: keep-alive, X, Upgrade"),
    "a handshake that is refused": OPENING.replace(b": 13", b": 12"),
    "another page's handshake": OPENING[:-2] + b"Origin: https://evil.example\r\n\r\n",
    "no channel": OPENING.replace(b"/feed/lobby", b"/feed/%20"),
    "an event stream": request("GET /feed/lobby HTTP/1.1", "Accept: text/event-stream"),
    "a post": request("POST /feed/lobby HTTP/1.1", "Content-Length: 2", body=b"hi"),
    "two posts": 2 * request("POST /feed/lobby HTTP/1.1", "Content-Length: 2", body=b"hi"),
    "half a post": request("POST /feed/lobby HTTP/1.1", "Content-Length: 20", body=b"hi"),
    "a post that is too large": request("POST /feed/lobby HTTP/1.1", "Content-Length: 2000", body=b"hi" * 1000),
    "a post in chunks": request(
        "POST /feed/lobby HTTP/1.1", "Transfer-Encoding: chunked", body=b"2\r\nhi\r\n0\r\n\r\n"
    ),
    "a get": request("GET /feed/lobby HTTP/1.1"),
    "no such place": request("GET /nowhere HTTP/1.1"),
    "no such method": request("PUT /feed/lobby HTTP/1.1"),
    "whether it lives": request("GET /healthz HTTP/1.1"),
    "whether it is ready": request("GET /readyz HTTP/1.1", "Connection: close"),
    "its metrics": request("GET /metrics HTTP/1.1"),
    "the fleet's numbers": request("GET /stats HTTP/1.1"),
    "the page": request("GET / HTTP/1.1"),
    "preflight": request("OPTIONS /feed/lobby HTTP/1.1", "Origin: http://127.0.0.1"),
}


async def come_and_go(port: int, data: bytes) -> None:
    """Connect, send, take what is answered within a moment, and go."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    with suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(0.01):
            while await reader.read(65536):
                pass
    writer.transport.abort()


async def test_nothing_of_a_connection_waits_for_the_collector(redis_url: str, prefix: str) -> None:
    """Whatever it asked for, and however it ended: half a request, and a refused handshake, once left a cycle each."""
    app = create_app(Settings(redis_url=redis_url, prefix=prefix, announce=False, max_message_bytes=1000))
    with socket.create_server(("127.0.0.1", 0)) as sock:
        async with running(app, sock=sock, protocol=app.ctx.http_protocol):
            port = sock.getsockname()[1]
            for data in CONNECTIONS.values():
                await come_and_go(port, data)  # what is made once, is made
            await until(lambda: not app.ctx.hub)
            gc.collect()
            gc.freeze()  # what other tests have left is not looked at each time
            try:
                left = {name: await left_by(port, data) for name, data in CONNECTIONS.items()}
            finally:
                gc.unfreeze()
    assert {name: kinds for name, kinds in left.items() if kinds} == {}


async def left_by(port: int, data: bytes) -> Counter[str]:
    """Return what waits for the collector after connections that sent something, by type."""
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(TIMES):
            await come_and_go(port, data)
        await asyncio.sleep(0.01)
        gc.collect()
        kinds = Counter(f"{type(thing).__module__}.{type(thing).__qualname__}" for thing in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    return Counter({name: count for name, count in kinds.items() if name.partition(".")[0] in OF_CONNECTIONS})
