"""Servers for tests of the doorstep: the app of `mux serve`, in this process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from mux import Settings
from mux.doorstep.arrivals import Arrivals
from mux.serve.application import create_app
from tests.support.servers import PATIENCE_SECONDS, TOKEN, running


class Served:
    """The app of `mux serve`, serving."""

    def __init__(self, app: Any, port: int) -> None:
        self.app = app
        self.port = port
        self.arrivals: Arrivals = app.ctx.mux_arrivals
        self.hub = app.ctx.hub

    async def ask(self, *pieces: bytes, ends: bool = True) -> bytes:
        """Send bytes in pieces, end the sending side unless told otherwise, and return all that comes back."""
        async with self.connection() as (reader, writer):
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(0)
            if ends:
                writer.write_eof()
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await reader.read()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Connect for as long as the block runs."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    @property
    def plain(self) -> int:
        """How many connections are nobody's."""
        return len(self.arrivals)

    @property
    def doors(self) -> list[Any]:
        """The connections that are nobody's."""
        return list(self.arrivals._connections)


Serve = Callable[..., AbstractAsyncContextManager[Served]]


@pytest.fixture
def serve(redis_url: str, prefix: str) -> Serve:
    """Return what serves with settings as long as its block runs."""

    @asynccontextmanager
    async def serve(**settings: Any) -> AsyncIterator[Served]:
        every = {"redis_url": redis_url, "prefix": prefix, "announce": False, "inspect_token": TOKEN, **settings}
        app = create_app(Settings(**every))
        with socket.create_server(("127.0.0.1", 0), backlog=1024) as sock:
            async with running(app, sock=sock, protocol=app.ctx.http_protocol):
                one = Served(app, sock.getsockname()[1])
                try:
                    yield one
                finally:
                    one.arrivals.leave()
                    await one.arrivals.finish(0)

    return serve


@pytest.fixture
async def served(serve: Serve) -> AsyncIterator[Served]:
    """Return a server with the settings of `mux serve`, and a short time for everything."""
    async with serve(handshake_seconds=0.4, keep_alive_seconds=0.5) as one:
        yield one
