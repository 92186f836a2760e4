"""An SDK client that says every word itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.support.servers import CONNECT_OPTIONS, PATIENCE_SECONDS, Serving


class Client:
    """An SDK client that says every word itself."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._heard: list[Any] = []
        self._id = 0

    async def next(self) -> Any:
        """Return the next message that is no ping."""
        while not self._heard:
            frame = await asyncio.wait_for(self._socket.recv(), PATIENCE_SECONDS)
            self._heard += [one for line in str(frame).split("\n") if (one := orjson.loads(line))]
        return self._heard.pop(0)

    async def ask(self, method: str, **body: Any) -> Any:
        """Send a command; return the body of its reply, or the code of its error."""
        self._id += 1
        await self._socket.send(orjson.dumps({"id": self._id, method: body}).decode())
        reply = await self.next()
        assert reply["id"] == self._id, reply
        return reply["error"]["code"] if "error" in reply else reply[method]

    async def closed(self) -> int:
        """Return the code with which the server closes the connection."""
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                await asyncio.wait_for(self._socket.recv(), PATIENCE_SECONDS)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.reason
        return closed.value.rcvd.code

    async def outcome(self, method: str, **body: Any) -> Any:
        """Return what comes of a command: the body of its reply, the code of its error, or that of the close."""
        try:
            return await self.ask(method, **body)
        except ConnectionClosed as error:
            return None if error.rcvd is None else error.rcvd.reason and error.rcvd.code


@asynccontextmanager
async def opened(feed: Serving) -> AsyncIterator[Client]:
    """Open a connection."""
    async with connect(f"ws://127.0.0.1:{feed.port}/connection/websocket", **CONNECT_OPTIONS) as socket:
        yield Client(socket)


@asynccontextmanager
async def connected(feed: Serving, token: str) -> AsyncIterator[tuple[Client, Any]]:
    """Open a connection and connect; also gives the reply."""
    async with opened(feed) as client:
        yield client, await client.ask("connect", token=token)
