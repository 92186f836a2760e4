"""Connections that are nobody's yet: each ends in its time, and every request has its answer and no other's."""

from __future__ import annotations

import asyncio
import re
import sys
from contextlib import AsyncExitStack
from typing import Any

import pytest

from mux.doorstep.conversation import Conversation
from mux.doorstep.handover import OneRequest
from mux.hub.admission import REFUSED_PER_ADDRESS
from mux.wire.http.reader import WAITING_BYTES
from tests.doorstep.conftest import Serve, Served
from tests.support.servers import AUTHORIZATION, BOTH_LOOPS, PATIENCE_SECONDS, handshake, raw_client, until

pytestmark = BOTH_LOOPS

HOST = b"Host: localhost\r\n"
ASKS_FOR_NUMBERS = AUTHORIZATION.encode() + b"\r\n"
ALIVE = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"
POST = b"POST /feed/lobby HTTP/1.1\r\n" + HOST


def statuses(answers: bytes) -> list[int]:
    """Return the status of each answer, in order."""
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3}) ", answers)]


async def test_requests_in_one_read_are_answered_in_order_and_in_turns(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hundreds of requests in one segment once held the loop for seconds: each has a turn of the loop to itself."""
    turns: list[int] = []
    turn = 0

    def count() -> None:
        nonlocal turn
        turn += 1
        asyncio.get_running_loop().call_soon(count)

    read_head = OneRequest.http1_request_header

    async def noted(self: Any) -> None:
        turns.append(turn)
        await read_head(self)

    monkeypatch.setattr(OneRequest, "http1_request_header", noted)
    count()
    paths = [b"healthz", b"healthz", b"feed/lobby", b"nowhere"] * 50
    data = b"".join(b"GET /%b HTTP/1.1\r\n%b\r\n" % (path, HOST) for path in paths)
    assert statuses(await served.ask(data)) == [200, 200, 426, 404] * 50
    assert len(set(turns)) == len(turns) == 200


async def test_no_more_waits_than_is_bounded(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that sends far ahead of its answers is not read from meanwhile."""
    longest = 0
    regulate = Conversation._regulate

    def noted(self: Conversation) -> None:
        nonlocal longest
        longest = max(longest, len(self._reader.buffer))
        regulate(self)

    monkeypatch.setattr(Conversation, "_regulate", noted)
    count = 20_000
    async with served.connection() as (reader, writer), asyncio.timeout(PATIENCE_SECONDS):
        writer.write(ALIVE * count)
        for _ in range(100):
            await reader.readuntil(b"alive\n")
    # One read of the loop's may come on top of what waits.
    assert longest <= WAITING_BYTES + 256 * 1024
    assert longest < count * len(ALIVE) / 2


ATTACKS = {
    "tiny requests": ALIVE * (262_144 // len(ALIVE)),
    "metrics": (b"GET /metrics HTTP/1.1\r\n" + HOST + ASKS_FOR_NUMBERS + b"\r\n") * 3000,
    "empty lines": b"\r\n" * 131_072,
    "tiny chunks": POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 43_000,
    "many fields": b"GET /healthz HTTP/1.1\r\n" + HOST + b"a:b\r\n" * 6000 + b"\r\n",
    "a long list": b"GET /feed/a HTTP/1.1\r\n" + HOST + b"Accept: " + b"a;q=0," * 5000 + b"\r\n\r\n",
    "many options": b"GET /healthz HTTP/1.1\r\n" + HOST + b"Connection:a\r\n" * 2000 + b"\r\n",
}


CALLS_PER_TURN = 120_000
"""A head of 6,000 fields, the most there can be, is 80,000 calls; pipelined requests in one turn were 1,500,000."""


@pytest.mark.parametrize("attack", [pytest.param(data, id=name) for name, data in ATTACKS.items()])
async def test_nothing_holds_the_loop(served: Served, attack: bytes) -> None:
    """No turn makes many calls, whatever comes in one read, however long they take; pipelined /metrics took 5 s."""
    loop = asyncio.get_running_loop()
    longest = calls = 0
    handle: asyncio.Handle

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += 1

    def tick() -> None:
        nonlocal longest, calls, handle
        longest, calls = max(longest, calls), 0
        handle = loop.call_soon(tick)

    async with served.connection() as (_, writer):
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # what comes back is not ours to pay for
        writer.write(attack)
        await asyncio.sleep(0)
        before = sys.getprofile()
        sys.setprofile(count)
        try:
            tick()
            await until(lambda: not served.plain)  # refused, or too slow, or its answers are not read
        finally:
            sys.setprofile(before)
            handle.cancel()
    assert longest < CALLS_PER_TURN


STUCK = {
    "nothing": b"",
    "an empty line": b"\r\n",
    "half an empty line": b"\r",
    "half a line": b"GET /hea",
    "half a head": ALIVE[:-2],
    "a body that does not come": POST + b"Content-Length: 10\r\n\r\n",
    "half a body": POST + b"Content-Length: 10\r\n\r\nhalf",
    "chunks that do not end": POST + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    "an upgrade and a body": b"GET /healthz HTTP/1.1\r\n" + HOST + b"Upgrade: websocket\r\nContent-Length: 10\r\n\r\n",
    "an upgrade, connected, and a body": handshake(1)[:-2] + b"Content-Length: 10\r\n\r\n",
    "a POST that upgrades": POST + b"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 10\r\n\r\n",
    "an expectation": POST + b"Content-Length: 10\r\nExpect: 100-continue\r\n\r\n",
    "a body nobody wants": b"POST /healthz HTTP/1.1\r\n" + HOST + b"Content-Length: 10\r\n\r\n",
    "an answer and a half": ALIVE + ALIVE[:-2],
}


async def test_no_connection_outlives_its_deadline(serve: Serve) -> None:
    """Whatever state a client leaves it in, and a byte now and then is no excuse; 240 such were held for ever once."""
    async with serve(handshake_seconds=0.4, keep_alive_seconds=0.5) as served, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(served.connection()) for _ in STUCK]
        for (_, writer), data in zip(clients, STUCK.values(), strict=True):
            writer.write(data)
        unread, (_, flood) = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n", clients[0]
        flood.transport.pause_reading()  # type: ignore[attr-defined]
        flood.write(unread * 2000)
        await until(lambda: served.plain == len(clients))

        def drip() -> bool:
            for (_, writer), data in zip(clients[1:], list(STUCK.values())[1:], strict=True):
                if not writer.is_closing() and not data.endswith(b"\r"):
                    writer.write(b"x" if b"Content-Length" not in data else b"")
            return not served.plain

        async with asyncio.timeout(PATIENCE_SECONDS):
            while not drip():
                await asyncio.sleep(0.05)
        assert served.arrivals.refused["too_slow"] >= 4
        assert served.arrivals.refused["unread"] >= 1


async def test_a_client_that_ends_its_side_is_answered(served: Served) -> None:
    """A POST once was published, and its sender heard nothing and sent it again."""
    post = POST + b"Content-Length: 2\r\n\r\nhi"
    async with raw_client(served.port) as listener:
        answer = await served.ask(post + ALIVE + post)
        assert statuses(answer) == [204, 200, 204]
        assert await listener.read(8) == b"\x81\x02hi\x81\x02hi"
    assert statuses(await served.ask(b"GET /stats HTTP/1.1\r\n" + HOST + ASKS_FOR_NUMBERS + b"\r\n")) == [200]
    assert await served.ask(ALIVE[:-2]) == b"", "half a request is nobody's"
    assert statuses(await served.ask(ALIVE, b"GET /hal")) == [200]
    await until(lambda: not served.plain)


async def test_a_client_that_waits_to_send_its_body_is_told_to(served: Served) -> None:
    """Once, and only when the body is wanted, as curl does for large ones (RFC 9110, section 10.1.1)."""
    async with served.connection() as (reader, writer), asyncio.timeout(PATIENCE_SECONDS):
        writer.write(POST + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"h")
        await asyncio.sleep(0)
        writer.write(b"i")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204 ")
    too_large = POST + b"Content-Length: 70000\r\nExpect: 100-continue\r\n\r\n"
    assert statuses(await served.ask(too_large)) == [413]
    assert statuses(await served.ask(POST + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\nhi")) == [204]


async def test_a_server_that_stops_ends_a_connection_with_the_answer_under_way(served: Served) -> None:
    """It was kept for a next request, and a stop of Sanic's server waited for it until it lost patience."""
    async with served.connection() as (reader, writer), asyncio.timeout(PATIENCE_SECONDS):
        writer.write(POST + b"Content-Length: 2\r\n\r\nh")
        await until(lambda: any(door._conversation for door in served.doors))
        assert not any(door.close_if_idle() for door in served.doors)
        writer.write(b"i")
        answer = await reader.read()
    assert statuses(answer) == [204]
    assert b"connection: close" in answer.lower()


async def test_bodies_nobody_wants_are_not_read(served: Served) -> None:
    """A hundred megabytes to /healthz were kept in memory; now no byte of a body is, and the answer comes first."""
    for head, status in ((b"GET /healthz", 400), (b"HEAD /readyz", 400), (b"POST /healthz", 405), (b"PUT /x", 404)):
        request = head + b" HTTP/1.1\r\n" + HOST + b"Content-Length: 100000000\r\n\r\n"
        assert statuses(await served.ask(request, b"x" * 1000, ends=False)) == [status]
    async with served.connection() as (reader, writer), asyncio.timeout(PATIENCE_SECONDS):
        writer.write(POST + b"Content-Length: 100000000\r\n\r\n" + b"x" * 100_000)
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"HEAD /" + b"a" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
        (b"HEAD /healthz HTTP/2.5\r\n" + HOST + b"\r\n", 400),
        (b"HEAD /healthz HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip\r\n\r\n", 400),
        (b"HEAD /healthz HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 40_000 + b"\r\n\r\n", 431),
        (b"HEAD /healthz HTTP/1.1\r\nHo st: a\r\n\r\n", 400),
    ],
)
async def test_a_head_request_that_cannot_be_read_is_refused_without_a_body(
    served: Served, request_: bytes, status: int
) -> None:
    """Nothing follows the head of an answer to HEAD (RFC 9110, section 9.3.2), read to its end or not."""
    answer = await served.ask(request_)
    assert statuses(answer) == [status]
    assert answer.endswith(b"\r\n\r\n")


async def test_an_upgrade_that_is_no_websocket_is_ignored(served: Served) -> None:
    """Java's HttpClient offers h2c with its first request, and so does `curl --http2`."""
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"
    post = POST + offer + b"Content-Length: 2\r\n\r\nhi"
    metrics = b"GET /metrics HTTP/1.1\r\n" + HOST + ASKS_FOR_NUMBERS + offer + b"\r\n"
    stream = b"GET /feed/lobby HTTP/1.1\r\n" + HOST + offer + b"Accept: text/event-stream\r\n\r\n"
    assert statuses(await served.ask(post + metrics + post + stream)) == [204, 200, 204, 200]


async def test_a_target_that_is_no_url_is_one_sentence_and_no_log(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    """It once was 43 lines of traceback, with the query and its token in them, and no answer."""
    for target in (b"a:443", b"/\x01?token=secret", b"//", b"/%zz?token=secret", b"http://[/", b"/?" + b"\xff"):
        answer = await served.ask(b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n")
        assert len(statuses(answer)) == 1, target
        assert b"secret" not in answer
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]
    assert "secret" not in caplog.text


@pytest.mark.parametrize("limit", [2])
async def test_one_address_has_so_many_connections(serve: Serve, limit: int) -> None:
    """Plain ones count: clients and connections together; a few more may hear 429, and the rest is cut off."""
    async with serve(max_connections_per_address=limit, handshake_seconds=5) as served:
        async with raw_client(served.port), AsyncExitStack() as stack:
            for _ in range(limit - 1):
                await stack.enter_async_context(served.connection())
            await until(lambda: served.plain == limit - 1)
            assert statuses(await served.ask(ALIVE)) == [429]
            assert statuses(await served.ask(handshake(served.port))) == [429]
            await until(lambda: served.plain == limit - 1)
            for _ in range(40):
                await stack.enter_async_context(served.connection())
            await until(lambda: served.arrivals.refused["address"] >= 40 - REFUSED_PER_ADDRESS)
            await until(lambda: served.plain <= limit + REFUSED_PER_ADDRESS)
        await until(lambda: not served.plain and not len(served.hub))
        assert statuses(await served.ask(ALIVE)) == [200]


async def test_nothing_is_left_of_hostile_connections(served: Served) -> None:
    """Objects of the doorstep and of Sanic go with their connections."""

    async def come_and_go(data: bytes) -> None:
        async with served.connection() as (_, writer):
            writer.write(data)
            await asyncio.sleep(0)

    for data in [*STUCK.values(), ALIVE * 3, handshake(served.port), b"\x16\x03\x01", b"GET /\x00"] * 10:
        await come_and_go(data)
    await until(lambda: not served.plain and not len(served.hub))
    arrivals = served.arrivals
    for deadlines in (arrivals.asking, arrivals.answering, arrivals.kept, arrivals.ending, arrivals.unread):
        assert not len(deadlines)
    names = [task.get_coro().__qualname__ for task in asyncio.all_tasks()]  # type: ignore[union-attr]
    await until(lambda: not [name for name in names if "connection_task" in name])
