"""Clients that do not keep up and have asked for the newest messages alone, over real connections."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import orjson
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from mux import reasons
from tests.endpoints.test_feed import http
from tests.endpoints.test_many_channels import heard, many_feed
from tests.endpoints.test_many_channels import stream as many_stream
from tests.endpoints.test_resume import Reader, publish, stream
from tests.support.sdk import Message, sdk_socket
from tests.support.servers import BOTH_LOOPS, CONNECT_OPTIONS, PATIENCE_SECONDS, Serving, until

SIZE = 60_000
"""Bytes of a message: some of them fill the buffers of a connection."""


HELD = 7
"""Messages that are published while a client is behind."""


def numbered(number: int) -> str:
    """Return a large message with a number."""
    return f"{number} {'x' * SIZE}"


async def fill(feed: Serving, reading: asyncio.ReadTransport, *channels: str) -> int:
    """Publish to these channels in turn until a client that does not read is behind, and then some; return how many."""
    reading.pause_reading()
    core, count, left = feed.mux._core, 0, HELD
    while left:
        await publish(feed, channels[count % len(channels)], numbered(count))
        count += 1
        left -= bool(core.feed._latest._held or core.sdk.subscriptions.latest._held)
    reading.resume_reading()
    return count


@asynccontextmanager
async def slow(feed: Serving, target: str) -> AsyncIterator[tuple[Reader, asyncio.ReadTransport]]:
    """Open an event stream with a small buffer, for which its transport is returned as well."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", feed.port))
        client.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=client, limit=2 * SIZE)
        head = f"GET {target} HTTP/1.0\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
        writer.write(head.encode())
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
        try:
            yield Reader(reader), cast("asyncio.ReadTransport", writer.transport)
        finally:
            writer.transport.abort()


def number_of(text: str) -> int:
    """Return the number of a message of numbered()."""
    return int(text.split()[0])


@BOTH_LOOPS
async def test_an_event_stream_that_is_behind_is_given_the_newest(redis_url: str, prefix: str) -> None:
    """All until it takes no more, how many were left out, and the newest; and then all that comes."""
    async with many_feed(redis_url, prefix) as feed, slow(feed, "/feed/a?latest=1") as (events, reading):
        count = await fill(feed, reading, "a")
        found = [await events.next()]
        while found[-1].get("event") != "skipped":
            found.append(await events.next())
        position, skipped = found[-2]["id"], orjson.loads(found[-1]["data"])["count"]
        assert [number_of(one["data"]) for one in found[:-1]] == list(range(len(found) - 1))
        assert skipped == count - len(found) == feed.mux._core.hub.skipped
        assert number_of((await events.next())["data"]) == count - 1
        await publish(feed, "a", "end")
        assert (await events.next())["data"] == "end"
        assert not feed.mux._core.hub.evicted
        async with stream(feed, "a", Last_Event_ID=position) as again:
            resumed = [number_of(text) for text in await again.data(skipped + 1)]
            assert resumed == list(range(len(found) - 1, count)), "its position gives it what was left out"


@BOTH_LOOPS
async def test_a_websocket_that_is_behind_is_given_the_newest(redis_url: str, prefix: str) -> None:
    """What was left out is told by a message of mux; others are given everything."""
    async with many_feed(redis_url, prefix) as feed, feed.connect("a") as other:
        async with connect(f"{feed.url('a')}?latest=1", **{**CONNECT_OPTIONS, "max_queue": 1}) as client:
            count = await fill(feed, client.transport, "a")
            found: list[str] = [str(await client.recv())]
            while not found[-1].startswith("{"):
                found.append(str(await client.recv()))
            assert [number_of(text) for text in found[:-1]] == list(range(len(found) - 1))
            assert orjson.loads(found[-1]) == {"mux": {"skipped": count - len(found)}}
            assert number_of(str(await client.recv())) == count - 1
            await client.send("end")
            assert await client.recv() == "end"
        assert [number_of(str(await other.recv())) for _ in range(count)] == list(range(count))


