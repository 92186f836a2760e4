"""A proxy as there are many: it does not know what an upgrade is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

REFUSAL = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class BlindProxy:
    """Passes connections on to a port, but none that begins with a request to upgrade as long as it is blind.

    WebSockets go to `socket_target`, which is the same port unless a test names another. Nothing passes while it is
    down, and nothing that a server sends over a WebSocket while `flow` is not set.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.socket_target = target
        self.port = 0
        self.is_blind = True
        self.is_down = False
        self.flow = asyncio.Event()
        self.flow.set()
        self.refused = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Be one connection of a client."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._pass_on(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_down:
            return
        head = await reader.readuntil(b"\r\n\r\n")
        is_upgrade = b"\r\nupgrade: websocket\r\n" in head.lower()
        if self.is_blind and is_upgrade:
            self.refused += 1
            writer.write(REFUSAL)
            return
        onward_reader, onward = await asyncio.open_connection(
            "127.0.0.1", self.socket_target if is_upgrade else self.target
        )
        onward.write(head)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_copy(reader, onward, None))
                both.create_task(_copy(onward_reader, writer, self.flow if is_upgrade else None))
        finally:
            onward.close()

    async def cut(self) -> None:
        """Break all connections, and take no more until is_down is set to False."""
        self.is_down = True
        await self.aclose()

    async def aclose(self) -> None:
        """End all connections."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flow: asyncio.Event | None) -> None:
    with suppress(OSError):  # reset, by a server that has ended or a browser that has gone
        while data := await reader.read(65536):
            if flow is not None:
                await flow.wait()
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def blind_proxy(target: int) -> AsyncIterator[BlindProxy]:
    """Stand before a port for as long as the block runs."""
    proxy = BlindProxy(target)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.aclose()
