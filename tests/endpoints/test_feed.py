"""/feed/<channel>, by real clients against a server in this process."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
import redis
from websockets.exceptions import ConnectionClosed, InvalidStatus

from mux import Settings
from mux.hub.hub import CLOSING_SECONDS
from mux.serve.embedded import embedded_server
from tests.support.requests import exchange, request
from tests.support.servers import BOTH_LOOPS, PATIENCE_SECONDS, Serving, raw_client, receive, serving, until


@pytest.mark.parametrize(
    "message",
    ["hello", "", "ü\U0001f600\x00", "x" * 65536, b"\xff\x00", b"", b"plain ascii, sent as binary", b"\x00" * 65536],
    ids=["text", "empty text", "unicode", "64 KiB", "binary", "empty binary", "binary that is ascii", "64 KiB binary"],
)
async def test_message_reaches_every_client_of_the_channel_as_it_was_sent(feed: Serving, message: str | bytes) -> None:
    """Text arrives as text and binary as binary, at the sender as well."""
    async with feed.connect() as sender, feed.connect() as other:
        await sender.send(message)
        assert await receive(sender, 1) == [message]
        assert await receive(other, 1) == [message]


async def test_message_stays_in_its_channel(feed: Serving) -> None:
    """A client hears nothing of another channel, not even of one whose name starts the same."""
    async with feed.connect("a") as a, feed.connect("ab") as ab:
        await ab.send("for ab")
        await a.send("for a")
        assert await receive(a, 1) == ["for a"]
        assert await receive(ab, 1) == ["for ab"]


async def test_fragments_arrive_as_one_message(feed: Serving) -> None:
    """A fragmented message is joined before it is published."""
    async with feed.connect() as client:
        await client.send(["he", "l", "", "lo"])
        assert await receive(client, 1) == ["hello"]


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"hello", "hello"),
        (b"", ""),
        ("ü".encode(), "ü"),
        (b"\xff\xfe", b"\xff\xfe"),
        (b"\xed\xa0\x80", b"\xed\xa0\x80"),
    ],
    ids=["ascii", "empty", "utf-8", "not utf-8", "surrogate"],
)
async def test_raw_publish_is_text_if_it_is_utf8(
    feed: Serving, publisher: redis.Redis, prefix: str, payload: bytes, expected: str | bytes
) -> None:
    """Any Redis client may publish; what it sends is text when it can be."""
    async with feed.connect() as client:
        publisher.publish(f"{prefix}lobby", payload)
        assert await receive(client, 1) == [expected]


async def test_order_is_that_of_redis_for_everybody(feed: Serving, publisher: redis.Redis, prefix: str) -> None:
    """Text, binary and raw messages of several senders arrive in one order at all clients."""
    async with feed.connect() as one, feed.connect() as two, feed.connect() as three:

        async def talk(client: object, messages: list[str | bytes]) -> None:
            for message in messages:
                await client.send(message)  # type: ignore[attr-defined]

        await asyncio.gather(
            talk(one, [f"one {n}" for n in range(300)]),
            talk(two, [f"two {n}".encode() for n in range(300)]),
            asyncio.to_thread(lambda: [publisher.publish(f"{prefix}lobby", f"raw {n}") for n in range(300)]),
        )
        heard = [await receive(client, 900) for client in (one, two, three)]
    assert heard[0] == heard[1] == heard[2]
    for sender in ("one", "two", "raw"):
        texts = [m if isinstance(m, str) else m.decode() for m in heard[0]]
        assert [text for text in texts if text.startswith(sender)] == [f"{sender} {n}" for n in range(300)]


async def test_join_and_leave_are_announced(redis_url: str, prefix: str) -> None:
    """A client sees its own joining, and others see it come and go, by the same UUID."""
    async with serving(redis_url=redis_url, prefix=prefix, announce=True) as feed, feed.connect() as stays:
        (own,) = await receive(stays, 1)
        assert isinstance(own, str)
        assert own.startswith("Client ")
        assert own.endswith(" has joined")
        async with feed.connect():
            (joined,) = await receive(stays, 1)
        (left,) = await receive(stays, 1)
        assert isinstance(joined, str)
        assert left == joined.replace("joined", "left")
        assert joined != own


@BOTH_LOOPS
async def test_message_that_comes_with_the_handshake_is_published(feed: Serving) -> None:
    """What a client sends in the same segment as its request is not lost in the take-over."""
    async with raw_client(feed.port, early=b"\x81\x82\x00\x00\x00\x00hi") as client:
        assert await client.read(4) == b"\x81\x02hi"


@BOTH_LOOPS
async def test_message_before_close_in_one_segment_is_published(feed: Serving) -> None:
    """A client that says one thing and goodbye is heard."""
    async with feed.connect() as listener, raw_client(feed.port) as client:
        client.send(b"\x81\x82\x00\x00\x00\x00hi\x88\x82\x00\x00\x00\x00\x03\xe8")
        assert await receive(listener, 1) == ["hi"]
        assert await client.read_to_end() == b"\x88\x02\x03\xe8"


@BOTH_LOOPS
@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"\x81\x82\x00\x00\x00\x00\xc3\x28", 1007),
        (b"\x01\x81\x00\x00\x00\x00\xc3\x80\x81\x00\x00\x00\x00\x28", 1007),
        (b"\x81\xff\x00\x00\x00\x00\x00\x01\x00\x7e", 1009),
        (b"\x81\x02hi", 1002),
        (b"\xc1\x82\x00\x00\x00\x00hi", 1002),
        (b"\x83\x80\x00\x00\x00\x00", 1002),
    ],
    ids=["utf-8", "utf-8 over fragments", "64 KiB and 126 bytes, header only", "no mask", "reserved bit", "opcode 3"],
)
async def test_client_that_breaks_the_protocol_is_told_why(feed: Serving, sent: bytes, code: int) -> None:
    """The close frame names the mistake and arrives, although the client goes on sending."""
    async with raw_client(feed.port) as client:
        client.send(sent + b"\x81\x82\x00\x00\x00\x00hi" * 1000)
        said = await client.read_to_end()
        assert said[0] == 0x88
        assert int.from_bytes(said[2:4]) == code


async def test_post_publishes_the_body(feed: Serving) -> None:
    """A POST reaches every client; it is binary if its type says so."""
    async with feed.connect("a/b c".replace(" ", "%2B")) as client:
        status, _ = await http(feed, "POST", "/feed/a/b%2Bc", b"hello")
        assert status == 204
        await http(feed, "POST", "/feed/a/b%2Bc", b"", ["Content-Type: application/octet-stream"])
        assert await receive(client, 2) == ["hello", b""]


async def test_body_over_the_limit_is_refused(feed: Serving) -> None:
    """A POST may be as large as a message, whether or not it says its size beforehand."""
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (65537, b"x" * 65537)
    assert (await http(feed, "POST", "/feed/lobby", b"x" * 65537))[0] == 413
    assert (await http(feed, "POST", "/feed/lobby", chunked, ["Transfer-Encoding: chunked"]))[0] == 413
    assert (await http(feed, "POST", "/feed/lobby", b"x" * 65536))[0] == 204


async def test_get_without_upgrade_is_told_what_to_do(feed: Serving) -> None:
    """There is nothing to see without a WebSocket."""
    status, body = await http(feed, "GET", "/feed/lobby")
    assert status == 426
    assert "WebSocket" in body


@pytest.mark.parametrize(
    "name", ["", "%20", "a%20b", "%00", "%7F", "%C3%BC", "$mux", "x" * 256], ids=lambda name: name[:8] or "empty"
)
async def test_bad_channel_name_is_refused_before_the_handshake(feed: Serving, name: str) -> None:
    """A name that cannot be gets 400 and the reason, by whatever way."""
    with pytest.raises(InvalidStatus) as refused:
        await feed.connect(name)
    assert refused.value.response.status_code == 400
    assert b"channel name" in (refused.value.response.body or b"")
    assert (await http(feed, "POST", f"/feed/{name}", b"hi"))[0] == 400


@pytest.mark.parametrize("name", ["a/b", "a%2Fb", "x" * 255, "~!@&=+;:,.%22%3F%23%25", "a/", "/a"])
async def test_any_printable_ascii_name_is_a_channel(feed: Serving, name: str) -> None:
    """Names are compared after percent-decoding."""
    async with feed.connect(name) as client:
        await client.send("hi")
        assert await receive(client, 1) == ["hi"]


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:{port}", 101),
        ("https://app.example.com", 101),
        ("http://127.0.0.1:1", 403),
        ("https://evil.example.com", 403),
        ("null", 403),
    ],
)
async def test_pages_of_other_hosts_are_refused(redis_url: str, prefix: str, origin: str, status: int) -> None:
    """Same host or listed; a POST from a page is held to the same."""
    async with serving(redis_url=redis_url, prefix=prefix, allowed_origin=("https://app.example.com",)) as feed:
        header = f"Origin: {origin.format(port=feed.port)}"
        assert (await http(feed, "GET", "/feed/lobby", b"", [header, *UPGRADE]))[0] == status
        assert (await http(feed, "POST", "/feed/lobby", b"hi", [header]))[0] == {101: 204, 403: 403}[status]


async def test_two_origins_are_refused(feed: Serving) -> None:
    """A browser sends one (RFC 6454, section 7.3); two could hide one another."""
    headers = [f"Origin: http://127.0.0.1:{feed.port}", "Origin: http://evil.example.com"]
    assert (await http(feed, "POST", "/feed/lobby", b"hi", headers))[0] == 403


async def test_bad_handshake_is_answered_by_http(feed: Serving) -> None:
    """A refused handshake leaves an HTTP connection that says why."""
    status, body = await http(feed, "GET", "/feed/lobby", b"", [h for h in UPGRADE if "Key" not in h])
    assert status == 400
    assert "Sec-WebSocket-Key" in body


@BOTH_LOOPS
@pytest.mark.parametrize("headers", [["Content-Length: 5"], ["Transfer-Encoding: chunked"]])
async def test_upgrade_with_a_body_is_refused(
    feed: Serving, headers: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Sanic would look for the body on a connection that is not its own any more, and log a traceback for it."""
    assert (await http(feed, "GET", "/feed/lobby", b"", [*UPGRADE, *headers]))[0] == 400
    assert (await http(feed, "POST", "/feed/lobby", b"hi", UPGRADE))[0] == 400
    assert feed.mux._core.hub.refused == {"body": 1, "handshake": 1}
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@BOTH_LOOPS
async def test_publisher_that_waits_for_redis_can_say_goodbye(prefix: str) -> None:
    """A client that is not read from, because Redis does not keep up, is read from when it is to leave."""
    with embedded_server() as url:
        async with serving(redis_url=url, prefix=prefix) as feed, feed.connect() as talker:
            pid = int(redis.Redis.from_url(url).info("server")["process_id"])
            os.kill(pid, signal.SIGSTOP)
            try:
                while feed.mux._core.broker.outbox.is_writable:
                    await talker.send("x" * 60_000)
                async with asyncio.timeout(CLOSING_SECONDS / 2):
                    await feed.mux.drain()
            finally:
                os.kill(pid, signal.SIGCONT)


