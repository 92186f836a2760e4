"""Compression over real sockets: every kind of client, what it missed, and what it costs the server to keep it."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from httpx_sse import aconnect_sse
from websockets.exceptions import ConnectionClosedError
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from mux.endpoints.dialect import CompressedSession, WebSocketSession
from mux.wire.deflate import END, deflated
from tests.support.event_streams import open_stream, parse, request
from tests.support.sdk import sdk_client
from tests.support.servers import PATIENCE_SECONDS, RawClient, Serving, handshake, receive, serving

CURL = shutil.which("curl")
LONG = json.dumps([{"symbol": "ABC", "price": number} for number in range(100)])
OFFER = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
AGREED = b"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"
LIMIT = 4096


@pytest.fixture
async def feed(redis_url: str, prefix: str) -> AsyncIterator[Serving]:
    """Return a server that compresses."""
    options: dict[str, Any] = {"compress": True, "max_message_bytes": LIMIT, "sdk": True}
    async with serving(redis_url=redis_url, prefix=prefix, **options) as one:
        yield one


def framed(first: int, payload: bytes) -> bytes:
    """Return a frame of a client whose mask changes nothing."""
    size = bytes((0x80 | len(payload),)) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2)
    return bytes((first,)) + size + b"\0\0\0\0" + payload


async def raw(feed: Serving, *headers: str) -> tuple[RawClient, bytes]:
    """Return a client and the answer to its handshake."""
    reader, writer = await asyncio.open_connection("127.0.0.1", feed.port)
    client = RawClient(reader, writer)
    client.send(handshake(feed.port, "lobby", *headers))
    async with asyncio.timeout(PATIENCE_SECONDS):
        return client, await reader.readuntil(b"\r\n\r\n")


def offering(**parameters: Any) -> dict[str, Any]:
    """Return options of a client of `websockets` that offers compression with these parameters."""
    return {"compression": None, "extensions": [ClientPerMessageDeflateFactory(**parameters)]}


async def test_clients_of_websockets_hear_each_other(feed: Serving) -> None:
    """With every offer they make, and with none; small and large, text and binary."""
    sent: list[str | bytes] = ["", "small", LONG, "ü" * 300, b"", bytes(range(256)) * 4]
    offers: list[dict[str, Any]] = [
        {"compression": "deflate"},
        {},
        offering(server_max_window_bits=9, client_max_window_bits=9),
        offering(server_no_context_takeover=True, client_no_context_takeover=True),
    ]
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(feed.connect(**offer)) for offer in offers]
        for sender in clients:
            for message in sent:
                await sender.send(message)
        for client in clients:
            heard = await receive(client, len(sent) * len(clients))
            for message in sent:
                assert heard.count(message) == len(clients)
        assert [bool(client.protocol.extensions) for client in clients] == [True, False, True, True]


async def test_one_buffer_is_for_all(feed: Serving) -> None:
    """Clients with the same offer get the very same bytes, a fraction of the message."""
    clients = [await raw(feed, OFFER) for _ in range(3)]
    assert all(AGREED in head for _, head in clients)
    await feed.mux.publish("lobby", LONG)
    expected = deflated(LONG.encode()).removesuffix(END)
    for client, _ in clients:
        assert await client.read(4 + len(expected)) == b"\xc1\x7e" + len(expected).to_bytes(2) + expected
        await client.aclose()
    assert 5 * len(expected) < len(LONG)


async def test_an_idle_client_takes_no_memory_for_it(feed: Serving) -> None:
    """There is no window and no object of its own; and a parser only while it says something."""
    (one, _), (other, _) = await raw(feed, OFFER), await raw(feed)
    sessions = [client.session for client in feed.mux._core.hub.open_connections()]
    assert {type(session) for session in sessions} == {WebSocketSession, CompressedSession}
    assert len({sys.getsizeof(session) for session in sessions}) == 1
    assert all(session is not None and session.parser is None for session in sessions)
    await one.aclose()
    await other.aclose()


@pytest.mark.parametrize(
    ("payload", "goodbye"),
    [
        pytest.param(deflated(bytes(LIMIT + 1)), b"\x03\xf1", id="a bomb"),
        pytest.param(b"\xff\xff" + END, b"\x03\xea", id="no DEFLATE"),
        pytest.param(deflated(b"\xff" * 99), b"\x03\xef", id="no text"),
    ],
)
async def test_a_client_that_compresses_wrongly_is_closed(feed: Serving, payload: bytes, goodbye: bytes) -> None:
    """By the code of what it did."""
    client, _ = await raw(feed, OFFER)
    client.send(framed(0xC1, payload.removesuffix(END)))
    assert (await client.read_to_end())[2:4] == goodbye
    await client.aclose()


async def test_a_large_message_of_a_client_that_compresses_is_refused(feed: Serving) -> None:
    """The limit is that of the message as it was."""
    async with feed.connect(compression="deflate") as client:
        await client.send("a" * LIMIT)
        assert await receive(client, 1) == ["a" * LIMIT]
        await client.send("a" * (LIMIT + 1))
        with pytest.raises(ConnectionClosedError) as closed:
            await receive(client, 1)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


async def test_a_client_that_comes_late_is_given_the_last_messages(feed: Serving) -> None:
    """The replay is compressed as what follows it."""
    async with feed.connect("lobby") as first:
        await feed.mux.publish("lobby", LONG)
        await receive(first, 1)
        async with feed.connect("lobby?last=1", compression="deflate") as late:
            await feed.mux.publish("lobby", "small")
            assert await receive(late, 2) == [LONG, "small"]


async def test_sdk_clients_share_their_compressed_pushes(feed: Serving) -> None:
    """Also one that is told of joins, which has an encoder of its own; and they may compress what they send."""
    joins = {"subscribe": {"channel": "lobby", "join_leave": True}}
    async with (
        sdk_client(feed.port, "lobby", compression="deflate") as one,
        sdk_client(feed.port, compression="deflate") as own,
        sdk_client(feed.port, "lobby") as plain,
    ):
        await own.ask(joins)
        await one.ask({"publish": {"channel": "lobby", "data": json.loads(LONG)}})
        for client in (one, own, plain):
            [push] = await client.pushes("pub", 1)
            assert push["data"] == json.loads(LONG)
        subscribers = list(feed.mux._core.hub.router.subscribers(feed.mux._core.namespace.redis_channel(b"lobby")))
        batch = [(LONG.encode(), 0, 1)]
        sizes = sorted({id(frame): len(frame) for frame in (one.encode(b"", batch) for one in subscribers)}.values())
        assert len(sizes) == 2
        assert sizes[0] * 3 < sizes[1]


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_an_event_stream_is_one_compressed_body(feed: Serving, coding: str, version: str) -> None:
    """Every batch is read as soon as it comes, and so is the goodbye."""
    reader, writer = await asyncio.open_connection("127.0.0.1", feed.port)
    writer.write(request(feed.port, "lobby", f"Accept-Encoding: {coding}", version=version))
    async with asyncio.timeout(PATIENCE_SECONDS):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert f"\r\nContent-Encoding: {coding}\r\n" in head
        assert "\r\nVary: Origin, Accept-Encoding\r\n" in head
        inflater, stream = zlib.decompressobj(31 if coding == "gzip" else 15), b""
        for expected in ("small", LONG):
            await feed.mux.publish("lobby", expected)
            while not (events := parse(stream).events) or events[-1].data != expected:
                if version == "1.1":
                    size = int(await reader.readline(), 16)
                    stream += inflater.decompress((await reader.readexactly(size + 2))[:-2])
                else:
                    stream += inflater.decompress(await reader.read(65536))
    assert [event.data for event in parse(stream).events] == ["small", LONG]
    writer.transport.abort()


async def test_a_stream_is_not_compressed_for_clients_that_do_not_ask(feed: Serving) -> None:
    """Whoever writes a client by hand sends no Accept-Encoding; a cache is told that others may."""
    async with open_stream(feed.port) as stream:
        await feed.mux.publish("lobby", LONG)
        assert [event.data for event in await stream.events(1)] == [LONG]
        assert "Content-Encoding" not in stream.head
        assert "\r\nVary: Origin, Accept-Encoding\r\n" in stream.head


async def test_httpx_reads_events_and_json(feed: Serving) -> None:
    """A library that asks for gzip and deflate of its own accord."""
    async with httpx.AsyncClient(timeout=PATIENCE_SECONDS, trust_env=False) as client:
        url = feed.url(scheme="http")
        async with aconnect_sse(client, "GET", url) as source:
            assert source.response.headers["content-encoding"] == "gzip"
            events = source.aiter_sse()
            for message in ("small", LONG):
                await feed.mux.publish("lobby", message)
                async with asyncio.timeout(PATIENCE_SECONDS):
                    assert (await anext(events)).data == message
        answer = await client.get(url, headers={"Accept": "application/json"})
        assert answer.headers["content-encoding"] == "gzip"
        assert int(answer.headers["content-length"]) * 3 < len(LONG)
        assert [one["text"] for one in answer.json()["messages"]] == ["small", LONG]
        answer = await client.get(url, headers={"Accept": "application/json", "Accept-Encoding": "gzip;q=0"})
        assert "content-encoding" not in answer.headers
        assert [one["text"] for one in answer.json()["messages"]] == ["small", LONG]


@pytest.mark.skipif(CURL is None, reason="no curl on this machine")
async def test_curl_reads_a_compressed_stream_to_its_end(feed: Serving) -> None:
    """It takes the end of the stream for the end of the body."""
    assert CURL is not None
    curl = await asyncio.create_subprocess_exec(
        CURL,
        "-sSN",
        "--compressed",
        "-H",
        "Accept: text/event-stream",
        feed.url(scheme="http"),
        stdout=subprocess.PIPE,
    )
    try:
        assert curl.stdout is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert (await curl.stdout.readline()).startswith(b"retry: ")
            await feed.mux.publish("lobby", LONG)
            assert await curl.stdout.readline() == b"data: %b\n" % LONG.encode()
            await feed.mux.drain()
            assert b": 1001 the server is going away\n" in await curl.stdout.read()
            assert await curl.wait() == 0
    finally:
        if curl.returncode is None:
            curl.kill()
            await curl.wait()
