"""Event streams of several channels: /feed?channel=a&channel=b, against a server in this process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import jwt
import orjson
import pytest

from mux import Grant, reasons
from mux.broker.gap import Gap
from mux.endpoints import joining
from mux.intake import LARGE_BYTES
from mux.recovery import joint
from mux.wire.resp import Push, encode_push
from tests.endpoints.test_feed import http
from tests.endpoints.test_resume import Reader, publish
from tests.support.servers import PATIENCE_SECONDS, Serving, serving, until
from tests.support.tokens import SECRET

STREAM = "Accept: text/event-stream"


@asynccontextmanager
async def many_feed(redis_url: str, prefix: str, **options: Any) -> AsyncIterator[Serving]:
    """Serve without announcements, in its place in the order of messages."""
    async with serving(redis_url=redis_url, prefix=prefix, sdk=True, **{"announce": False, **options}) as feed:
        recovery = feed.mux._core._recovery
        await until(lambda: recovery is None or recovery.order.is_placed)
        yield feed


@pytest.fixture
async def many(redis_url: str, prefix: str) -> AsyncIterator[Serving]:
    """Serve as many_feed()."""
    async with many_feed(redis_url, prefix) as feed:
        yield feed


@asynccontextmanager
async def stream(feed: Serving, query: str, **headers: str) -> AsyncIterator[Reader]:
    """Open an event stream as an HTTP/1.0 client, which gets it without chunks."""
    reader, writer = await asyncio.open_connection("127.0.0.1", feed.port)
    fields = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = f"GET /feed?{query} HTTP/1.0\r\nHost: localhost\r\nAccept: text/event-stream\r\n{fields}\r\n"
    writer.write(head.encode())
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
        yield Reader(reader)
    finally:
        writer.transport.abort()


async def heard(events: Reader, count: int) -> list[tuple[str, Any]]:
    """Return channel and content of so many messages."""
    told = [orjson.loads(data) for data in await events.data(count)]
    return [(one["channel"], one["data"] if "data" in one else {"base64": one["base64"]}) for one in told]


async def test_events_name_their_channel_and_carry_json_as_it_came(many: Serving) -> None:
    """Text is a string, JSON stays what it is to the byte, and what is no text is base64."""
    async with stream(many, "channel=a&channel=b%2Fc") as events:
        await publish(many, "a", "hello\nyou", '{"bid": 1.0,\r\n "x": 12345678901234567890123}', "7", b"\x00\xff")
        await publish(many, "b/c", '"text"', "{no json")
        assert [await events.data(1) for _ in range(6)] == [
            [r'{"channel":"a","data":"hello\nyou"}'],
            ['{"channel":"a","data":{"bid": 1.0, "x": 12345678901234567890123}}'],
            ['{"channel":"a","data":7}'],
            ['{"channel":"a","base64":"AP8="}'],
            ['{"channel":"b/c","data":"text"}'],
            ['{"channel":"b/c","data":"{no json"}'],
        ]


async def test_one_position_resumes_all_channels(many: Serving) -> None:
    """In the order of all messages, each once, whichever channel the last one was of."""
    async with stream(many, "channel=a+b&channel=quiet") as events:
        await publish(many, "a", "1")
        await publish(many, "b", "2")
        assert await heard(events, 2) == [("a", 1), ("b", 2)]
    await publish(many, "b", "3")
    await publish(many, "other", "4")
    await publish(many, "a", "5")
    await publish(many, "b", "6")
    async with stream(many, "channel=a&channel=b&channel=quiet&last=1", Last_Event_ID=events.last_event_id) as again:
        await publish(many, "quiet", "7")
        assert await heard(again, 4) == [("b", 3), ("a", 5), ("b", 6), ("quiet", 7)]


async def test_the_last_messages_are_those_of_each_channel(many: Serving) -> None:
    """By number and by time, in the order of all."""
    for number in range(6):
        await publish(many, "ab"[number % 2], str(number))
    await publish(many, "a", "6")
    async with stream(many, "channel=a&channel=b&channel=c&last=2") as events:
        assert await heard(events, 4) == [("b", 3), ("a", 4), ("b", 5), ("a", 6)]
        await publish(many, "c", "7")
        assert await heard(events, 1) == [("c", 7)]
    async with stream(many, "channel=a&channel=b&last=0") as events:
        await publish(many, "a", "8")
        assert await heard(events, 1) == [("a", 8)]
    async with stream(many, "channel=a&channel=b&since=30s&last=1") as events:
        assert await heard(events, 2) == [("b", 5), ("a", 8)]


def read_of(prefix: str, names: list[str]) -> tuple[bytes, list[Push], bool]:
    """Return a read from Redis with a message in each of these channels: its number, from 0."""
    messages = [[b"pmessage", b"", f"{prefix}{name}".encode(), b"%d" % number] for number, name in enumerate(names)]
    return b"".join(encode_push(channel, payload) for _, _, channel, payload in messages), messages, True


async def test_a_read_of_many_channels_is_written_in_the_order_of_all(many: Serving, prefix: str) -> None:
    """Whichever message is the last that a client has, it has all before it; and the same bytes go to like clients."""
    core = many.mux._core
    async with (
        stream(many, "channel=a+b+c") as one,
        stream(many, "channel=c+a") as two,
        stream(many, "channel=c") as three,
    ):
        await until(lambda: len(core.hub) == 3)
        names = ["a", "b", "a", "c", "b", "a", "c"]
        core._intake.take(*read_of(prefix, names))
        assert await heard(one, 7) == [(name, number) for number, name in enumerate(names)]
        assert await heard(two, 5) == [(name, number) for number, name in enumerate(names) if name != "b"]
        assert await heard(three, 2) == [("c", 3), ("c", 6)]


async def test_what_a_torrent_brought_is_written_before_a_goodbye_and_a_heartbeat(many: Serving, prefix: str) -> None:
    """A message that waits to be delivered comes before what is said of the connection, and in its place."""
    core = many.mux._core
    filling = "x" * LARGE_BYTES
    async with stream(many, "channel=a+b") as events:
        await until(lambda: len(core.hub) == 1)
        read, messages, _ = read_of(prefix, ["b", "a", filling[:100], "b"])
        core._intake.take(read + encode_push(b"nobody", filling.encode()), messages, True)
        assert core._intake._gathering is not None, "it waits"
        (client,) = core.hub.open_connections()
        client.ping()
        assert await heard(events, 3) == [("b", 0), ("a", 1), ("b", 3)]
        core._intake.take(read + encode_push(b"nobody", filling.encode()), messages, True)
        client.endpoint.close(client, reasons.LEAVING)
        assert await heard(events, 3) == [("b", 0), ("a", 1), ("b", 3)]


async def test_joining_in_several_turns_misses_nothing(many: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes while a client has joined some of its channels is given when it has joined all."""
    monkeypatch.setattr(joining, "JOINED_PER_TURN", 1)
    monkeypatch.setattr(joint, "MESSAGES_TOGETHER", 3)
    names = [f"c{number}" for number in range(20)]
    publishing = asyncio.create_task(_publish_each(many, names, 5))
    async with stream(many, "&".join(f"channel={name}" for name in names)) as events:
        await publishing
        await publish(many, "c0", "last")
        seen: list[tuple[str, Any]] = []
        while not seen or seen[-1] != ("c0", "last"):
            seen += await heard(events, 1)
    for name in names:
        numbers = [number for channel, number in seen if channel == name and number != "last"]
        assert numbers == list(range(5))[5 - len(numbers) :], "from some message on, all"
    async with stream(many, "channel=" + "+".join(names), Last_Event_ID=events.last_event_id) as again:
        await publish(many, "c19", "more")
        assert await heard(again, 1) == [("c19", "more")]