async def test_newcomer_always_hears_while_the_last_one_leaves(feed: Serving) -> None:
    """The race of one subscription per channel: the last client leaves as another joins, over and over."""
    for _ in range(300):
        leaver = await feed.connect("race")
        gone = asyncio.create_task(leaver.close())
        async with feed.connect("race") as newcomer:
            await newcomer.send("anybody?")
            assert await receive(newcomer, 1) == ["anybody?"]
        await gone


@BOTH_LOOPS
async def test_nothing_is_left_of_clients_that_have_gone(feed: Serving) -> None:
    """The router and the hub are empty when all have left, however they left."""
    async with feed.connect("a"), feed.connect("b"), raw_client(feed.port, "c"):
        await until(lambda: len(feed.mux._core.hub) == 3)
        assert len(feed.mux._core.hub.router) == 3
    await until(lambda: len(feed.mux._core.hub) == 0)
    assert len(feed.mux._core.hub.router) == 0


@BOTH_LOOPS
async def test_closed_socket_in_the_middle_of_a_fan_out_harms_nobody(
    feed: Serving, publisher: redis.Redis, prefix: str
) -> None:
    """Clients that vanish without a word while messages pass do not disturb the others."""
    async with feed.connect() as witness:
        for round_number in range(20):
            doomed = [await feed.connect() for _ in range(5)]
            for client in doomed[::2]:
                client.transport.abort()
            await asyncio.to_thread(publisher.publish, f"{prefix}lobby", f"round {round_number}")
            for client in doomed[1::2]:
                client.transport.abort()
        assert await receive(witness, 20) == [f"round {n}" for n in range(20)]
    await until(lambda: len(feed.mux._core.hub) == 0)


