"""Event streams of many channels at once, over real connections."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis
from websockets.exceptions import InvalidStatus

from mux import Member, Mux
from mux.endpoints import catch_up
from tests.endpoints.test_resume import Reader, publish, quiet_feed, stream
from tests.support.event_streams import open_stream
from tests.support.servers import PATIENCE_SECONDS, Serving, serving, until
from tests.support.tokens import AUDIENCE, SECRET, secret_token

MANY = "a name that ends with '*' stands for many channels"


@pytest.fixture
async def quiet(redis_url: str, prefix: str) -> AsyncIterator[Serving]:
    """A feed without announcements."""
    async with quiet_feed(redis_url, prefix, sdk=True) as feed:
        yield feed


async def told(events: Reader, count: int) -> list[tuple[str, str]]:
    """Return channel and data of so many events."""
    found = [await events.next() for _ in range(count)]
    return [(event["event"], event["data"]) for event in found]


async def test_a_wildcard_hears_all_that_begins_so_and_resumes(quiet: Serving, redis_url: str, prefix: str) -> None:
    """Channels that are new as well, from every publisher, in one order; what was missed comes once."""
    async with stream(quiet, "orders.*") as first, Redis.from_url(redis_url) as redis:
        await publish(quiet, "orders.a", "1")
        await publish(quiet, "order", "not this")
        await redis.publish(f"{prefix}orders.b/c", "2")
        await publish(quiet, "orders.a", b"\xff")
        assert await told(first, 3) == [("orders.a", "1"), ("orders.b%2Fc", "2"), ("orders.a?binary", "/w==")]
    await publish(quiet, "orders.c", "3")
    await publish(quiet, "other", "not this")
    await publish(quiet, "orders.a", "4")
    async with stream(quiet, "orders.*", Last_Event_ID=first.last_event_id) as second:
        await publish(quiet, "orders.d", "5")
        assert await told(second, 3) == [("orders.c", "3"), ("orders.a", "4"), ("orders.d", "5")]
    async with stream(quiet, "*", "?last=2") as third:
        assert await told(third, 2) == [("orders.a", "4"), ("orders.d", "5")]


async def test_positions_of_a_wildcard_only_grow(quiet: Serving, redis_url: str, prefix: str) -> None:
    """A client that is cut off in the middle of a batch resumes there: what is before its position it has."""
    async with stream(quiet, "*") as events, Redis.from_url(redis_url) as redis:
        async with redis.pipeline(transaction=False) as pipeline:
            for number in range(30):
                pipeline.publish(f"{prefix}{'abc'[number % 3]}", str(number))
            await pipeline.execute()
        found = [await events.next() for _ in range(30)]
    assert [event["data"] for event in found] == list(map(str, range(30)))
    numbers = [int(event["id"].rpartition("-")[2]) for event in found]
    assert numbers == sorted(set(numbers))


async def test_a_long_replay_of_a_wildcard_is_written_as_it_is_read(
    quiet: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what comes meanwhile follows, of every channel."""
    monkeypatch.setattr(catch_up, "HELD_MESSAGES", 10)
    monkeypatch.setattr(catch_up, "MESSAGE_BYTES", 20_000)
    await publish(quiet, "a", *map(str, range(30)))
    await publish(quiet, "b", *map(str, range(30, 60)))
    async with stream(quiet, "*", "?last=60") as events:
        await publish(quiet, "c", "60")
        assert await told(events, 61) == [("aabbc"[number // 15], str(number)) for number in range(61)]


async def test_a_wildcard_that_was_quiet_resumes_where_the_journal_has_forgotten(redis_url: str, prefix: str) -> None:
    """By the process that has watched it; of another wildcard it does not know."""
    async with (
        quiet_feed(redis_url, prefix, journal_bytes=20_000, sdk=True) as feed,
        stream(feed, "orders.*", "?last=1") as watching,
        stream(feed, "orders.*") as events,
    ):
        await publish(feed, "orders.a", "1")
        await events.next()
        await publish(feed, "noise", *["x" * 1000] * 40)
        assert feed.mux._core._journal.kept_after > 1
        async with stream(feed, "orders.*", Last_Event_ID=events.last_event_id) as again:
            await publish(feed, "orders.b", "2")
            assert await told(again, 1) == [("orders.b", "2")]
        async with stream(feed, "orders.a*", Last_Event_ID=events.last_event_id) as others:
            assert (await others.next())["event"] == "missed"
        assert await told(watching, 2) == [("orders.a", "1"), ("orders.b", "2")]


async def test_only_an_event_stream_is_for_a_wildcard(quiet: Serving) -> None:
    """Everything else is told so; a star elsewhere is a character."""
    with pytest.raises(InvalidStatus) as refusal:
        async with quiet.connect("orders.*"):
            pass
    assert (refusal.value.response.status_code, refusal.value.response.body) == (
        400,
        f"{MANY}: ask for an event stream\n".encode(),
    )
    async with httpx.AsyncClient(timeout=PATIENCE_SECONDS) as http:
        url = quiet.url("orders.*", "http")
        posted = await http.post(url, content=b"x")
        asked = await http.get(url, headers={"accept": "application/json"})
    assert (posted.status_code, posted.text) == (400, f"{MANY}, and here it must be one\n")
    assert (asked.status_code, asked.text) == (400, f"{MANY}: ask for an event stream\n")
    assert quiet.mux._core.hub.refused["channel"] == 3
    async with quiet.connect("a*b") as client, stream(quiet, "a*") as events:
        await client.send("hi")
        assert await told(events, 1) == [("a*b", "hi")]
        assert await client.recv() == "hi"


async def test_a_token_must_grant_all_of_a_wildcard(redis_url: str, prefix: str) -> None:
    """Neither a channel that begins so nor a subject with a star does."""
    keys: dict[str, Any] = {"token_key": SECRET, "token_audience": AUDIENCE, "user_subscribe": ("mine.{sub}",)}
    async with serving(redis_url=redis_url, prefix=prefix, sdk=True, **keys) as feed:
        statuses = {}
        async with httpx.AsyncClient(timeout=PATIENCE_SECONDS) as http:
            for name in ("orders.*", "orders.a*", "orders*", "*", "mine.*"):
                fields = {
                    "accept": "text/event-stream",
                    "authorization": f"Bearer {secret_token('*', subscribe=('orders.*', 'orders.a'))}",
                }
                async with http.stream("GET", feed.url(name, "http"), headers=fields) as answer:
                    statuses[name] = answer.status_code
    assert statuses == {"orders.*": 200, "orders.a*": 200, "orders*": 403, "*": 403, "mine.*": 403}


async def test_a_listener_to_a_wildcard_is_in_none_of_its_channels(redis_url: str, prefix: str) -> None:
    """It hears who comes and goes, is not announced or present itself, and the app is told of it by the wildcard."""
    async with serving(redis_url=redis_url, prefix=prefix, announce=True, sdk=True) as feed:
        await hears_others(feed)


async def hears_others(feed: Serving) -> None:
    """Have one client listen to a wildcard, and another join one of its channels."""
    seen: list[tuple[str, str]] = []
    mux: Mux = feed.mux

    @mux.on_join
    def joined(member: Member) -> None:
        seen.append(("joined", member.channel))

    @mux.on_leave
    def left(member: Member) -> None:
        seen.append(("left", member.channel))

    @mux.authorize
    def authorize(request: object, channel: str, action: str) -> bool:
        seen.append((action, channel))
        return True

    async with open_stream(feed.port, "lob*") as wild:
        async with feed.connect("lobby") as client:
            assert "has joined" in str(await client.recv())
            people = await mux.presence("lobby")
            assert len(people.clients) == 1
        events = await wild.events(2)
        assert [event.name for event in events] == ["lobby?joined", "lobby?left"]
    await until(lambda: len(seen) == 7)
    assert seen[:2] == [("subscribe", "lob*"), ("joined", "lob*")]
    assert seen[-1] == ("left", "lob*")
    assert mux._core.hub.router.count(b"lob*") == 0


async def test_those_who_listen_to_a_wildcard_are_found_by_it(quiet: Serving) -> None:
    """By an operator who lists channels, and by an app that disconnects."""
    async with open_stream(quiet.port, "lob*") as wild:
        assert (await quiet.mux.disconnect(channel="lob*")).clients == 1
        assert "4403 disconnected" in (await wild.read_to_end()).comments
