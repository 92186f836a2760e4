"""A client of event streams, after the standard's own words, that sees everything."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from tests.support.servers import PATIENCE_SECONDS


class Event(NamedTuple):
    """What an EventSource would dispatch."""

    name: str
    data: str


class Stream(NamedTuple):
    """What a client makes of the bytes of a stream."""

    events: list[Event]
    retries: list[int]
    comments: list[str]
    heartbeats: list[str]
    """The positions that came without a message."""
    positions: list[str]
    """Those of events, one each while there are any."""


def parse(stream: bytes) -> Stream:
    """Interpret a whole event stream (HTML standard, section 9.2.6)."""
    parsed = Stream([], [], [], [], [])
    text = stream.decode(errors="replace").removeprefix("\ufeff")
    name, data, position = "", "", ""
    # What comes after the last line end is no line yet.
    for line in re.split("\r\n|\n|\r", text)[:-1]:
        field, _, value = line.partition(":")
        if not line:
            if name == "position":
                parsed.heartbeats.append(position)
            elif data:
                parsed.events.append(Event(name or "message", data.removesuffix("\n")))
                parsed.positions.append(position)
            name = data = ""
        elif not field:
            parsed.comments.append(value.removeprefix(" "))
        elif field == "event":
            name = value.removeprefix(" ")
        elif field == "data":
            data += value.removeprefix(" ") + "\n"
        elif field == "id":
            position = value.removeprefix(" ")
        elif field == "retry" and value.removeprefix(" ").isascii() and value.removeprefix(" ").isdigit():
            parsed.retries.append(int(value))
    return parsed


def unchunked(body: bytes) -> tuple[list[bytes], bool]:
    """Return the chunks of a body (RFC 9112, section 7.1), and whether the last one was there."""
    chunks: list[bytes] = []
    while body:
        size, separator, rest = body.partition(b"\r\n")
        assert separator, body
        length = int(size, 16)
        assert rest[length : length + 2] == b"\r\n", body
        if not length:
            assert rest == b"\r\n", "nothing comes after the last chunk"
            return chunks, True
        chunks.append(rest[:length])
        body = rest[length + 2 :]
    return chunks, False


def request(port: int, channel: str = "lobby", *headers: str, version: str = "1.1", method: str = "GET") -> bytes:
    """Return a request for an event stream."""
    lines = [f"{method} /feed/{channel} HTTP/{version}", f"Host: 127.0.0.1:{port}", "Accept: text/event-stream"]
    return "".join(f"{line}\r\n" for line in [*lines, *headers, ""]).encode()


class StreamClient:
    """An open event stream.

    Args:
        reader: where the response comes from.
        writer: where the request went.
        head: the head of the response.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: str) -> None:
        self.reader = reader
        self.writer = writer
        self.head = head
        self.chunks = "Transfer-Encoding: chunked" in head
        self.heard = b""
        """The stream so far."""

    async def events(self, count: int) -> list[Event]:
        """Return the first so many events of the stream, waiting for them."""
        await self.until(lambda: len(parse(self.heard).events) >= count)
        return parse(self.heard).events[:count]

    async def until(self, condition: object) -> None:
        """Read until something is true of what was heard."""
        assert callable(condition)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():
                assert await self._read_more(), "the stream ended"

    async def read_to_end(self) -> Stream:
        """Return the whole stream, and leave; its body and its connection end as they should."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await self._read_more():
                pass
            assert await self.reader.read() == b""
        self.writer.close()
        return parse(self.heard)

    async def _read_more(self) -> bool:
        if not self.chunks:
            data = await self.reader.read(65536)
        else:
            size = int(await self.reader.readline(), 16)
            data = (await self.reader.readexactly(size + 2))[:-2]
        self.heard += data
        return bool(data)


@asynccontextmanager
async def open_stream(
    port: int, channel: str = "lobby", *headers: str, version: str = "1.1", early: bytes = b""
) -> AsyncIterator[StreamClient]:
    """Open an event stream; early is sent in the same segment as the request. The time to come back has been heard."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request(port, channel, *headers, version=version) + early)
        async with asyncio.timeout(PATIENCE_SECONDS):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert head.startswith("HTTP/1.1 200 "), head
        client = StreamClient(reader, writer, head)
        await client.until(lambda: parse(client.heard).retries)
        yield client
    finally:
        writer.transport.abort()