@BOTH_LOOPS
async def test_slow_consumer_is_dropped_and_the_others_hear_everything(
    redis_url: str, publisher: redis.Redis, prefix: str
) -> None:
    """Who does not read is evicted once a mebibyte waits for it; nobody waits for it."""
    async with (
        serving(redis_url=redis_url, prefix=prefix) as feed,
        raw_client(feed.port) as slow,
        feed.connect() as witness,
    ):
        slow.stop_reading()
        payload = "x" * 60000
        for n in range(400):
            await asyncio.to_thread(publisher.publish, f"{prefix}lobby", f"{n} {payload}")
            assert (await receive(witness, 1))[0] == f"{n} {payload}"
            if feed.mux._core.hub.evicted["overflow"]:
                break
        assert feed.mux._core.hub.evicted["overflow"] == 1
        await until(lambda: len(feed.mux._core.hub) == 1)


@BOTH_LOOPS
async def test_client_that_stays_unwritable_is_dropped(redis_url: str, publisher: redis.Redis, prefix: str) -> None:
    """Less than the limit may wait, but not for ever."""
    limits = Settings(
        redis_url=redis_url, prefix=prefix, announce=False, max_pending_bytes=2**30, max_unwritable_seconds=0.1
    )
    async with serving(settings=limits) as feed, raw_client(feed.port) as slow:
        slow.stop_reading()
        while not feed.mux._core.hub.evicted:
            await asyncio.to_thread(publisher.publish, f"{prefix}lobby", "x" * 60000)
        assert feed.mux._core.hub.evicted == {"unwritable": 1}
        await until(lambda: len(feed.mux._core.hub) == 0)