async def _publish_each(feed: Serving, names: list[str], times: int) -> None:
    for number in range(times):
        for name in names:
            await feed.mux.publish(name, str(number))


async def test_a_refused_channel_is_told_and_ends_nothing(redis_url: str, prefix: str) -> None:
    """With its sentence; where all are refused the answer is that to the first."""
    options = {"token_key": SECRET, "anyone_subscribe": ("news.*",)}
    async with many_feed(redis_url, prefix, **options) as feed:
        async with stream(feed, "channel=private&channel=news.1&channel=$x") as events:
            refused = [await events.next() for _ in range(2)]
            assert [one["event"] for one in refused] == ["refused", "refused"]
            assert [orjson.loads(one["data"]) for one in refused] == [
                {"channel": "private", "status": 401, "reason": "a token is needed to subscribe to private"},
                {"channel": "$x", "status": 400, "reason": "channel names that start with '$' are reserved"},
            ]
            await publish(feed, "private", "no")
            await publish(feed, "news.1", "yes")
            assert await heard(events, 1) == [("news.1", "yes")]
        assert feed.mux._core.hub.refused == {"unauthorized": 1, "channel": 1}
        assert (await http(feed, "GET", "/feed?channel=private&channel=$x", b"", [STREAM]))[0] == 401
        assert (await http(feed, "GET", "/feed?channel=news.1&token=x.y.z", b"", [STREAM]))[0] == 401


