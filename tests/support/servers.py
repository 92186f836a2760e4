"""Servers and clients for tests: a Mux in this process, `mux serve` as a process, and a raw socket."""

from __future__ import annotations

import asyncio
import itertools
import re
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any

import pytest
from sanic import Sanic
from websockets.asyncio.client import ClientConnection, connect

from mux import Mux
from mux.serve.listening import listening_socket
from tests.support.touchup import rewrite_once
from tests.support.warm import WARM, Forked, become_mux

PATIENCE_SECONDS = 30.0
"""How long a test waits for what must happen; only a failing test waits so long."""

TOKEN = "correct-horse-battery"  # noqa: S105 - of servers that live for a test
"""What servers of tests want from whoever asks for numbers, unless a test says otherwise."""

AUTHORIZATION = f"Authorization: Bearer {TOKEN}"

CONNECT_OPTIONS: dict[str, Any] = {
    "max_size": None,
    "max_queue": None,
    "compression": None,
    "open_timeout": PATIENCE_SECONDS,
}
"""A client takes whatever comes and waits for it. With a bounded queue one that is not read takes 10 s to close."""

# Lets one process start more than one app, one after the other.
Sanic.test_mode = True
rewrite_once()

_numbers = itertools.count()

UVLOOP = ("asyncio", {"use_uvloop": True})

