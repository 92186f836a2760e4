"""Clients that were away, or that come late: what they get of what passed, over real connections."""

from __future__ import annotations

import asyncio
import socket
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from mux.endpoints import catch_up, past
from mux.intake import LARGE_BYTES
from mux.wire.resp import encode_push
from tests.support.servers import PATIENCE_SECONDS, Serving, serving, until


class Reader:
    """An event stream that keeps the fields of each event, its id included."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self.last_event_id = ""

    async def next(self) -> dict[str, str]:
        """Return the fields of the next event that is not a heartbeat."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                line = (await self._reader.readline()).decode().removesuffix("\n")
                name, _, value = line.partition(":")
                if name in ("data", "event", "id"):
                    fields[name] = value.removeprefix(" ")
                if not line and fields:
                    self.last_event_id = fields.get("id", self.last_event_id)
                    if fields.get("event") != "position":
                        return fields
                    fields = {}

    async def data(self, count: int) -> list[str]:
        """Return the data of so many events."""
        return [(await self.next())["data"] for _ in range(count)]


@asynccontextmanager
async def stream(feed: Serving, channel: str, query: str = "", **headers: str) -> AsyncIterator[Reader]:
    """Open an event stream as an HTTP/1.0 client, which gets it without chunks."""
    reader, writer = await asyncio.open_connection("127.0.0.1", feed.port)
    fields = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = f"GET /feed/{channel}{query} HTTP/1.0\r\nHost: localhost\r\nAccept: text/event-stream\r\n{fields}\r\n"
    writer.write(head.encode())
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
        yield Reader(reader)
    finally:
        writer.transport.abort()


async def get(feed: Serving, target: str) -> tuple[int, Any]:
    """Return the status and the JSON of an answer, or its text."""
    reader, writer = await asyncio.open_connection("127.0.0.1", feed.port)
    writer.write(
        f"GET {target} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\nConnection: close\r\n\r\n".encode()
    )
    async with asyncio.timeout(PATIENCE_SECONDS):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return int(head.split()[1]), orjson.loads(body) if b"application/json" in head else body.decode()


async def publish(feed: Serving, channel: str, *messages: str | bytes) -> None:
    """Publish and wait until all of them have come back."""
    before = feed.mux._core._journal.last
    for message in messages:
        await feed.mux.publish(channel, message)
    await until(lambda: feed.mux._core._journal.last >= before + len(messages))


@asynccontextmanager
async def quiet_feed(redis_url: str, prefix: str, **options: Any) -> AsyncIterator[Serving]:
    """Serve without announcements, so that only what is published is there."""
    async with serving(redis_url=redis_url, prefix=prefix, announce=False, **options) as feed:
        recovery = feed.mux._core._recovery
        await until(lambda: recovery is not None and recovery.order.is_placed)
        yield feed


async def test_an_event_stream_resumes_where_it_was(redis_url: str, prefix: str) -> None:
    """It gets what it missed, in order and once, and then what comes."""
    async with quiet_feed(redis_url, prefix) as feed:
        async with stream(feed, "a") as first:
            await publish(feed, "a", "1", "2")
            assert await first.data(2) == ["1", "2"]
        await publish(feed, "b", "other")
        await publish(feed, "a", "3", "4")
        async with stream(feed, "a", Last_Event_ID=first.last_event_id) as second:
            await publish(feed, "a", "5")
            assert await second.data(3) == ["3", "4", "5"]
        async with stream(feed, "a", f"?last_event_id={first.last_event_id}&last=1") as third:
            assert await third.data(3) == ["3", "4", "5"], "where a client is counts, and not its first request"


async def test_who_joins_gets_the_last_messages(redis_url: str, prefix: str) -> None:
    """On both kinds of stream, as many as there are, by number, by time and by position."""
    async with quiet_feed(redis_url, prefix) as feed:
        await publish(feed, "a", *map(str, range(1, 6)))
        async with stream(feed, "a", "?last=2") as events:
            assert await events.data(2) == ["4", "5"]
        async with stream(feed, "a", "?since=30s") as events:
            assert await events.data(5) == ["1", "2", "3", "4", "5"]
        async with connect(f"ws://127.0.0.1:{feed.port}/feed/a?last=3") as client:
            await publish(feed, "a", "6")
            assert [await client.recv() for _ in range(4)] == ["3", "4", "5", "6"]
            await client.send("7")
            assert await client.recv() == "7"
        _, found = await get(feed, "/feed/a?last=1")
        async with connect(f"ws://127.0.0.1:{feed.port}/feed/a?since={found['messages'][0]['position']}") as client:
            await publish(feed, "a", "8")
            assert await client.recv() == "8"
        async with connect(f"ws://127.0.0.1:{feed.port}/feed/a?l%61st=1") as client:
            assert await client.recv() == "8"


