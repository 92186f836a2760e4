"""A real small server of keys, for tests: what it does is changed while it runs."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import jwt
import orjson

from tests.support.tokens import private_key

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


def jwk(number: int, **others: object) -> dict[str, Any]:
    """Return the public half of private_key(number), named after it."""
    public: dict[str, Any] = jwt.algorithms.ECAlgorithm.to_jwk(private_key(number).public_key(), as_dict=True)
    return public | {"kid": f"key{number}", "use": "sig", "alg": "ES256", **others}


class KeyServer:
    """A server of a JWK set; what it does is changed while it runs."""

    def __init__(self) -> None:
        self.keys: list[Any] = [jwk(0)]
        self.asked = 0
        self.answer: Answer = self.usual
        self.url = ""
        self._serving: set[asyncio.Task[None] | None] = set()

    async def usual(self, writer: asyncio.StreamWriter) -> None:
        """Answer with the keys."""
        body = orjson.dumps({"keys": self.keys})
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    def says(self, answer: bytes) -> None:
        """Answer with these bytes from now on, and close the connection."""

        async def said(writer: asyncio.StreamWriter) -> None:
            writer.write(answer)

        self.answer = said

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Handle a connection, which asks once."""
        self._serving.add(asyncio.current_task())
        try:
            await reader.readuntil(b"\r\n\r\n")
            self.asked += 1
            await self.answer(writer)
            writer.close()
            await writer.wait_closed()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            self._serving.discard(asyncio.current_task())

    async def aclose(self) -> None:
        """End the connections that hang."""
        tasks = [task for task in self._serving if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def key_server(tls: ssl.SSLContext | None = None) -> AsyncIterator[KeyServer]:
    """Give a server that has the public half of private_key(), for as long as the block runs."""
    one = KeyServer()
    async with await asyncio.start_server(one.serve, "127.0.0.1", 0, ssl=tls) as listener:
        one.url = f"http{'' if tls is None else 's'}://127.0.0.1:{listener.sockets[0].getsockname()[1]}/keys.json?of=us"
        try:
            yield one
        finally:
            await one.aclose()
