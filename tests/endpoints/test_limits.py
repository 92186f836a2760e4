"""How many may connect and how fast they may speak, by real clients against a server in this process."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import socket
import struct
import sys
from contextlib import suppress
from typing import Any

import pytest
import redis
from sanic import Sanic

from mux.endpoints import takeover
from mux.hub.admission import HEADROOM_DESCRIPTORS, LAST_DESCRIPTORS
from mux.serve.application import create_app
from mux.settings.settings import Settings
from tests.support.requests import exchange
from tests.support.servers import PATIENCE_SECONDS, RawClient, Serving, handshake, raw_client, running, serving, until

PING = b"\x89\x80\x00\x00\x00\x00"
GOODBYE = b"\x88\x82\x00\x00\x00\x00\x03\xe8"
HI = b"\x81\x82\x00\x00\x00\x00hi"


async def ask(port: int, asked: bytes) -> tuple[int, str]:
    """Send a request and return the status and the whole answer."""
    answer = await exchange(port, asked)
    return answer.status, answer.head + answer.body.decode()


async def closing(client: RawClient) -> tuple[bytes, int, str]:
    """Return what the server said before its close frame, the code, and the reason; answer it."""
    said = b""
    while b"\x88" not in said:
        said += await client.read(1)
    client.send(GOODBYE)
    said, _, close = (said + await client.read_to_end()).rpartition(b"\x88")
    return said, int.from_bytes(close[1:3]), close[3:].decode()


async def test_over_max_connections_is_refused_before_the_handshake(redis_url: str, prefix: str) -> None:
    """503 and when to come back; a place that is left is given away again."""
    async with serving(redis_url=redis_url, prefix=prefix, max_connections=2) as feed:
        async with raw_client(feed.port), raw_client(feed.port):
            status, answer = await ask(feed.port, handshake(feed.port))
            assert status == 503
            assert "retry-after: 2" in answer.lower()
            assert feed.mux._core.hub.refused == {"connections": 1}
        await until(lambda: len(feed.mux._core.hub) == 0)
        async with raw_client(feed.port):
            pass


async def test_over_max_connections_per_address_is_refused(redis_url: str, prefix: str) -> None:
    """429 and when to come back; another address is not concerned, and who leaves makes room."""
    app: Sanic[Any, Any] = Sanic(f"proxied-{prefix[:-1]}", configure_logging=False)
    app.config.REAL_IP_HEADER = "X-Real-IP"
    async with serving(app=app, redis_url=redis_url, prefix=prefix, max_connections_per_address=1) as feed:
        first = handshake(feed.port, "lobby", "X-Real-IP: 192.0.2.1")
        other = handshake(feed.port, "lobby", "X-Real-IP: 192.0.2.2")
        async with raw_client(feed.port):
            status, answer = await ask(feed.port, handshake(feed.port))
            assert status == 429
            assert "retry-after: 2" in answer.lower()
            assert (await ask(feed.port, first))[0] == 101
            assert (await ask(feed.port, other))[0] == 101
            assert feed.mux._core.hub.refused == {"address": 1}
        await until(lambda: len(feed.mux._core.hub) == 0)
        assert (await ask(feed.port, handshake(feed.port)))[0] == 101


async def test_without_descriptors_to_spare_nobody_is_let_in(
    redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain connections count: they have a descriptor each."""
    monkeypatch.setattr("mux.core.descriptor_limit", lambda: HEADROOM_DESCRIPTORS + 3)
    async with serving(redis_url=redis_url, prefix=prefix) as feed, raw_client(feed.port):
        idle = [await asyncio.open_connection("127.0.0.1", feed.port) for _ in range(2)]
        status, answer = await ask(feed.port, handshake(feed.port))
        assert status == 503
        assert "retry-after: 2" in answer.lower()
        assert feed.mux._core.hub.refused == {"descriptors": 1}
        for _, writer in idle:
            writer.transport.abort()


async def test_refusals_are_counted_by_reason(feed: Serving) -> None:
    """Whoever watches the server sees why clients are turned away."""
    await ask(feed.port, handshake(feed.port, "%20"))
    await ask(feed.port, handshake(feed.port, "lobby", "Origin: https://evil.example"))
    await ask(feed.port, handshake(feed.port).replace(b"Version: 13", b"Version: 12"))
    feed.mux._core.feed.checks.is_draining = True
    await ask(feed.port, handshake(feed.port))
    assert feed.mux._core.hub.refused == {"channel": 1, "origin": 1, "handshake": 1, "draining": 1}


