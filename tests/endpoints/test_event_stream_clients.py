"""Event streams by the clients people have, in thousands, over a restart, and through nginx."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest
from httpx_sse import ServerSentEvent, aconnect_sse
from websockets.asyncio.client import connect

from tests.support.event_streams import Event, open_stream, parse
from tests.support.nginx import NGINX, nginx, reachable
from tests.support.servers import PATIENCE_SECONDS, Serving, mux_serve, receive, serving, until

CURL = shutil.which("curl")

OPERATING = Path(__file__).parents[2] / "mux/serve/README.md"

BARE_BLOCK = "server { listen 127.0.0.1:{listen}; location /feed/ { proxy_pass http://127.0.0.1:{port}; } }"
"""What somebody writes who has read nothing: nginx asks with HTTP/1.0 and a Host of its own."""


def documented_block() -> str:
    """Return what the page on operating tells to write into nginx.conf; listen and port are the test's own."""
    block = OPERATING.read_text().partition("    map $http_upgrade")[2].partition("`proxy_read_timeout`")[0]
    assert "listen 80;" in block
    assert "127.0.0.1:8000;" in block
    own = block.replace("listen 80;", "listen 127.0.0.1:{listen};").replace("127.0.0.1:8000;", "127.0.0.1:{port};")
    return f"map $http_upgrade{own}"


@pytest.mark.skipif(CURL is None, reason="no curl on this machine")
@pytest.mark.parametrize("version", ["--http1.1", "--http1.0"])
async def test_curl_prints_events_as_they_come_and_ends_with_the_stream(feed: Serving, version: str) -> None:
    """`curl -N` with the header that asks for a stream; its exit status says that the body was whole."""
    assert CURL is not None
    curl = await asyncio.create_subprocess_exec(
        CURL, "-sSN", version, "-H", "Accept: text/event-stream", feed.url(scheme="http"), stdout=subprocess.PIPE
    )
    try:
        assert curl.stdout is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert (await curl.stdout.readline()).startswith(b"retry: ")
            await feed.mux.publish("lobby", "hello\nyou")
            first, second, position, last = [await curl.stdout.readline() for _ in range(4)]
            assert (first, second, last) == (b"data: hello\n", b"data: you\n", b"\n")
            assert position.startswith(b"id: ")
            await feed.mux.drain()
            assert (await curl.stdout.read()).startswith(b": 1001 the server is going away\n")
            assert await curl.wait() == 0
    finally:
        if curl.returncode is None:
            curl.kill()
            await curl.wait()


@asynccontextmanager
async def events_of(url: str, **headers: str) -> AsyncIterator[AsyncIterator[ServerSentEvent]]:
    """Open an event stream with httpx-sse."""
    async with (
        httpx.AsyncClient(timeout=PATIENCE_SECONDS, trust_env=False) as client,
        aconnect_sse(client, "GET", url, headers=headers) as source,
    ):
        assert source.response.status_code == 200
        yield source.aiter_sse()