async def test_a_stream_of_many_channels_is_given_the_newest_of_each(redis_url: str, prefix: str) -> None:
    """In the order of all messages, after what is said of those that were left out."""
    target = "/feed?channel=a&channel=b.*&channel=b.1&latest=1"
    async with many_feed(redis_url, prefix) as feed, slow(feed, target) as (events, reading):
        count = await fill(feed, reading, "a", "b.1", "b.2")
        found = [await events.next()]
        while found[-1].get("event") != "skipped":
            found.append(await events.next())
        skipped = [orjson.loads(found.pop()["data"])]
        seen = len(found)
        while (event := await events.next()).get("event") == "skipped":
            skipped.append(orjson.loads(event["data"]))
        newest = [event, await events.next(), await events.next()]
        assert sum(one["count"] for one in skipped) == count - seen - 3
        assert {one["channel"] for one in skipped} == {"a", "b.1", "b.2"}
        assert [number_of(orjson.loads(one["data"])["data"]) for one in newest] == [count - 3, count - 2, count - 1]
        await publish(feed, "b.1", "end")
        assert await heard(events, 1) == [("b.1", "end")]
        async with many_stream(feed, "channel=a&channel=b.*", Last_Event_ID=newest[0]["id"]) as again:
            assert [number_of(text) for _, text in await heard(again, 2)] == [count - 2, count - 1]


@pytest.mark.parametrize("reason", [reasons.LEAVING, reasons.DISCONNECTED])
async def test_a_goodbye_comes_after_the_newest(redis_url: str, prefix: str, reason: reasons.Reason) -> None:
    """A client that is sent away while it is behind has the newest message when it goes."""
    options = {**CONNECT_OPTIONS, "max_queue": 1}
    async with many_feed(redis_url, prefix) as feed, connect(f"{feed.url('a')}?latest=1", **options) as client:
        count = await fill(feed, client.transport, "a")
        client.transport.pause_reading()
        (one,) = feed.mux._core.hub.open_connections()
        one.endpoint.close(one, reason)
        client.transport.resume_reading()
        found = []
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                found.append(str(await client.recv()))
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == reason.code
        assert number_of(found[-1]) == count - 1


async def test_an_sdk_client_is_given_the_newest_of_the_channels_that_it_wants_so(redis_url: str, prefix: str) -> None:
    """Its tags say how many were left out; of other channels it is given everything, and all of it has positions."""
    wish = {"data": {"mux": {"latest": True}}}
    async with many_feed(redis_url, prefix) as feed, sdk_socket(feed.port, max_queue=1) as client:
        commands: list[Message] = [
            {"subscribe": {"channel": "a", **wish}},
            {"subscribe": {"channel": "b.*", **wish}},
            {"subscribe": {"channel": "all"}},
        ]
        (_, subscribed, *_) = await client.ask({"connect": {}}, *commands)
        count = await fill(feed, client.socket.transport, "a", "b.1", "all")
        skipped = feed.mux._core.hub.skipped
        assert skipped
        await client.until(lambda message: "skipped" in message.get("push", {}).get("pub", {}).get("tags", {}), 2)
        pushes = [one["push"] for one in client.messages if "push" in one]
        heard = {name: [one["pub"] for one in pushes if one["channel"] == name] for name in ("a", "b.*", "all")}
        numbers = {name: [number_of(pub["data"]) for pub in pubs] for name, pubs in heard.items()}
        assert numbers["all"] == list(range(2, count, 3))
        for name, first in (("a", 0), ("b.*", 1)):
            assert numbers[name][-1] == list(range(first, count, 3))[-1], "it has the newest"
            assert int(heard[name][-1]["tags"]["skipped"]) == len(range(first, count, 3)) - len(numbers[name])
        assert sum(int(heard[name][-1]["tags"]["skipped"]) for name in ("a", "b.*")) == skipped
        assert {pub["tags"]["channel"] for pub in heard["b.*"]} == {"b.1"}
        await publish(feed, "a", '"end"')
        await client.until(lambda message: message.get("push", {}).get("pub", {}).get("data") == "end")
        position = {"recover": True, "offset": heard["a"][-2]["offset"], "epoch": subscribed["subscribe"]["epoch"]}
        async with sdk_socket(feed.port) as again:
            _, recovered = await again.ask({"connect": {}}, {"subscribe": {"channel": "a", **position}})
            found = [one["data"] for one in recovered["subscribe"]["publications"]]
            assert [number_of(text) for text in found[:-1]] == list(range(0, count, 3))[len(numbers["a"]) - 1 :]


