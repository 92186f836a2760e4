"""Event streams on /feed/<channel>: the wire, byte by byte, against a server in this process."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from base64 import b64encode
from typing import Any

import pytest
import redis
import trustme
from sanic import Sanic

from mux import reasons
from mux.broker.gap import Gap
from mux.endpoints import takeover
from mux.endpoints.event_stream import RETRY_MILLISECONDS
from tests.endpoints.test_feed import http
from tests.support.event_streams import Event, open_stream, parse, request, unchunked
from tests.support.requests import opened
from tests.support.servers import BOTH_LOOPS, PATIENCE_SECONDS, Serving, receive, serving, until

STREAM = "Accept: text/event-stream"

VERSIONS = pytest.mark.parametrize("version", ["1.1", "1.0"])
"""In chunks, and without."""


@BOTH_LOOPS
@VERSIONS
async def test_everything_published_arrives_as_an_event(feed: Serving, version: str) -> None:
    """Text as lines, binary as base64, from whatever way it came."""
    async with open_stream(feed.port, version=version) as stream, feed.connect() as talker:
        await talker.send("hello")
        await talker.send(b"\x00\xff")
        await http(feed, "POST", "/feed/lobby", b" two\r\nlines")
        assert await stream.events(3) == [
            Event("message", "hello"),
            Event("binary", "AP8="),
            Event("message", " two\nlines"),
        ]
        assert stream.chunks == (version == "1.1")


async def test_the_head_says_what_to_make_of_it(feed: Serving) -> None:
    """An event stream, not to be kept, gathered or compressed, and no page of another host may read it."""
    async with open_stream(feed.port) as stream:
        assert set(stream.head.strip().split("\r\n")) == {
            "HTTP/1.1 200 OK",
            "Content-Type: text/event-stream",
            "Cache-Control: no-cache, no-transform",
            "X-Accel-Buffering: no",
            "Connection: close",
            "Transfer-Encoding: chunked",
            "Vary: Origin",
        }


async def test_every_client_has_its_own_time_to_come_back(feed: Serving) -> None:
    """So that those who lose a server together do not return together."""
    retries = set()
    for _ in range(10):
        async with open_stream(feed.port) as stream:
            parsed = parse(stream.heard)
            assert (parsed.events, parsed.comments) == ([], [])
            retries.update(parsed.retries)
    assert len(retries) > 1
    lowest, highest = RETRY_MILLISECONDS
    assert all(lowest <= retry <= highest for retry in retries)


async def test_streams_and_websockets_of_a_channel_hear_the_same_in_the_same_order(
    feed: Serving, publisher: redis.Redis, prefix: str
) -> None:
    """One batch, three encodings."""

    def publish() -> None:
        for start in range(0, 300, 30):
            with publisher.pipeline(transaction=False) as pipeline:
                for number in range(start, start + 30):
                    pipeline.publish(f"{prefix}lobby", f"{number}\nline")
                pipeline.execute()

    async with (
        open_stream(feed.port) as one,
        feed.connect() as two,
        open_stream(feed.port, version="1.0") as three,
        open_stream(feed.port) as four,
    ):
        await asyncio.to_thread(publish)
        heard = await receive(two, 300)
        assert heard == [f"{number}\nline" for number in range(300)]
        for stream in (one, three, four):
            assert [event.data for event in await stream.events(300)] == heard


@pytest.mark.parametrize(
    "headers",
    [
        ["Accept: */*"],
        [],
        ["Accept: text/event-stream;q=0, */*"],
        ["Accept: text/html, text/*"],
    ],
)
async def test_who_does_not_ask_for_a_stream_gets_none(feed: Serving, headers: list[str]) -> None:
    """And hears how to ask."""
    status, said = await http(feed, "GET", "/feed/lobby", b"", headers)
    assert status == 426
    assert "WebSocket" in said
    assert "text/event-stream" in said


async def test_accept_may_be_a_list_and_come_in_pieces(feed: Serving) -> None:
    """The headers of one name are one list (RFC 9110, section 5.3)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", feed.port)
    head = request(feed.port).replace(STREAM.encode(), b"Accept: text/html;q=0.5\r\naccept: a/b, text/event-stream")
    writer.write(head)
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    writer.transport.abort()