@pytest.mark.parametrize("segments", [1, 20], ids=["one segment", "a segment each"])
async def test_too_many_messages_close_the_client(redis_url: str, prefix: str, segments: int) -> None:
    """A burst is published, the next message is not, and the client is told; segments make no difference."""
    limits: dict[str, Any] = {"max_messages_per_second": 0.001, "max_messages_burst": 10}
    async with (
        serving(redis_url=redis_url, prefix=prefix, **limits) as feed,
        feed.connect() as listener,
        raw_client(feed.port) as client,
    ):
        for _ in range(segments):
            client.send(HI * (20 // segments))
            await asyncio.sleep(0)
        _, code, reason = await closing(client)
        assert (code, reason) == (1008, "too many messages")
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert [await listener.recv() for _ in range(10)] == ["hi"] * 10
        await listener.send("mine")
        assert await asyncio.wait_for(listener.recv(), PATIENCE_SECONDS) == "mine"
        assert feed.mux._core.hub.refused == {"messages": 1}


async def test_too_many_control_frames_close_the_client(redis_url: str, prefix: str) -> None:
    """A parser at rest is thrown away after every ping; what it counted is not."""
    limits: dict[str, Any] = {"max_control_frames_per_second": 0.001, "max_control_frames_burst": 10}
    async with serving(redis_url=redis_url, prefix=prefix, **limits) as feed, raw_client(feed.port) as client:
        for _ in range(10):
            client.send(PING)
            assert await client.read(2) == b"\x8a\x00"
        client.send(PING)
        _, code, reason = await closing(client)
        assert (code, reason) == (1008, "too many control frames")
        assert feed.mux._core.hub.refused == {"control_frames": 1}


async def test_a_goodbye_is_no_flood(redis_url: str, prefix: str) -> None:
    """The close frame that is one control frame too many is answered as any."""
    limits: dict[str, Any] = {"max_control_frames_per_second": 0.001, "max_control_frames_burst": 1}
    async with serving(redis_url=redis_url, prefix=prefix, **limits) as feed, raw_client(feed.port) as client:
        client.send(PING + GOODBYE)
        assert await client.read_to_end() == b"\x8a\x00\x88\x02\x03\xe8"
        assert not feed.mux._core.hub.refused


async def test_what_is_cut_off_by_a_goodbye_is_counted(redis_url: str, prefix: str) -> None:
    """Messages over the limit and a goodbye in one segment: not all are published, and that is not hidden."""
    limits: dict[str, Any] = {"max_messages_per_second": 0.001, "max_messages_burst": 1}
    async with serving(redis_url=redis_url, prefix=prefix, **limits) as feed, raw_client(feed.port) as client:
        client.send(HI * 2 + GOODBYE)
        assert await client.read_to_end() == b"\x88\x02\x03\xe8"
        assert feed.mux._core.hub.refused == {"messages": 1}


async def test_a_body_that_never_ends_is_given_up(redis_url: str, prefix: str) -> None:
    """A POST has as long as a handshake."""
    async with serving(redis_url=redis_url, prefix=prefix, handshake_seconds=0.2) as feed:
        head = f"POST /feed/lobby HTTP/1.1\r\nHost: 127.0.0.1:{feed.port}\r\nContent-Length: 100\r\n\r\n"
        status, _ = await ask(feed.port, head.encode() + b"x")
        assert status == 408
        assert feed.mux._core.hub.refused == {"too_slow": 1}


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux how much a socket has not sent (SIOCOUTQNSD)")
@pytest.mark.parametrize("bounded", [False, True])
async def test_the_kernel_holds_little_of_what_is_not_read(
    redis_url: str, publisher: redis.Redis, prefix: str, monkeypatch: pytest.MonkeyPatch, bounded: bool
) -> None:
    """Of a client that never reads, 128 KiB or so wait in the kernel; left alone it takes megabytes."""
    if not bounded:
        monkeypatch.setattr(takeover, "_set_options", lambda transport, seconds: None)
    async with serving(redis_url=redis_url, prefix=prefix) as feed, raw_client(feed.port) as client:
        client.stop_reading()
        (subscriber,) = feed.mux._core.hub.open_connections()
        transport: Any = subscriber.transport
        descriptor = transport.get_extra_info("socket").fileno()
        unsent = 0
        while not feed.mux._core.hub.evicted:
            (unsent,) = struct.unpack("i", fcntl.ioctl(descriptor, 0x894B, b"\0" * 4))
            await asyncio.to_thread(publisher.publish, f"{prefix}lobby", "x" * 60000)
            await asyncio.sleep(0)
        assert feed.mux._core.hub.evicted == {"overflow": 1}
        assert (unsent < 4 * takeover.UNSENT_BYTES) == bounded


@pytest.mark.parametrize("has_option", [True, False], ids=["TCP_NOTSENT_LOWAT", "SO_SNDBUF"])
async def test_a_socket_is_bounded_as_the_system_allows(
    feed: Serving, monkeypatch: pytest.MonkeyPatch, has_option: bool
) -> None:
    """Where there is no TCP_NOTSENT_LOWAT, by the size of the send buffer."""
    if not has_option:
        monkeypatch.setattr(takeover, "_NOTSENT_LOWAT", None)
    elif takeover._NOTSENT_LOWAT is None:
        pytest.skip("not on this system")
    async with raw_client(feed.port):
        (subscriber,) = feed.mux._core.hub.open_connections()
        transport: Any = subscriber.transport
        sock = transport.get_extra_info("socket")
        if has_option:
            assert sock.getsockopt(socket.IPPROTO_TCP, takeover._NOTSENT_LOWAT) == takeover.UNSENT_BYTES
        else:
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 2 * takeover.UNSENT_BYTES


@pytest.fixture
async def served(redis_url: str, prefix: str) -> Any:
    """Return the port of the app that `mux serve` serves, with a handshake of half a second."""
    app = create_app(Settings(redis_url=redis_url, prefix=prefix, announce=False, handshake_seconds=0.4))
    with socket.create_server(("127.0.0.1", 0)) as sock:
        async with running(app, sock=sock, protocol=app.ctx.http_protocol):
            yield sock.getsockname()[1]


@pytest.mark.parametrize(
    "drip",
    [b"", b"GET /feed/lobby HTTP/1.1\r\nX: ", handshake(1)[:-4] + b"\r\nX: "],
    ids=["nothing", "a line", "all but the end"],
)
async def test_half_a_request_does_not_stay(served: int, drip: bytes) -> None:
    """Not even when a byte comes now and then, which Sanic takes for progress."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served)
    try:
        writer.write(drip)
        async with asyncio.timeout(PATIENCE_SECONDS):
            ended = asyncio.create_task(reader.read())
            while not ended.done():
                if drip and not writer.is_closing():
                    writer.write(b"x")
                await asyncio.wait([ended], timeout=0.05)
            with suppress(ConnectionError):
                assert b" 101 " not in ended.result()
    finally:
        writer.transport.abort()


async def test_an_open_websocket_has_no_handshake_deadline(served: int) -> None:
    """The time is that of a request; who is connected may be silent."""
    async with raw_client(served) as client:
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", served)
            assert await asyncio.wait_for(reader.read(), PATIENCE_SECONDS) == b""
            writer.close()
        client.send(HI)
        assert await client.read(4) == b"\x81\x02hi"


async def test_the_last_descriptors_are_given_to_nobody(
    redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A connection beyond hears nothing at all, and leaves nothing; those before it hear 503."""
    monkeypatch.setattr("mux.core.descriptor_limit", lambda: HEADROOM_DESCRIPTORS + 1)
    caplog.set_level(logging.INFO)
    app = create_app(Settings(redis_url=redis_url, prefix=prefix, announce=False))
    refused = app.ctx.hub.refused
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        async with running(app, sock=sock, protocol=app.ctx.http_protocol):
            room = 1 + HEADROOM_DESCRIPTORS - LAST_DESCRIPTORS
            idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(room - 1)]
            assert (await ask(port, handshake(port)))[0] == 503
            idle.append(await asyncio.open_connection("127.0.0.1", port))
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            with suppress(ConnectionError):
                assert await asyncio.wait_for(reader.read(), PATIENCE_SECONDS) == b""
            assert refused == {"descriptors": 2}
            for _, other in [*idle, (reader, writer)]:
                other.transport.abort()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