async def test_a_token_ends_the_stream(redis_url: str, prefix: str) -> None:
    """It may grant what nobody else has, and the stream ends with it."""
    claims = {"exp": time.time() - 28, "mux": {"subscribe": ["a", "b"]}}
    token = jwt.encode(claims, SECRET, "HS256")
    async with (
        many_feed(redis_url, prefix, token_key=SECRET) as feed,
        stream(feed, f"channel=a&channel=b&channel=c&token={token}") as events,
    ):
        assert (await events.next())["event"] == "refused"
        assert (await events.next())["event"] == "expired"


async def test_an_app_decides_on_each_channel(redis_url: str, prefix: str) -> None:
    """And is told that a client joins and leaves each of them."""
    told: list[str] = []
    async with many_feed(redis_url, prefix) as feed:

        @feed.mux.authorize
        async def authorize(request: Any, channel: str, action: str) -> bool | Grant:
            await asyncio.sleep(0)
            return Grant(subject="42", until=time.time() + 1000) if channel != "c" else False

        feed.mux.on_join(lambda member: told.append(f"+{member.channel} {member.subject}"))
        feed.mux.on_leave(lambda member: told.append(f"-{member.channel}"))
        async with stream(feed, "channel=a&channel=b&channel=c") as events:
            assert orjson.loads((await events.next())["data"])["channel"] == "c"
            assert len((await feed.mux.presence("b")).clients) == 1
        await until(lambda: len(told) == 4)
        assert sorted(told) == ["+a 42", "+b 42", "-a", "-b"]
        assert (await http(feed, "GET", "/feed?channel=c", b"", [STREAM]))[0] == 403


@pytest.mark.parametrize(
    ("method", "query", "headers", "status"),
    [
        ("GET", "", [STREAM], 404),
        ("GET", "?channel=", [STREAM], 400),
        ("GET", "?channel=a&channel=b&channel=c&channel=d", [STREAM], 400),
        ("GET", "?channel=a&last=x", [STREAM], 400),
        ("GET", "?channel=a", [], 426),
        ("GET", "?channel=a", ["Accept: application/json"], 426),
        ("GET", "?channel=a", [STREAM, "Origin: https://elsewhere.example"], 403),
        ("GET", "?channel=a", [STREAM, "Content-Length: 1"], 400),
        ("HEAD", "?channel=a", [STREAM], 200),
        ("OPTIONS", "?channel=a", [], 204),
        ("POST", "?channel=a", ["Content-Length: 1"], 405),
    ],
)
async def test_other_requests_have_their_usual_answers(
    redis_url: str, prefix: str, method: str, query: str, headers: list[str], status: int
) -> None:
    """What is no event stream of some channels is refused with a sentence."""
    async with many_feed(redis_url, prefix, max_channels_per_connection=3) as feed:
        body = b"x" if "Content-Length: 1" in headers else b""
        answer, said = await http(feed, method, f"/feed{query}", body, [one for one in headers if "Length" not in one])
        assert (answer, bool(said)) == (status, status not in (200, 204))


async def test_an_app_has_it_where_it_asks_for_it(redis_url: str, prefix: str) -> None:
    """Its guards may look for one channel in the path."""
    async with serving(redis_url=redis_url, prefix=prefix) as feed:
        assert (await http(feed, "GET", "/feed?channel=a", b"", [STREAM]))[0] == 404


async def test_what_cannot_be_resumed_is_told_by_channel(redis_url: str, prefix: str) -> None:
    """A channel that was quiet resumes; of the others it is said that not all is known, and of all where that is so."""
    async with many_feed(redis_url, prefix, journal_bytes=20_000) as feed:
        async with stream(feed, "channel=quiet&channel=busy&channel=loud") as events:
            await publish(feed, "quiet", "1")
            assert await heard(events, 1) == [("quiet", 1)]
            position = events.last_event_id
            await publish(feed, "busy", *("x" * 1000 for _ in range(50)))
            async with stream(feed, "channel=quiet&channel=busy&channel=loud", Last_Event_ID=position) as again:
                told = await again.next()
                assert (told["event"], told.get("id")) == ("missed", None)
                assert orjson.loads(told["data"]) == {"since": position, "reason": "too_old", "channels": ["busy"]}
                await publish(feed, "busy", "2")
                await publish(feed, "quiet", "3")
                assert await heard(again, 2) == [("busy", 2), ("quiet", 3)]
        async with stream(feed, "channel=a&channel=b", Last_Event_ID="x-1") as events:
            told = await events.next()
            assert orjson.loads(told["data"]) == {"since": "x-1", "reason": "other_epoch"}
            await publish(feed, "a", "1")
            assert await heard(events, 1) == [("a", 1)]
        async with stream(feed, "channel=a", Last_Event_ID=told["id"]) as again:
            assert await heard(again, 1) == [("a", 1)], "the event has a position to resume from"


