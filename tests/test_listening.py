"""What an app hears of its own feed: mux.history() and mux.listen()."""

from __future__ import annotations

import asyncio

import pytest

import mux
from mux.recovery import listener
from tests.endpoints.test_resume import publish, quiet_feed
from tests.support.servers import PATIENCE_SECONDS, serving


async def take(messages: object, count: int) -> list[str | bytes]:
    """Return the data of the next messages."""
    found: list[str | bytes] = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for message in messages:  # type: ignore[attr-defined]
            found.append(message.data)
            if len(found) == count:
                break
    return found


async def test_history_has_positions_and_times(redis_url: str, prefix: str) -> None:
    """By number, by seconds, and by position; text and bytes as they were sent."""
    async with quiet_feed(redis_url, prefix) as feed:
        await publish(feed, "a", "1", b"\xff", "3")
        found = await feed.mux.history("a", last=10)
        assert [message.data for message in found] == ["1", b"\xff", "3"]
        assert sorted({message.position for message in found}) == [message.position for message in found]
        assert [one.data for one in await feed.mux.history("a", last=1)] == ["3"]
        assert [one.data for one in await feed.mux.history("a", since=found[0].position)] == [b"\xff", "3"]
        for since in (30.0, "30s"):
            assert [one.position for one in await feed.mux.history("a", since=since)] == [one.position for one in found]
        assert await feed.mux.history("b") == []
        with pytest.raises(mux.Missed):
            await feed.mux.history("a", since="00000000000000000-1")
        with pytest.raises(mux.InvalidChannel):
            await feed.mux.history("a b")


async def test_listen_begins_in_the_past_and_goes_on(redis_url: str, prefix: str) -> None:
    """Nothing is left out between what passed and what passes, and a listener that ends leaves."""
    async with quiet_feed(redis_url, prefix) as feed:
        await publish(feed, "a", "1", "2", "3")
        messages = feed.mux.listen("a", last=2)
        assert await take(messages, 2) == ["2", "3"]
        await publish(feed, "a", "4")
        assert await take(feed.mux.listen("a", since=60.0), 4) == ["1", "2", "3", "4"]
        listening = feed.mux.listen("a")
        first = asyncio.ensure_future(anext(listening))
        await asyncio.sleep(0)
        await publish(feed, "a", "5")
        assert (await first).data == "5"
        await listening.aclose()  # type: ignore[attr-defined]
        await messages.aclose()  # type: ignore[attr-defined]
        assert feed.mux._core.hub.router.count(prefix.encode() + b"a") == 0


async def test_a_slow_listener_is_told_how_many_it_has_missed(
    redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets what waited for it, and then an exception; nothing waits without a bound."""
    monkeypatch.setattr(listener, "MAX_MESSAGES", 3)
    async with quiet_feed(redis_url, prefix) as feed:
        messages = feed.mux.listen("a")
        first = asyncio.ensure_future(anext(messages))
        await asyncio.sleep(0)
        await publish(feed, "a", "1")
        assert (await first).data == "1"
        await publish(feed, "a", *map(str, range(2, 8)))
        assert [(await anext(messages)).data for _ in range(3)] == ["2", "3", "4"]
        with pytest.raises(mux.SlowListener, match="missed 3 messages") as told:
            await anext(messages)
        assert told.value.missed == 3


async def test_a_listener_ends_when_the_app_stops(redis_url: str, prefix: str) -> None:
    """A task that listens for as long as the app lives ends by itself."""
    async with serving(redis_url=redis_url, prefix=prefix) as feed:

        async def listen() -> list[str | bytes]:
            return [message.data async for message in feed.mux.listen("a")]

        task = asyncio.create_task(listen())
        await asyncio.sleep(0)
        await publish(feed, "a", "1")
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await task == ["1"]


async def test_without_a_journal_there_is_no_past(redis_url: str, prefix: str) -> None:
    """Listening works all the same, without positions."""
    async with serving(redis_url=redis_url, prefix=prefix, journal_bytes=0) as feed:
        assert await feed.mux.history("a", last=5) == []
        with pytest.raises(mux.Missed):
            await feed.mux.history("a", since="x-1")
        first = asyncio.ensure_future(anext(feed.mux.listen("a")))
        await asyncio.sleep(0)
        await feed.mux.publish("a", "1")
        message = await first
        assert (message.data, message.position) == ("1", "")
