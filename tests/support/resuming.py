"""Clients of event streams that come back with the position they have, and a publisher that never pauses."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import orjson
from httpx_sse import aconnect_sse
from redis.asyncio import Redis

from tests.support.servers import PATIENCE_SECONDS

CURL = shutil.which("curl")


class Numbers:
    """Numbered messages on one Redis channel."""

    def __init__(self) -> None:
        self.published = 0
        """The number of the last one."""

    async def until(self, number: int) -> None:
        """Wait until a message of a number has been published."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self.published < number:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def numbers(redis_url: str, channel: str, *others: str, at_once: int = 1) -> AsyncIterator[Numbers]:
    """Publish 1, 2, 3 … for as long as the block runs, so many in a write, as any client of Redis does.

    If there are other channels, each number is also published on one of them, in turn.
    """
    said = Numbers()
    is_over = False

    async def publish() -> None:
        while not is_over:  # redis-py may take a cancellation for a lost connection, and go on
            for _ in range(at_once):
                said.published += 1
                pipeline.publish(channel, str(said.published))
                if others:
                    pipeline.publish(others[said.published % len(others)], str(said.published))
            await pipeline.execute()
            await asyncio.sleep(0.001)

    async with Redis.from_url(redis_url) as redis, redis.pipeline(transaction=False) as pipeline:
        task = asyncio.create_task(publish())
        try:
            yield said
        finally:
            is_over = True
            await task


class Resumer:
    """A client that reads one channel, and comes back at once whenever its stream ends.

    Args:
        url: where the channel is.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.heard: list[int] = []
        """The number of every message it was given."""
        self.missed: list[str] = []
        """Why it was told that it has missed something, each time."""
        self.streams = 0
        """How many streams it was given, one after the other."""
        self.last_event_id = ""

    def take(self, event: str, data: str, position: str) -> None:
        """Take an event, as an EventSource would."""
        if position:
            self.last_event_id = position
        if event == "missed":
            self.missed.append(orjson.loads(data)["reason"])
        elif event in ("", "message") and data:
            self.hear(data)

    def hear(self, data: str) -> None:
        """Take a message, of a stream with one channel or with several."""
        message = orjson.loads(data)
        self.heard.append(message["data"] if isinstance(message, dict) else message)

    async def until(self, number: int) -> None:
        """Wait until it was given a message of a number, or a later one."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not self.heard or self.heard[-1] < number:
                await asyncio.sleep(0.01)

    def opened(self) -> None:
        """Take that a stream begins."""
        self.streams += 1

    async def run(self) -> None:
        """Read until it is cancelled."""
        while True:
            try:
                await self._read()
            except (OSError, asyncio.IncompleteReadError, httpx.TransportError):
                await asyncio.sleep(0.01)

    async def _read(self) -> None:
        """Read one stream to its end, over a socket and without chunks."""
        url = httpx.URL(self.url)
        reader, writer = await asyncio.open_connection(url.host, url.port)
        resume = f"Last-Event-ID: {self.last_event_id}\r\n" if self.last_event_id else ""
        writer.write(
            f"GET {url.path} HTTP/1.0\r\nHost: localhost\r\nAccept: text/event-stream\r\n{resume}\r\n".encode()
        )
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in head.split(b"\r\n", 1)[0]:
                return
            await self._take_lines(reader)
        finally:
            writer.transport.abort()

    async def _take_lines(self, reader: asyncio.StreamReader) -> None:
        event = data = position = ""
        is_open = False
        while line := (await reader.readline()).decode():
            if not is_open:
                self.opened()
                is_open = True
            name, _, value = line.rstrip("\n").partition(":")
            value = value.removeprefix(" ")
            match name:
                case "":
                    if line == "\n":
                        self.take(event, data, position)
                        event = data = position = ""
                case "event":
                    event = value
                case "data":
                    data = value
                case "id":
                    position = value


class HttpxResumer(Resumer):
    """The same by httpx-sse."""

    async def _read(self) -> None:
        headers = {"Last-Event-ID": self.last_event_id} if self.last_event_id else {}
        async with (
            httpx.AsyncClient(timeout=PATIENCE_SECONDS) as http,
            aconnect_sse(http, "GET", self.url, headers=headers) as source,
        ):
            if source.response.status_code == httpx.codes.OK:
                self.opened()
                async for event in source.aiter_sse():
                    self.take(event.event, event.data, event.id)


class CurlResumer(Resumer):
    """The same by curl, started anew each time."""

    async def _read(self) -> None:
        assert CURL is not None
        resume = ["-H", f"Last-Event-ID: {self.last_event_id}"] if self.last_event_id else []
        curl = await asyncio.create_subprocess_exec(
            CURL, "-sfN", "-H", "Accept: text/event-stream", *resume, self.url, stdout=subprocess.PIPE
        )
        try:
            assert curl.stdout is not None
            await self._take_lines(curl.stdout)
        finally:
            if curl.returncode is None:
                curl.kill()
            await curl.wait()


@asynccontextmanager
async def following(*clients: Resumer) -> AsyncIterator[None]:
    """Have clients read for as long as the block runs."""
    tasks = [asyncio.create_task(client.run()) for client in clients]
    try:
        yield
        assert not any(task.done() for task in tasks), "a client has ended"
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