async def test_an_sdk_client_that_leaves_a_channel_is_given_nothing_of_it(redis_url: str, prefix: str) -> None:
    """What was held is dropped, and a new subscription has everything from its position on, once."""
    subscribe = {"subscribe": {"channel": "a", "data": {"mux": {"latest": True}}}}
    async with many_feed(redis_url, prefix) as feed, sdk_socket(feed.port, max_queue=1) as client:
        await client.ask({"connect": {}}, subscribe)
        latest = feed.mux._core.sdk.subscriptions.latest
        await fill(feed, client.socket.transport, "a")
        client.socket.transport.pause_reading()
        (held,) = latest._held.values()
        numbers = await client.send({"unsubscribe": {"channel": "a"}}, subscribe)
        await until(lambda: not held.newest)
        assert held.size == 0
        client.socket.transport.resume_reading()
        await client.reply(numbers[1])
        before = len(client.messages)
        await publish(feed, "a", '"end"')
        await client.until(lambda message: message.get("push", {}).get("pub", {}).get("data") == "end")
        assert len(client.messages) == before + 1


async def test_an_announcement_does_not_take_the_place_of_a_message(redis_url: str, prefix: str) -> None:
    """It is left out, like the messages before the newest."""
    async with many_feed(redis_url, prefix, announce=True) as feed, slow(feed, "/feed/a?latest=1") as (events, reading):
        assert (await events.next())["event"] == "joined"
        count = await fill(feed, reading, "a")
        reading.pause_reading()
        await until(lambda: feed.mux._core.hub.skipped == HELD - 1)
        async with feed.connect("a"):
            await until(lambda: feed.mux._core.hub.skipped == HELD)
        reading.resume_reading()
        while (await events.next()).get("event") != "skipped":
            pass
        assert number_of((await events.next())["data"]) == count - 1


async def test_what_is_held_is_bounded(redis_url: str, prefix: str) -> None:
    """The newest messages of its channels may be too much for one client, and then it is dropped like any other."""
    options = {"max_pending_bytes": 1_000_000, "max_message_bytes": 65_536}
    async with many_feed(redis_url, prefix, **options) as feed, slow(feed, "/feed?channel=*&latest=1") as (_, reading):
        count = await fill(feed, reading, "a")
        reading.pause_reading()
        for number in range(count, count + 40):
            await publish(feed, f"a{number}", numbered(number))
        await until(lambda: bool(feed.mux._core.hub.evicted))
        assert feed.mux._core.hub.evicted == {"overflow": 1}
        await until(lambda: not feed.mux._core.feed._latest._held)
        assert feed.mux._core.hub.pending_bytes == 0


async def test_a_client_that_takes_nothing_is_dropped(redis_url: str, prefix: str) -> None:
    """After the same time as any other."""
    options = {"max_unwritable_seconds": 0.2}
    async with many_feed(redis_url, prefix, **options) as feed, slow(feed, "/feed/a?latest=1") as (_, reading):
        await fill(feed, reading, "a")
        reading.pause_reading()
        await until(lambda: feed.mux._core.hub.evicted == {"unwritable": 1})


async def test_latest_is_one_or_is_not_given(redis_url: str, prefix: str) -> None:
    """Anything else is refused with a sentence."""
    async with many_feed(redis_url, prefix) as feed:
        for target in ("/feed/a?latest=true", "/feed?channel=a&latest=2", "/feed/a?latest=1&latest=1"):
            status, said = await http(feed, "GET", target, b"", ["Accept: text/event-stream"])
            assert (status, "`latest`" in said) == (400, True)