BOTH_LOOPS = pytest.mark.parametrize(
    "anyio_backend",
    [pytest.param(UVLOOP, id="uvloop"), pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio")],
)
"""For async tests of what each loop does its own way, which is the end of a socket, back-pressure, and the take-over:
on the loop Sanic takes, and on the one of the standard library."""


class Serving:
    """A Mux on an app that serves in this very process."""

    def __init__(self, app: Sanic[Any, Any], mux: Mux, port: int) -> None:
        self.app = app
        self.mux = mux
        self.port = port

    def url(self, channel: str = "lobby", scheme: str = "ws") -> str:
        """Return where a channel is."""
        return f"{scheme}://127.0.0.1:{self.port}/feed/{channel}"

    def connect(self, channel: str = "lobby", **options: Any) -> connect:
        """Open a WebSocket."""
        return connect(self.url(channel), **{**CONNECT_OPTIONS, **options})


@asynccontextmanager
async def running(app: Sanic[Any, Any], **listen: Any) -> AsyncIterator[None]:
    """Run an app in this process and loop, in the order of Sanic's own server."""
    # Any: the methods of Sanic's AsyncioServer have no annotations.
    server: Any = await app.create_server(access_log=False, asyncio_server_kwargs={"start_serving": False}, **listen)
    await server.startup()
    await server.before_start()
    await server.start_serving()
    await server.after_start()
    try:
        yield
    finally:
        await server.before_stop()
        await server.close()
        await server.after_stop()
        Sanic.unregister_app(app)


@asynccontextmanager
async def serving(*, app: Sanic[Any, Any] | None = None, ssl: Any = None, **options: Any) -> AsyncIterator[Serving]:
    """Serve an app with a Mux on it for as long as the block runs."""
    app = app or Sanic(f"test-{next(_numbers)}", configure_logging=False)
    usual = {"announce": False, "inspect_token": TOKEN}
    mux = Mux(app, **(options if "settings" in options else usual | options))
    with listening_socket("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        async with running(app, sock=sock, ssl=ssl):
            yield Serving(app, mux, port)


class ServerProcess:
    """`mux serve`, as an operator runs it."""

    def __init__(self, process: Forked, port: int, welcome: str) -> None:
        self.process = process
        self.port = port
        self.welcome = welcome

    @property
    def pid(self) -> int:
        """The process that was started."""
        return self.process.pid

    def url(self, channel: str = "lobby", scheme: str = "ws") -> str:
        """Return where a channel is."""
        return f"{scheme}://127.0.0.1:{self.port}/feed/{channel}"

    def connect(self, channel: str = "lobby", **options: Any) -> connect:
        """Open a WebSocket."""
        return connect(self.url(channel), **{**CONNECT_OPTIONS, **options})

    def stop(self, sig: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """End it and return its exit status and what it said."""
        self.process.send_signal(sig)
        said = self.process.communicate(PATIENCE_SECONDS)
        return self.process.wait(0), said


def run_mux(*arguments: str, env: dict[str, str] | None = None, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command to its end; its process is forked from one that has imported mux already, which takes a second."""
    with tempfile.TemporaryDirectory(prefix="mux-run-") as name:
        streams = [Path(name, stream) for stream in ("stdin", "stdout", "stderr")]
        for stream in streams:
            stream.write_text(stdin if stream.name == "stdin" else "")
        process = WARM.Process(target=become_mux, args=(arguments, env or {}, streams))
        process.start()
        process.join(PATIENCE_SECONDS)
        if process.exitcode is None:
            process.kill()
            process.join()
        said = [stream.read_text() for stream in streams[1:]]
    assert process.exitcode is not None
    assert process.exitcode != -signal.SIGKILL, f"it did not end: {said}"
    return subprocess.CompletedProcess(arguments, process.exitcode, *said)


@contextmanager
def mux_serve(
    *options: str, env: dict[str, str] | None = None, descriptors: int | None = None
) -> Iterator[ServerProcess]:
    """Run `mux serve` on a free port for as long as the block runs.

    Its process is forked from one that has imported mux already; its workers are not.
    """
    process = Forked(("serve", "--port", "0", *options), {"MUX_INSPECT_TOKEN": TOKEN, **(env or {})}, descriptors)
    try:
        welcome = ""
        # Read byte by byte: communicate() never sees what a buffer has taken beyond the welcome.
        with FileIO(process.stdout.fileno(), closefd=False) as said:
            while "curl" not in welcome:
                line = said.readline().decode()
                assert line, f"mux ended: {welcome}"
                welcome += line
        found = re.search(r"http://[^ ,]+:(\d+)", welcome)
        assert found, welcome
        yield ServerProcess(process, int(found[1]), welcome)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            process.communicate(PATIENCE_SECONDS)
        process.stdout.close()


async def receive(websocket: ClientConnection, count: int) -> list[str | bytes]:
    """Return the next messages."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        return [await websocket.recv() for _ in range(count)]


class RawClient:
    """A WebSocket client that sends and sees bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def read(self, count: int) -> bytes:
        """Return the next bytes."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.reader.readexactly(count)

    async def read_to_end(self) -> bytes:
        """Return all bytes until the server ends the connection, which must not be by a reset."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.reader.read()

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.writer.write(data)

    def stop_reading(self) -> None:
        """Leave what the server sends where it is."""
        transport: Any = self.writer.transport
        transport.pause_reading()

    def read_on(self) -> None:
        """Take again what the server sends."""
        transport: Any = self.writer.transport
        transport.resume_reading()

    async def aclose(self) -> None:
        """End the connection as it is."""
        self.writer.transport.abort()


def handshake(port: int, channel: str = "lobby", *headers: str) -> bytes:
    """Return a request to open a WebSocket."""
    lines = [
        f"GET /feed/{channel} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        *headers,
    ]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


@asynccontextmanager
async def raw_client(port: int, channel: str = "lobby", early: bytes = b"") -> AsyncIterator[RawClient]:
    """Open a WebSocket by hand; early is sent in the same segment as the request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    client = RawClient(reader, writer)
    try:
        client.send(handshake(port, channel) + early)
        async with asyncio.timeout(PATIENCE_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        yield client
    finally:
        await client.aclose()


def workers(pid: int) -> set[int]:
    """Return the workers of a supervisor, by what they were started for."""
    found = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # a thread or a child may end meanwhile
            for child in (task / "children").read_text().split():
                if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                    found.add(int(child))
    return found


async def is_replaced(pid: int, before: set[int], count: int) -> None:
    """Wait until a supervisor has none of the workers it had before, and as many others."""
    async with asyncio.timeout(2 * PATIENCE_SECONDS):
        while (now := workers(pid)) & before or len(now) != count:
            await asyncio.sleep(0.05)


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that no event tells of; several processes may have to start for it on a busy machine."""
    async with asyncio.timeout(2 * PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(0.005)