async def take(events: AsyncIterator[ServerSentEvent], count: int) -> list[Event]:
    """Return the next events."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        return [Event(event.event, event.data) for event in [await anext(events) for _ in range(count)]]


async def opened(feed: Serving, count: int = 1) -> None:
    """Wait until the server has so many clients."""
    await until(lambda: len(feed.mux._core.hub) >= count)


async def test_every_byte_value_survives(feed: Serving) -> None:
    """Alone, between others, and as the beginning of text that is none; of line ends, that there was one."""
    payloads: list[bytes] = [bytes((value,)) for value in range(256)]
    payloads += [b"a%cb" % value for value in range(256)] + [bytes(range(256)), bytes(range(128))]
    async with open_stream(feed.port) as stream:
        for payload in payloads:
            # As raw publishes: text where it can be.
            await feed.mux._core.broker.outbox.publish(feed.mux._core.namespace.redis_channel(b"lobby"), payload)
        heard = await stream.events(len(payloads))
    for payload, (name, data) in zip(payloads, heard, strict=True):
        if name == "binary":
            assert b64decode(data, validate=True) == payload
            assert not payload.isascii()
        else:
            assert data.encode() == payload.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


async def test_httpx_sse_hears_text_and_binary(feed: Serving) -> None:
    """A library with a parser of its own; not every control character, some of which it takes for line ends."""
    texts = ["hello", "", " a", "a\n\n b\n", "a\r\nb\rc", "ü\U0001f600", "data: x", ": no comment", "x" * 60_000]
    async with events_of(feed.url(scheme="http")) as events:
        await opened(feed)
        for text in texts:
            await feed.mux.publish("lobby", text)
        await feed.mux.publish("lobby", bytes(range(256)))
        *messages, last = await take(events, len(texts) + 1)
        assert messages == [Event("message", text.replace("\r\n", "\n").replace("\r", "\n")) for text in texts]
        assert last.name == "binary"
        assert b64decode(last.data, validate=True) == bytes(range(256))


async def test_json_is_what_it_was(feed: Serving) -> None:
    """What most feeds carry, line ends and all, for JSON does not mind which they are."""
    document = {"text": "a\nb\r\nc", "ü": [1, 2, {"three": None}]}
    async with events_of(feed.url(scheme="http")) as events:
        await opened(feed)
        await feed.mux.publish("lobby", json.dumps(document, indent=2).replace("\n", "\r\n"))
        ((name, data),) = await take(events, 1)
        assert name == "message"
        assert json.loads(data) == document


async def test_three_hundred_streams_and_websockets_hear_everything(redis_url: str, prefix: str) -> None:
    """On one channel, in order, each of them."""
    count, messages = 300, 20
    async with serving(redis_url=redis_url, prefix=prefix) as feed, AsyncExitStack() as stack:
        streams = []
        for _ in range(count // 50):
            opening = [stack.enter_async_context(open_stream(feed.port)) for _ in range(50)]
            streams += await asyncio.gather(*opening)
        sockets = [await stack.enter_async_context(feed.connect()) for _ in range(10)]
        await until(lambda: len(feed.mux._core.hub) == count + 10)
        for number in range(messages):
            await feed.mux.publish("lobby", f"{number}\n{number}")
        expected = [f"{number}\n{number}" for number in range(messages)]
        for stream in streams:
            assert [event.data for event in await stream.events(messages)] == expected
        for socket in sockets:
            assert await receive(socket, messages) == expected
        assert not feed.mux._core.hub.evicted
        for stream in streams:
            stream.writer.transport.abort()
        await until(lambda: len(feed.mux._core.hub) == 10)


async def test_a_restart_ends_streams_well_and_they_come_back(redis_url: str, prefix: str, free_port: int) -> None:
    """SIGTERM: every body is whole, the process ends with 0, and the next one takes the same clients."""
    options = ("--redis-url", redis_url, "--prefix", prefix, "--no-announce", "--drain-seconds", "0.3")
    async with AsyncExitStack() as stack:
        one = stack.enter_context(mux_serve(*options, "--port", str(free_port)))
        streams = [await stack.enter_async_context(open_stream(one.port)) for _ in range(20)]
        stopping = asyncio.create_task(asyncio.to_thread(one.stop))
        ends = await asyncio.gather(*(stream.read_to_end() for stream in streams))
        status, said = await stopping
        assert status == 0, said
        assert "cut off" not in said
        assert all(end.comments == ["1001 the server is going away"] for end in ends)
        assert len({end.retries[-1] for end in ends}) > 1
        two = stack.enter_context(mux_serve(*options, "--port", str(free_port)))
        streams = [await stack.enter_async_context(open_stream(two.port)) for _ in range(20)]
        talker = await stack.enter_async_context(two.connect())
        await talker.send("back")
        assert [await stream.events(1) for stream in streams] == [[Event("message", "back")]] * 20


@pytest.mark.skipif(NGINX is None, reason="no nginx on this machine")
async def test_through_nginx_with_the_documented_block(
    redis_url: str, prefix: str, free_port: int, tmp_path: Path
) -> None:
    """Streams and WebSockets, a page's Origin, a heartbeat at once, and the end on either side."""
    async with serving(redis_url=redis_url, prefix=prefix, ping_seconds=0.5, pong_seconds=0.2) as feed:
        with nginx(documented_block(), free_port, feed.port, tmp_path):
            await reachable(free_port)
            url = f"127.0.0.1:{free_port}/feed/lobby"
            async with (
                open_stream(free_port, "lobby", f"Origin: http://127.0.0.1:{free_port}") as stream,
                connect(f"ws://{url}", origin=f"http://127.0.0.1:{free_port}") as websocket,  # type: ignore[arg-type]
                events_of(f"http://{url}") as events,
            ):
                await opened(feed, 3)
                assert f"Access-Control-Allow-Origin: http://127.0.0.1:{free_port}" in stream.head
                await websocket.send(" from\nthe socket")
                expected = Event("message", " from\nthe socket")
                assert await stream.events(1) == [expected]
                assert await take(events, 1) == [expected]
                assert await receive(websocket, 1) == [expected.data]
                await stream.until(lambda: bool(parse(stream.heard).heartbeats))
                stream.writer.transport.abort()
                await until(lambda: len(feed.mux._core.hub) == 2)
            await until(lambda: len(feed.mux._core.hub) == 0)
            async with open_stream(free_port, "lobby", "Connection: close") as stream:
                draining = asyncio.create_task(feed.mux.drain())
                assert (await stream.read_to_end()).comments == ["1001 the server is going away"]
                await draining


@pytest.mark.skipif(NGINX is None, reason="no nginx on this machine")
async def test_through_nginx_that_nobody_has_told_anything(feed: Serving, free_port: int, tmp_path: Path) -> None:
    """HTTP/1.0 to us, chunks to the client, and nothing is gathered on the way."""
    with nginx(BARE_BLOCK, free_port, feed.port, tmp_path):
        await reachable(free_port)
        async with open_stream(free_port, "lobby", "Connection: close") as stream:
            assert stream.chunks
            for number in range(3):
                await feed.mux.publish("lobby", str(number))
                assert len(await stream.events(number + 1)) == number + 1
            draining = asyncio.create_task(feed.mux.drain())
            assert (await stream.read_to_end()).comments == ["1001 the server is going away"]
            await draining