async def test_without_a_journal_there_is_nothing_to_resume(redis_url: str, prefix: str) -> None:
    """A client is told so, and hears what comes."""
    async with (
        many_feed(redis_url, prefix, journal_bytes=0) as feed,
        stream(feed, "channel=a&channel=b", Last_Event_ID="x-1") as events,
    ):
        assert orjson.loads((await events.next())["data"]) == {"since": "x-1", "reason": "no_journal"}
        await feed.mux.publish("b", "1")
        assert await heard(events, 1) == [("b", 1)]


async def test_announcements_and_gaps(redis_url: str, prefix: str) -> None:
    """A client is announced in each of its channels, and hears of others under names that onmessage is not given."""
    async with many_feed(redis_url, prefix, announce=True) as feed, stream(feed, "channel=a&channel=b") as events:
        own = [await events.next() for _ in range(2)]
        assert {one["event"] for one in own} == {"joined"}
        assert {orjson.loads(one["data"])["channel"] for one in own} == {"a", "b"}
        async with feed.connect("b"):
            told = await events.next()
        assert told["event"] == "joined"
        assert orjson.loads(told["data"])["channel"] == "b"
        left = await events.next()
        assert left["event"] == "left"
        feed.mux._core._after_gap(Gap(1, 0.0, 1.0, "closed", "a test"))
        assert orjson.loads((await events.next())["data"]) == {"reason": "gap"}


async def test_a_long_replay_is_written_as_the_client_takes_it(
    redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Far more than may wait for a client, over several segments; what comes meanwhile follows in order."""
    monkeypatch.setattr(joint, "MESSAGES_TOGETHER", 16)
    async with many_feed(redis_url, prefix, max_pending_bytes=600_000) as feed:
        count = 100
        for number in range(count):
            await feed.mux.publish("ab"[number % 2], f"{number} {'x' * 50_000}")
        async with stream(feed, "channel=a&channel=b&last=1000") as events:
            for number in range(count, count + 20):
                await feed.mux.publish("ab"[number % 2], f"{number} y")
            found = [(channel, int(text.split()[0])) for channel, text in await heard(events, count + 20)]
            assert found == [("ab"[number % 2], number) for number in range(count + 20)]
        assert feed.mux._core.hub.evicted.total() == 0


async def test_as_many_channels_as_a_url_has_room_for(many: Serving) -> None:
    """They are joined, resumed and left; spaces between names save room."""
    names = [f"{number:x}" for number in range(1000)]
    query = "channel=" + "+".join(names)
    async with stream(many, query) as events:
        await until(lambda: len(many.mux._core.hub.router) == 1000)
        await publish(many, "3e7", "1")
        assert await heard(events, 1) == [("3e7", 1)]
    await until(lambda: len(many.mux._core.hub.router) == 0)
    await publish(many, "1", "2")
    async with stream(many, query, Last_Event_ID=events.last_event_id) as again:
        assert await heard(again, 1) == [("1", 2)]


async def test_wildcards_among_the_channels(many: Serving) -> None:
    """Events name the channel that a message is of, and one that is asked for twice comes once, also to resume."""
    async with stream(many, "channel=orders.*&channel=orders.7&channel=a") as events:
        await publish(many, "orders.7", "1")
        await publish(many, "a", "2")
        await publish(many, "orders.8", "3")
        assert await heard(events, 3) == [("orders.7", 1), ("a", 2), ("orders.8", 3)]
    await publish(many, "orders.7", "4", "5")
    await publish(many, "orders.9", "6")
    async with stream(many, "channel=orders.*&channel=orders.7&channel=a", Last_Event_ID=events.last_event_id) as again:
        await publish(many, "a", "7")
        assert await heard(again, 4) == [("orders.7", 4), ("orders.7", 5), ("orders.9", 6), ("a", 7)]
    async with stream(many, "channel=orders.*&channel=orders.7&channel=a&last=1") as last:
        assert await heard(last, 3) == [("orders.7", 5), ("orders.9", 6), ("a", 7)]