async def test_what_cannot_be_resumed_is_told_before_anything_else(redis_url: str, prefix: str) -> None:
    """An event stream by an event, a WebSocket by its close code, a GET by its status."""
    async with quiet_feed(redis_url, prefix) as feed:
        await publish(feed, "a", "1")
        for position in ("00000000000000000-1", "nonsense"):
            async with stream(feed, "a", Last_Event_ID=position) as events:
                told = await events.next()
                assert told["event"] == "missed"
                assert orjson.loads(told["data"])["since"] == position
                assert orjson.loads(told["data"])["reason"] in ("other_epoch", "unknown_position")
                await publish(feed, "a", "2")
                assert await events.data(1) == ["2"]
            async with stream(feed, "a", Last_Event_ID=told["id"]) as events:
                assert (await events.next())["data"] == "2", "the event has a position to resume from"
        async with connect(f"ws://127.0.0.1:{feed.port}/feed/a?since=00000000000000000-1") as client:
            with pytest.raises(ConnectionClosed) as closed:
                await client.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4410
        assert (await get(feed, "/feed/a?since=00000000000000000-1"))[0] == 410


async def test_a_message_without_position_leaves_none_to_come_back_with(redis_url: str, prefix: str) -> None:
    """Another process may have a place: at the position before it, a client would be given the message twice."""
    async with quiet_feed(redis_url, prefix) as feed:
        recovery = feed.mux._core._recovery
        assert recovery is not None
        order = recovery.order
        async with stream(feed, "a") as events:
            await publish(feed, "a", "1")
            assert await events.data(1) == ["1"]
            epoch, order.epoch = order.epoch, ""
            await publish(feed, "a", "2")
            assert await events.data(1) == ["2"]
            order.epoch = epoch
        async with stream(feed, "a", Last_Event_ID=events.last_event_id) as again:
            told = await again.next()
            assert (told["event"], orjson.loads(told["data"])) == ("missed", {"since": "-", "reason": "no_order"})
        assert (await get(feed, "/feed/a?since=-"))[0] == 410


async def test_a_position_that_the_journal_has_forgotten(redis_url: str, prefix: str) -> None:
    """A channel that this process has watched resumes nevertheless, as long as it had no message."""
    async with quiet_feed(redis_url, prefix, journal_bytes=20_000, ping_seconds=1, pong_seconds=0.5) as feed:
        async with stream(feed, "quiet") as events:
            await publish(feed, "quiet", "1")
            assert await events.data(1) == ["1"]
            await publish(feed, "busy", *("x" * 1000 for _ in range(50)))
            async with stream(feed, "quiet", Last_Event_ID=events.last_event_id) as again:
                await publish(feed, "quiet", "2")
                assert await again.data(1) == ["2"]
        async with stream(feed, "busy", Last_Event_ID=events.last_event_id) as other:
            assert (await other.next())["event"] == "missed"


async def test_a_heartbeat_moves_the_position_of_a_quiet_channel(redis_url: str, prefix: str) -> None:
    """A client that hears nothing is not left behind while others are busy."""
    async with quiet_feed(redis_url, prefix, ping_seconds=1, pong_seconds=0.5) as feed, stream(feed, "quiet") as events:
        await publish(feed, "busy", "1", "2", "3")
        reading = asyncio.create_task(events.next())
        await until(lambda: events.last_event_id.endswith(f"-{feed.mux._core._journal.last}"))
        reading.cancel()


async def test_a_heartbeat_comes_after_what_it_is_the_position_of(redis_url: str, prefix: str) -> None:
    """A message of a torrent waits a little to be delivered; a client that is told of its position has it."""
    async with quiet_feed(redis_url, prefix) as feed, stream(feed, "a"):
        core = feed.mux._core
        written: list[bytes] = []
        await until(lambda: len(core.hub) == 1)
        (client,) = core.hub.open_connections()
        transport, client.transport = client.transport, cast("Any", SimpleNamespace(write=written.append))
        channel = f"{prefix}a".encode()
        payload = b"x" * LARGE_BYTES
        core._intake.take(encode_push(channel, payload), [[b"pmessage", b"", channel, payload]], True)
        assert written == []
        client.ping()
        client.transport = transport
        assert [b"event: position" in data for data in written] == [False, True]