@BOTH_LOOPS
async def test_client_that_reads_slowly_stays(redis_url: str, publisher: redis.Redis, prefix: str) -> None:
    """Much waits for it all the time, and some of it leaves all the time: it was once evicted as unwritable."""
    limits = Settings(
        redis_url=redis_url, prefix=prefix, announce=False, max_pending_bytes=2**30, max_unwritable_seconds=0.8
    )
    async with serving(settings=limits) as feed, raw_client(feed.port) as slow:
        slow.stop_reading()
        (subscriber,) = feed.mux._core.hub.open_connections()

        async def publish(count: int) -> None:
            with publisher.pipeline(transaction=False) as batch:
                for _ in range(count):
                    batch.publish(f"{prefix}lobby", "x" * 60000)
                await asyncio.to_thread(batch.execute)

        async def read_a_little() -> None:
            slow.read_on()
            await slow.read(60000)
            slow.stop_reading()
            assert not feed.mux._core.hub.evicted

        while feed.mux._core.hub.pending_bytes < 4_000_000:
            await publish(20)
            await read_a_little()
        loop = asyncio.get_running_loop()
        ends = loop.time() + 1.5 * 0.8
        while loop.time() < ends:
            await read_a_little()
            await publish(1)
            await asyncio.sleep(0.02)
            assert subscriber.is_blocked
        assert not feed.mux._core.hub.evicted


@BOTH_LOOPS
async def test_silent_client_is_dropped_and_one_that_answers_is_not(redis_url: str, prefix: str) -> None:
    """A ping goes out; who does not answer in time is gone."""
    async with (
        serving(redis_url=redis_url, prefix=prefix, ping_seconds=0.5, pong_seconds=0.2) as feed,
        feed.connect() as alive,
        raw_client(feed.port) as dead,
    ):
        assert await dead.read(2) == b"\x89\x00"
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await dead.read(1000)
        await alive.send("still here")
        assert await receive(alive, 1) == ["still here"]
        assert feed.mux._core.hub.evicted == {"silent": 1}