async def test_an_upgrade_is_more_than_a_wish(feed: Serving) -> None:
    """A WebSocket client that accepts anything, streams as well, gets its WebSocket."""
    async with feed.connect(additional_headers={"Accept": "text/event-stream"}) as client:
        await client.send("hi")
        assert await receive(client, 1) == ["hi"]


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
async def test_what_is_only_asked_about_is_not_joined(feed: Serving, method: str) -> None:
    """HEAD has the head of the stream and OPTIONS what there is; neither leaves a client."""
    reader, writer = await asyncio.open_connection("127.0.0.1", feed.port)
    writer.write(request(feed.port, method=method))
    async with asyncio.timeout(PATIENCE_SECONDS):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    writer.transport.abort()
    assert "Content-Type: text/event-stream" in head if method == "HEAD" else "GET, HEAD, OPTIONS, POST" in head
    assert len(feed.mux._core.hub) == 0


async def test_head_of_a_feed_is_that_of_its_get(feed: Serving) -> None:
    """Without the wish for a stream it is 426 as well, upgrade or not."""
    status = []
    for headers in ("", "Upgrade: websocket\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", feed.port)
        writer.write(f"HEAD /feed/lobby HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode())
        async with asyncio.timeout(PATIENCE_SECONDS):
            status.append((await reader.readline()).split()[1])
        writer.transport.abort()
    assert status == [b"426", b"426"]


async def test_request_with_a_body_or_a_bad_name_is_refused(feed: Serving) -> None:
    """As for a WebSocket."""
    assert (await http(feed, "GET", "/feed/lobby", b"", [STREAM, "Content-Length: 5"]))[0] == 400
    assert (await http(feed, "GET", "/feed/%20", b"", [STREAM]))[0] == 400
    assert len(feed.mux._core.hub) == 0


@BOTH_LOOPS
@pytest.mark.parametrize("early", [b"", b"GET /feed/other HTTP/1.1\r\nHost: x\r\n\r\n" * 100])
async def test_what_a_client_sends_later_is_dropped(
    redis_url: str, prefix: str, early: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Another request, a flood, nonsense: it gets no answer, ends nothing, and keeps no heartbeat away."""
    async with (
        serving(redis_url=redis_url, prefix=prefix, ping_seconds=0.2, pong_seconds=0.1) as feed,
        open_stream(feed.port, early=early) as stream,
    ):
        for _ in range(100):
            stream.writer.write(b"\x81\x82\x00\x00\x00\x00hi\r\n" * 5000)
            await stream.writer.drain()

        async def chatter() -> None:
            while True:
                stream.writer.write(b"x")
                await asyncio.sleep(0.01)

        talking = asyncio.create_task(chatter())
        await stream.until(lambda: len(parse(stream.heard).heartbeats) >= 2)
        talking.cancel()
        await feed.mux.publish("lobby", "still heard")
        assert await stream.events(1) == [Event("message", "still heard")]
        assert not feed.mux._core.hub.evicted
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@VERSIONS
async def test_heartbeat_is_a_comment_that_needs_no_answer(redis_url: str, prefix: str, version: str) -> None:
    """A client that never says a word stays; a WebSocket that does not answer does not."""
    async with (
        serving(redis_url=redis_url, prefix=prefix, ping_seconds=0.1, pong_seconds=0.05) as feed,
        open_stream(feed.port, version=version) as stream,
    ):
        await stream.until(lambda: len(parse(stream.heard).heartbeats) >= 4)
        assert parse(stream.heard).comments == []
        assert parse(stream.heard).events == []
        assert not feed.mux._core.hub.evicted


@BOTH_LOOPS
@pytest.mark.skipif(takeover._USER_TIMEOUT is None, reason="TCP_USER_TIMEOUT is Linux'")
@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ({}, 35_000),
        ({"ping_seconds": 1, "pong_seconds": 0.5, "max_unwritable_seconds": 20.0}, 20_500),
        ({"max_unwritable_seconds": 86_400.0}, 86_410_000),
    ],
)
async def test_kernel_ends_what_nobody_acknowledges(
    redis_url: str, prefix: str, times: dict[str, Any], expected: int
) -> None:
    """In milliseconds; later than the hub evicts who does not read, so that it is known why a client went."""
    async with serving(redis_url=redis_url, prefix=prefix, **times) as feed, open_stream(feed.port):
        (subscriber,) = feed.mux._core.hub.open_connections()
        transport: Any = subscriber.transport
        sock = transport.get_extra_info("socket")
        assert takeover._USER_TIMEOUT is not None
        assert sock.getsockopt(socket.IPPROTO_TCP, takeover._USER_TIMEOUT) == expected


async def test_stream_works_where_the_kernel_has_no_such_option(feed: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the kernel's own patience counts."""
    monkeypatch.setattr(takeover, "_USER_TIMEOUT", None)
    async with open_stream(feed.port) as stream:
        await feed.mux.publish("lobby", "hi")
        assert await stream.events(1) == [Event("message", "hi")]


@BOTH_LOOPS
async def test_slow_consumer_is_dropped_and_the_others_hear_everything(
    redis_url: str, publisher: redis.Redis, prefix: str
) -> None:
    """Who does not read is evicted once a mebibyte waits for it; nobody waits for it."""
    async with (
        serving(redis_url=redis_url, prefix=prefix) as feed,
        open_stream(feed.port) as slow,
        open_stream(feed.port) as witness,
    ):
        slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
        payload = "x" * 60000
        for number in range(400):
            await asyncio.to_thread(publisher.publish, f"{prefix}lobby", f"{number} {payload}")
            assert (await witness.events(1))[0].data == f"{number} {payload}"
            witness.heard = b""
            if feed.mux._core.hub.evicted["overflow"]:
                break
        assert feed.mux._core.hub.evicted == {"overflow": 1}
        await until(lambda: len(feed.mux._core.hub) == 1)


@BOTH_LOOPS
@VERSIONS
@pytest.mark.parametrize(("text", "count"), [("\n", 5), ("a\r\n", 12)])
async def test_a_reader_of_line_ends_is_no_slow_consumer(
    redis_url: str, publisher: redis.Redis, prefix: str, version: str, text: str, count: int
) -> None:
    """Four messages of them at once became 1.8 MB, and cost every healthy reader its connection."""
    async with (
        serving(redis_url=redis_url, prefix=prefix) as feed,
        open_stream(feed.port, version=version) as reader,
    ):
        pipeline = publisher.pipeline(transaction=False)
        for _ in range(count):
            pipeline.publish(f"{prefix}lobby", text * (65536 // len(text)))
        await asyncio.to_thread(pipeline.execute)
        pause = asyncio.create_task(feed.mux.publish("lobby", "end"))
        await reader.until(lambda: b"data: end\n" in reader.heard)
        await pause
        line_ends = (text * (65536 // len(text))).replace("\r\n", "\n").replace("\r", "\n")
        assert parse(reader.heard).events == [Event("message", line_ends)] * count + [Event("message", "end")]
        assert not feed.mux._core.hub.evicted


@BOTH_LOOPS
async def test_client_that_stays_unwritable_is_dropped(redis_url: str, publisher: redis.Redis, prefix: str) -> None:
    """Less than the limit may wait, but not for ever."""
    limits: dict[str, Any] = {"max_pending_bytes": 2**30, "max_unwritable_seconds": 0.1}
    async with serving(redis_url=redis_url, prefix=prefix, **limits) as feed, open_stream(feed.port) as slow:
        slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
        while not feed.mux._core.hub.evicted:
            await asyncio.to_thread(publisher.publish, f"{prefix}lobby", "x" * 60000)
        assert feed.mux._core.hub.evicted == {"unwritable": 1}
        await until(lambda: len(feed.mux._core.hub) == 0)


async def test_line_ends_that_grow_do_not_evict_who_reads(redis_url: str, prefix: str) -> None:
    """A text of nothing but line ends is seven times as long as an event, and still a message that may be sent."""
    limits: dict[str, Any] = {"max_message_bytes": 100_000, "max_pending_bytes": 65536}
    async with serving(redis_url=redis_url, prefix=prefix, **limits) as feed, open_stream(feed.port) as stream:
        await feed.mux.publish("lobby", "\n" * 100_000)
        assert await stream.events(1) == [Event("message", "\n" * 100_000)]


@BOTH_LOOPS
@pytest.mark.parametrize("goodbye", ["end", "abort"])
async def test_who_sends_no_more_has_left(redis_url: str, prefix: str, goodbye: str) -> None:
    """A FIN is what a closed client and a half-closed one have in common; the others are told."""
    async with serving(redis_url=redis_url, prefix=prefix, announce=True) as feed, feed.connect() as witness:
        await receive(witness, 1)
        async with open_stream(feed.port) as stream:
            (joined,) = await receive(witness, 1)
            assert await stream.events(1) == [Event("joined", str(joined))]
            if goodbye == "end":
                stream.writer.write_eof()
                await stream.reader.read()
        assert isinstance(joined, str)
        assert await receive(witness, 1) == [joined.replace("joined", "left")]
        await until(lambda: len(feed.mux._core.hub) == 1)
        assert len(feed.mux._core.hub.router) == 1


@VERSIONS
async def test_announcements_are_no_messages(redis_url: str, prefix: str, publisher: redis.Redis, version: str) -> None:
    """A page that reads JSON from every message once broke on them; nobody but mux and who may PUBLISH makes one."""
    async with (
        serving(redis_url=redis_url, prefix=prefix, announce=True) as feed,
        open_stream(feed.port, version=version) as stream,
    ):
        await stream.events(1)
        async with feed.connect() as talker:
            (own,) = await receive(talker, 1)
            await talker.send(str(own))
            await talker.send(str(own).encode())
            await receive(talker, 2)
            assert (await http(feed, "POST", "/feed/lobby%01", b"forged"))[0] == 400
        left = str(own).replace("joined", "left")
        assert (await stream.events(5))[1:] == [
            Event("joined", str(own)),
            Event("message", str(own)),
            Event("binary", b64encode(str(own).encode()).decode()),
            Event("left", left),
        ]
        await asyncio.to_thread(publisher.publish, f"{prefix}lobby\x01", "an import of 2019 has joined")
        assert (await stream.events(6))[5] == Event("joined", "an import of 2019 has joined")


async def test_announcements_are_heard_by_whoever_hears_the_prefix(
    redis_url: str, prefix: str, publisher: redis.Redis
) -> None:
    """In Redis they are in the channel's name and one byte; a subscription to the name alone hears messages only."""
    with publisher.pubsub(ignore_subscribe_messages=True) as pubsub:  # type: ignore[no-untyped-call]
        pubsub.psubscribe(f"{prefix}lobby*")
        pubsub.get_message(timeout=PATIENCE_SECONDS)
        async with serving(redis_url=redis_url, prefix=prefix, announce=True) as feed:
            async with feed.connect() as client:
                await client.send("hi")
                await receive(client, 2)
            await until(lambda: len(feed.mux._core.hub) == 0)
        heard = [pubsub.get_message(timeout=PATIENCE_SECONDS) for _ in range(3)]
    assert [message and message["channel"] for message in heard] == [
        f"{prefix}lobby{mark}".encode() for mark in ("\x01", "", "\x02")
    ]


@BOTH_LOOPS
@VERSIONS
async def test_drain_ends_streams_and_says_when_to_come_back(redis_url: str, prefix: str, version: str) -> None:
    """A comment, a time, the end of the body; and a newcomer gets no more than that, with 200."""
    async with (
        serving(redis_url=redis_url, prefix=prefix, announce=True) as feed,
        open_stream(feed.port, version=version) as stream,
    ):
        await stream.events(1)
        draining = asyncio.create_task(feed.mux.drain())
        heard = await stream.read_to_end()
        await draining
        assert heard.comments == ["1001 the server is going away"]
        assert len(heard.retries) == 2
        assert len(heard.events) == 1
        assert len(feed.mux._core.hub) == 0
        status, said = await http(feed, "GET", "/feed/lobby", b"", [STREAM])
        assert status == 200
        assert parse(said.encode()).comments == ["the server is going away"]
        assert len(parse(said.encode()).retries) == 1
        assert feed.mux._core.hub.refused == {"draining": 1}


@BOTH_LOOPS
async def test_gap_ends_streams_if_clients_are_to_come_back(redis_url: str, prefix: str) -> None:
    """With on_gap close; and who is told twice hears it once."""
    async with (
        serving(redis_url=redis_url, prefix=prefix, on_gap="close", drain_seconds=0) as feed,
        open_stream(feed.port) as stream,
    ):
        (client,) = feed.mux._core.hub.open_connections()
        feed.mux._core._after_gap(Gap(1, 0.0, 1.0, "closed", "a test"))
        await until(feed.mux._core.hub.closing_connections)
        client.endpoint.close(client, reasons.LEAVING)
        heard = await stream.read_to_end()
        assert heard.comments == ["1012 messages may have been missed: read anew"]
        await until(lambda: len(feed.mux._core.hub) == 0)


@BOTH_LOOPS
async def test_what_waits_for_a_client_is_sent_before_the_end(redis_url: str, prefix: str) -> None:
    """A reader that is behind gets all of it, then the last chunk."""
    async with (
        serving(redis_url=redis_url, prefix=prefix, max_pending_bytes=64 << 20) as feed,
        open_stream(feed.port) as stream,
    ):
        stream.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(100):
            await feed.mux.publish("lobby", "x" * 60_000)
        await until(lambda: feed.mux._core.hub.pending_bytes > 1_000_000)
        draining = asyncio.create_task(feed.mux.drain())
        await until(feed.mux._core.hub.closing_connections)
        stream.writer.transport.resume_reading()  # type: ignore[attr-defined]
        heard = await stream.read_to_end()
        assert [len(event.data) for event in heard.events] == [60_000] * 100
        await draining


@BOTH_LOOPS
async def test_who_does_not_leave_is_cut_off(redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that leaves its socket open after the end does not hold a connection for ever."""
    monkeypatch.setattr("mux.hub.hub.CLOSING_SECONDS", 0.1)
    async with serving(redis_url=redis_url, prefix=prefix, ping_seconds=1, pong_seconds=0.5) as feed:
        _, writer = await asyncio.open_connection("127.0.0.1", feed.port)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(request(feed.port))
        await until(feed.mux._core.hub.open_connections)
        (client,) = feed.mux._core.hub.open_connections()
        client.endpoint.close(client, reasons.LEAVING)
        await until(lambda: len(feed.mux._core.hub) == 0)
        client.endpoint.close(client, reasons.LEAVING)
        writer.transport.abort()


async def test_limits_on_connections_hold_for_streams(redis_url: str, prefix: str) -> None:
    """503 and 429 with the time to come back, as for a WebSocket, in one count with them."""
    async with (
        serving(redis_url=redis_url, prefix=prefix, max_connections=2) as feed,
        open_stream(feed.port),
        feed.connect(),
    ):
        assert (await http(feed, "GET", "/feed/lobby", b"", [STREAM]))[0] == 503
        assert feed.mux._core.hub.refused == {"connections": 1}
    app: Sanic[Any, Any] = Sanic(f"proxied-{prefix[:-1]}", configure_logging=False)
    app.config.REAL_IP_HEADER = "X-Real-IP"
    address = "X-Real-IP: 192.0.2.1"
    async with serving(app=app, redis_url=redis_url, prefix=prefix, max_connections_per_address=1) as feed:
        async with open_stream(feed.port, "lobby", address), open_stream(feed.port, "lobby", "X-Real-IP: 192.0.2.2"):
            assert (await http(feed, "GET", "/feed/lobby", b"", [STREAM, address]))[0] == 429
        await until(lambda: len(feed.mux._core.hub) == 0)
        async with open_stream(feed.port, "lobby", address):
            pass


LISTED = "https://app.example.com"


@pytest.mark.parametrize(
    ("origin", "status", "granted"),
    [
        ("http://127.0.0.1:{port}", 200, {"Access-Control-Allow-Origin: http://127.0.0.1:{port}"}),
        (LISTED, 200, {f"Access-Control-Allow-Origin: {LISTED}", "Access-Control-Allow-Credentials: true"}),
        ("https://evil.example.com", 403, set()),
        ("null", 403, set()),
    ],
)
async def test_pages_that_may_connect_may_read_every_answer(
    redis_url: str, prefix: str, origin: str, status: int, granted: set[str]
) -> None:
    """The stream, a POST, a refusal, and what a browser asks before: one rule for all of them."""
    async with serving(redis_url=redis_url, prefix=prefix, allowed_origin=(LISTED,)) as feed:
        header = f"Origin: {origin.format(port=feed.port)}\r\n"
        expected = {line.format(port=feed.port) for line in granted} | {"Vary: Origin"}
        requests = {
            status: request(feed.port)[:-2] + header.encode(),
            {200: 204, 403: 403}[status]: f"POST /feed/lobby HTTP/1.1\r\nHost: 127.0.0.1:{feed.port}\r\n".encode()
            + f"{header}Content-Length: 2\r\n".encode(),
            {200: 400, 403: 403}[status]: request(feed.port, "%20")[:-2] + header.encode(),
            {200: 426, 403: 403}[status]: f"GET /feed/lobby HTTP/1.1\r\nHost: 127.0.0.1:{feed.port}\r\n".encode()
            + header.encode(),
        }
        for answered, asked in requests.items():
            head = await head_of(feed.port, asked + b"\r\n" + (b"hi" if asked.startswith(b"POST") else b""))
            assert head[0].split()[1] == str(answered)
            assert {line for line in head if line.startswith(("Access-Control", "Vary"))} == expected


@pytest.mark.parametrize("origin", [LISTED, "https://evil.example.com"])
async def test_preflight_tells_what_a_page_may_send(redis_url: str, prefix: str, origin: str) -> None:
    """Who may connect, whatever the channel; 403 for others."""
    async with serving(redis_url=redis_url, prefix=prefix, allowed_origin=(LISTED,)) as feed:
        head = await head_of(
            feed.port,
            f"OPTIONS /feed/lobby HTTP/1.1\r\nHost: x\r\nOrigin: {origin}\r\nAccess-Control-Request-Method: POST\r\n"
            "Access-Control-Request-Headers: content-type\r\n\r\n".encode(),
        )
        granted = {line for line in head if line.startswith("Access-Control")}
        if origin != LISTED:
            assert (head[0], granted) == ("HTTP/1.1 403 Forbidden", set())
            return
        assert head[0] == "HTTP/1.1 204 No Content"
        assert granted == {
            f"Access-Control-Allow-Origin: {LISTED}",
            "Access-Control-Allow-Credentials: true",
            "Access-Control-Allow-Methods: GET, POST",
            "Access-Control-Allow-Headers: Authorization, Cache-Control, Content-Type, Last-Event-ID",
            "Access-Control-Max-Age: 7200",
        }


async def test_two_origins_are_refused_and_told_nothing(feed: Serving) -> None:
    """A browser sends one; two could hide one another."""
    asked = request(feed.port, "lobby", f"Origin: http://127.0.0.1:{feed.port}", "Origin: http://evil.example.com")
    head = await head_of(feed.port, asked)
    assert head[0] == "HTTP/1.1 403 Forbidden"
    assert not [line for line in head if line.startswith("Access-Control")]


async def head_of(port: int, asked: bytes) -> list[str]:
    """Return the status line and the header fields of the answer to a request, whose body may have no end."""
    async with opened(port, asked) as (_, head):
        return head.split("\r\n")


@BOTH_LOOPS
@VERSIONS
async def test_tls(redis_url: str, prefix: str, version: str) -> None:
    """Events, and the end, through Sanic's own TLS."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with serving(redis_url=redis_url, prefix=prefix, ssl=context) as feed:
        reader, writer = await asyncio.open_connection("127.0.0.1", feed.port, ssl=trusting)
        writer.write(request(feed.port, version=version))
        await until(feed.mux._core.hub.open_connections)
        await feed.mux.publish("lobby", "hi")
        draining = asyncio.create_task(feed.mux.drain())
        async with asyncio.timeout(PATIENCE_SECONDS):
            _, _, body = (await reader.read()).partition(b"\r\n\r\n")
        if version == "1.1":
            chunks, is_ended = unchunked(body)
            assert is_ended
            body = b"".join(chunks)
        assert parse(body).events == [Event("message", "hi")]
        assert parse(body).comments == ["1001 the server is going away"]
        writer.transport.abort()
        await draining
