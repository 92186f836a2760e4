"""An SDK client that sends one command at a time, for tests of what comes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.exceptions import ConnectionClosed

from tests.support.sdk import Message, SdkSocket, sdk_socket
from tests.support.servers import Serving


class Client:
    """A client of which every message is taken in turn."""

    def __init__(self, socket: SdkSocket) -> None:
        self._socket = socket
        self._taken = 0

    async def next(self) -> Message:
        """Return the next message that is no ping."""
        self._taken += 1
        return (await self._socket.until(lambda message: True, self._taken))[self._taken - 1]

    async def ask(self, method: str, **body: Any) -> Any:
        """Send a command; return the body of its reply, which is the next message, or the code of its error."""
        (number,) = await self._socket.send({method: body})
        reply = await self.next()
        assert reply["id"] == number, reply
        return reply["error"]["code"] if "error" in reply else reply[method]

    async def closed(self) -> int:
        """Return the code with which the server closes the connection; it says why."""
        code, reason = await self._socket.closed()
        assert reason
        return code

    async def outcome(self, method: str, **body: Any) -> Any:
        """Return what comes of a command: the body of its reply, the code of its error, or that of the close."""
        try:
            return await self.ask(method, **body)
        except ConnectionClosed:
            return await self.closed()


@asynccontextmanager
async def opened(feed: Serving) -> AsyncIterator[Client]:
    """Open a connection."""
    async with sdk_socket(feed.port) as socket:
        yield Client(socket)


@asynccontextmanager
async def connected(feed: Serving, token: str) -> AsyncIterator[tuple[Client, Any]]:
    """Open a connection and connect; also gives the reply."""
    async with opened(feed) as client:
        yield client, await client.ask("connect", token=token)
