"""One request over a connection of its own, and its answer, with every byte in sight."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from tests.support.servers import PATIENCE_SECONDS


class Answer(NamedTuple):
    """The answer to a request."""

    status: int
    headers: dict[str, str]
    """By name in lower case; of several with one name, the last."""
    body: bytes
    head: str
    """All before the body, as it came."""


def request(method: str, target: str, *fields: str, host: str = "localhost", body: bytes = b"") -> bytes:
    """Return a request with these header fields; its length is among them if it has a body that is not chunked."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *fields]
    if body and not any("chunked" in field for field in fields):
        lines.append(f"Content-Length: {len(body)}")
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode() + body


@asynccontextmanager
async def opened(
    where: int | Path, asked: bytes, *, ends: bool = False
) -> AsyncIterator[tuple[asyncio.StreamReader, str]]:
    """Send a request to a port of this machine or to a unix socket; yield what reads its answer, and the head of it.

    With ends the client ends its sending side after the request.
    """
    opening = (
        asyncio.open_connection("127.0.0.1", where)
        if isinstance(where, int)
        else asyncio.open_unix_connection(str(where))
    )
    async with asyncio.timeout(PATIENCE_SECONDS):
        reader, writer = await opening
        try:
            writer.write(asked)
            if ends:
                writer.write_eof()
            yield reader, (await reader.readuntil(b"\r\n\r\n")).decode(errors="surrogateescape")
        finally:
            writer.transport.abort()


async def exchange(where: int | Path, asked: bytes, *, ends: bool = False) -> Answer:
    """Return the answer to a request; see opened().

    The body has the length that the answer says; after HEAD it is whatever comes before the connection ends.
    """
    async with opened(where, asked, ends=ends) as (reader, head):
        status, *fields = head.split("\r\n")[:-2]
        headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
        if not asked.startswith(b"HEAD "):
            body = await reader.readexactly(int(headers.get("content-length", "0")))
        else:  # whatever comes until the end would be a mistake
            body = await reader.read() if headers.get("connection") == "close" else b""
    return Answer(int(status.split()[1]), headers, body, head)