@BOTH_LOOPS
async def test_flood_of_pings_by_a_client_that_does_not_read_is_bounded(redis_url: str, prefix: str) -> None:
    """Pongs count as pending, so that who floods and does not read is evicted."""
    async with serving(redis_url=redis_url, prefix=prefix) as feed, raw_client(feed.port) as flooder:
        flooder.stop_reading()
        pings = b"\x89\xfd\x00\x00\x00\x00" + b"x" * 125
        with pytest.raises(ConnectionError):
            while True:
                flooder.send(pings * 1000)
                await flooder.writer.drain()
        assert feed.mux._core.hub.evicted["overflow"] == 1


@BOTH_LOOPS
async def test_client_that_ignores_the_goodbye_is_cut_off(
    redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A closing handshake that does not come back does not hold a connection for ever."""
    monkeypatch.setattr("mux.hub.hub.CLOSING_SECONDS", 0.1)
    async with (
        serving(redis_url=redis_url, prefix=prefix, ping_seconds=1, pong_seconds=0.5) as feed,
        raw_client(feed.port) as rude,
    ):
        rude.send(b"\x83\x80\x00\x00\x00\x00")
        await until(lambda: len(feed.mux._core.hub) == 0)


async def test_publisher_is_told_when_redis_refuses(redis_url: str, prefix: str, publisher: redis.Redis) -> None:
    """A server whose Redis user may publish no more says so to a WebSocket by 1011 and to a POST by 502."""
    publisher.acl_setuser("listener", True, False, ["+pw"], commands=["+@all"], channels=["*"])
    async with serving(redis_url=f"{redis_url}?username=listener&password=pw", prefix=prefix) as feed:
        async with feed.connect() as client:
            publisher.acl_setuser("listener", True, commands=["-publish"])
            await client.send("hi")
            with pytest.raises(ConnectionClosed) as closed:
                await asyncio.wait_for(client.recv(), PATIENCE_SECONDS)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1011
        assert (await http(feed, "POST", "/feed/lobby", b"hi"))[0] == 502


async def test_post_without_redis_is_told_to_come_back(free_port: int) -> None:
    """503 means later; nothing was published."""
    async with serving(redis_url=f"redis://127.0.0.1:{free_port}", max_held_seconds=0) as feed:
        status, said = await http(feed, "POST", "/feed/lobby", b"hi")
        assert (status, said) == (503, "there is no connection to Redis now; try again later\n")


async def test_messages_after_the_one_that_failed_are_not_published(free_port: int) -> None:
    """A client is closed over its first message that cannot be sent; the rest of the segment is dropped with it."""
    url = f"redis://127.0.0.1:{free_port}"
    async with serving(redis_url=url, max_held_seconds=0) as feed, raw_client(feed.port) as client:
        client.send(b"\x81\x82\x00\x00\x00\x00hi" * 3)
        said = await client.read(4)
        assert said[:1] == b"\x88"
        assert int.from_bytes(said[2:4]) == 1013


@BOTH_LOOPS
async def test_clients_are_told_when_the_server_goes(redis_url: str, prefix: str) -> None:
    """Stopping says 1001 to everybody, refuses newcomers with 503, and waits for goodbyes."""
    async with serving(redis_url=redis_url, prefix=prefix, announce=True) as feed, feed.connect() as client:
        draining = asyncio.create_task(feed.mux.drain())
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                await asyncio.wait_for(client.recv(), PATIENCE_SECONDS)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
        await draining
        await feed.mux.drain()
        status, _ = await http(feed, "GET", "/feed/lobby", b"", UPGRADE)
        assert status == 503
        assert len(feed.mux._core.hub) == 0


UPGRADE = [
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
]


async def http(
    feed: Serving, method: str, path: str, body: bytes = b"", headers: list[str] | None = None
) -> tuple[int, str]:
    """Send a request and return the status and the body of the answer."""
    answer = await exchange(
        feed.port, request(method, path, *(headers or []), host=f"127.0.0.1:{feed.port}", body=body)
    )
    return answer.status, answer.body.decode()