async def test_a_long_replay_is_written_as_the_client_takes_it(
    redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Far more than may wait for a client, or is held for it; what comes meanwhile follows in order."""
    monkeypatch.setattr(catch_up, "HELD_MESSAGES", 16)
    async with quiet_feed(redis_url, prefix, max_pending_bytes=600_000, max_message_bytes=65_536) as feed:
        count = 200
        await publish(feed, "a", *(f"{number} {'x' * 50_000}" for number in range(count)))
        async with stream(feed, "a", "?last=1000") as events:
            await publish(feed, "a", *(f"{number} y" for number in range(count, count + 20)))
            found = [int(data.split()[0]) for data in await events.data(count + 20)]
            assert found == list(range(count + 20))
            await publish(feed, "a", "220 z")
            assert await events.data(1) == ["220 z"]
        assert feed.mux._core.hub.evicted.total() == 0


async def test_messages_as_json(redis_url: str, prefix: str) -> None:
    """With their position and time, as text or base64."""
    async with quiet_feed(redis_url, prefix) as feed:
        await publish(feed, "a/b", "text", b"\xff\x00", '{"x": 1}')
        status, found = await get(feed, "/feed/a/b?last=10")
        assert status == 200
        assert found["channel"] == "a/b"
        assert found["complete"] is True
        first, second, third = found["messages"]
        assert (first["text"], third["text"]) == ("text", '{"x": 1}')
        assert b64decode(second["base64"]) == b"\xff\x00"
        assert first["position"] < second["position"] < third["position"] == found["position"]
        assert abs(first["time"] - third["time"]) < PATIENCE_SECONDS
        assert (await get(feed, "/feed/a/b"))[1]["messages"] == found["messages"]
        since_first = (await get(feed, f"/feed/a/b?since={first['position']}&last=1"))[1]
        assert since_first["messages"] == [third]
        assert since_first["count"] == 2, "those that `last` leaves out are counted"
        assert (await get(feed, f"/feed/a/b?since={first['position']}&last=0"))[1]["messages"] == []
        assert [one["text"] for one in (await get(feed, f"/feed/a/b?since={second['position']}"))[1]["messages"]] == [
            '{"x": 1}'
        ]


@pytest.mark.parametrize("query", ["?last=x", "?last=-1", "?last=1&last=2", "?since=yesterday", "?since=5"])
async def test_a_query_that_cannot_be(redis_url: str, prefix: str, query: str) -> None:
    """400 and a sentence, whoever asks."""
    async with quiet_feed(redis_url, prefix) as feed:
        status, text = await get(feed, f"/feed/a{query}")
        assert status == 400
        assert "`" in text


async def test_without_a_journal_events_have_no_position(redis_url: str, prefix: str) -> None:
    """Nothing is kept, and a position from before is told to be of no use."""
    async with serving(redis_url=redis_url, prefix=prefix, announce=False, journal_bytes=0) as feed:
        async with stream(feed, "a", "?last=5") as events:
            await feed.mux.publish("a", "1")
            assert await events.next() == {"data": "1"}
        async with stream(feed, "a", Last_Event_ID="x-1") as events:
            assert orjson.loads((await events.next())["data"]) == {"since": "x-1", "reason": "no_journal"}


async def test_answers_that_nobody_reads_are_bounded(
    redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that asks for megabytes and does not read holds them; the next is refused until it is gone."""
    monkeypatch.setattr(past, "UNREAD_BYTES", 1_000_000)
    async with quiet_feed(redis_url, prefix, max_message_bytes=65_536) as feed:
        await publish(feed, "a", *("x" * 60_000 for _ in range(200)))
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", feed.port))
            client.sendall(b"GET /feed/a?last=200 HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n")
            status = 200
            async with asyncio.timeout(PATIENCE_SECONDS):
                while status == 200:
                    status, _ = await get(feed, "/feed/a?last=1")
            assert status == 503
        async with asyncio.timeout(PATIENCE_SECONDS):
            while status == 503:
                status, _ = await get(feed, "/feed/a?last=1")
