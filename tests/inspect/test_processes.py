"""What an operator asks: several processes in this one, and four of their own."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from typing import Any

import orjson
import pytest
import redis

from mux import reasons
from mux.errors import Refused
from mux.fleet import census as census_module
from mux.fleet.fleet import MAX_QUESTIONS_PER_SECOND
from mux.fleet.messages import write
from mux.inspect import inspector as inspector_module
from mux.inspect.inspector import MAX_INQUIRIES
from tests.fleet.forged import STRANGER, beat, question
from tests.hub.fakes import FakeClient
from tests.support.refusals import refused
from tests.support.servers import (
    AUTHORIZATION,
    PATIENCE_SECONDS,
    ServerProcess,
    Serving,
    mux_serve,
    receive,
    serving,
    until,
)


async def get(port: int, path: str) -> dict[str, Any]:
    """Return the JSON of an answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n{AUTHORIZATION}\r\nConnection: close\r\n\r\n".encode())
    async with asyncio.timeout(PATIENCE_SECONDS):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert head.startswith(b"HTTP/1.1 200 "), head + body
    found: dict[str, Any] = orjson.loads(body)
    return found


async def answer(port: int, path: str, *, processes: int) -> dict[str, Any]:
    """Return an answer that so many processes have given; on a busy machine one may be late."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            stats, found = await get(port, "/stats"), await get(port, path)
            if len(stats["processes"]) == processes and not stats["missing"] and not found["missing"]:
                return found


def rows(found: dict[str, Any]) -> list[tuple[str, int]]:
    """Return names and subscribers."""
    return [(one["name"], one["subscribers"]) for one in found["channels"]]


@pytest.fixture
async def three(redis_url: str, prefix: str) -> AsyncIterator[list[Serving]]:
    """Three in this process that know each other."""
    options: dict[str, Any] = {"redis_url": redis_url, "prefix": prefix, "ops": True, "drain_seconds": 0}
    async with AsyncExitStack() as stack:
        feeds = [await stack.enter_async_context(serving(**options)) for _ in range(3)]
        await until(lambda: all(len(feed.mux._core._fleet._census) == 2 for feed in feeds))
        yield feeds


def fill(feed: Serving, prefix: str, channels: dict[str, int]) -> None:
    """Give a process channels with so many subscribers, without sockets."""
    clients = [FakeClient().subscriber for _ in range(max(channels.values()))]
    for name, subscribers in channels.items():
        for client in clients[:subscribers]:
            feed.mux._core.hub.router.join(client, f"{prefix}{name}".encode())
    for client in clients:
        feed.mux._core.hub._heartbeat.add(client)


async def test_any_process_tells_the_channels_of_all(three: list[Serving], prefix: str) -> None:
    """Subscribers are summed; ties are by name."""
    fill(three[0], prefix, {"b": 1, "a": 1, "lobby": 2})
    fill(three[1], prefix, {"lobby": 3, "c": 1})
    for feed in three:
        found = await answer(feed.port, "/channels", processes=3)
        assert rows(found) == [("lobby", 5), ("a", 1), ("b", 1), ("c", 1)]
        assert found["complete"] is True
    assert rows(await answer(three[2].port, "/channels?prefix=lo", processes=3)) == [("lobby", 5)]


async def test_an_answer_says_when_it_is_not_complete(
    three: list[Serving], prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When there are more than were asked for, or when a process had more than it named."""
    fill(three[0], prefix, {"spread": 3, "x": 4, "y": 1})
    fill(three[1], prefix, {"spread": 3, "own": 5, "more": 4})
    found = await answer(three[2].port, "/channels?limit=5", processes=3)
    assert (rows(found)[0], found["complete"]) == (("spread", 6), True)
    found = await answer(three[2].port, "/channels?limit=4", processes=3)
    assert (len(found["channels"]), found["complete"]) == (4, False)
    monkeypatch.setattr(inspector_module, "FEW_NAMES", 2)
    found = await answer(three[2].port, "/channels?limit=1", processes=3)
    assert (rows(found), found["complete"]) == ([("own", 5)], False)


async def test_rates_are_the_highest_of_any_process(three: list[Serving], prefix: str, publisher: redis.Redis) -> None:
    """Each hears all messages of a channel; what is asked once is counted from then on, and then no more."""
    fill(three[0], prefix, {"busy": 1, "idle": 1})
    fill(three[1], prefix, {"busy": 1})
    router = three[2].mux._core.hub.router
    assert not any(feed.mux._core._intake.after_batch for feed in three)
    await answer(three[2].port, "/channels?sort=rate", processes=3)
    for _ in range(10):
        publisher.publish(f"{prefix}busy", "hi")
        publisher.publish(f"{prefix}busy\0", "hi")
    await until(lambda: router.received >= 20)
    found = await answer(three[2].port, "/channels?sort=rate", processes=3)
    busy, idle = found["channels"]
    assert (busy["name"], busy["subscribers"], idle["messages_per_second"]) == ("busy", 2, 0)
    assert busy["messages_per_second"] > 20 / PATIENCE_SECONDS
    for feed in three:
        feed.mux._core.inspector._tally.clear()
    await until(lambda: not any(feed.mux._core._intake.after_batch for feed in three))


async def test_without_inspect_a_process_keeps_its_names(redis_url: str, prefix: str) -> None:
    """It tells its numbers, as /metrics does, and is named where its channels are missing."""
    async with (
        serving(redis_url=redis_url, prefix=prefix, ops=True) as open_,
        serving(redis_url=redis_url, prefix=prefix, ops=True, inspect=False) as closed,
    ):
        fill(closed, prefix, {"secret": 1})
        fill(open_, prefix, {"known": 1})
        await until(lambda: len(open_.mux._core._fleet._census) == 1)
        found = await get(open_.port, "/channels")
        assert rows(found) == [("known", 1)]
        assert [one["pid"] for one in found["missing"]] == [os.getpid()]
        stats = await get(open_.port, "/stats")
        assert sorted(one["channels"] for one in stats["processes"]) == [1, 1]


async def test_without_redis_a_process_tells_what_it_knows(
    three: list[Serving], prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once: the others are missing."""
    fill(three[0], prefix, {"a": 1})
    monkeypatch.setattr(type(three[0].mux._core.broker), "is_connected", False)
    found = await get(three[0].port, "/stats")
    assert (len(found["processes"]), len(found["missing"])) == (1, 2)
    channels = await get(three[0].port, "/channels")
    assert (rows(channels), len(channels["missing"])) == ([("a", 1)], 2)


async def test_small_messages_do_not_silence_the_fleet(redis_url: str, prefix: str) -> None:
    """max_message_bytes is about the feed."""
    options: dict[str, Any] = {"redis_url": redis_url, "prefix": prefix, "ops": True, "max_message_bytes": 1}
    async with serving(**options) as one, serving(**options):
        found = await answer(one.port, "/stats", processes=2)
        assert found["total"]["processes"] == 2


async def test_what_the_fleet_says_is_not_the_feeds(three: list[Serving], publisher: redis.Redis, prefix: str) -> None:
    """Looking at the numbers does not change them, however small messages have to be."""
    before = [(feed.mux._core.hub.router.received, feed.mux._core.hub.router.delivered) for feed in three]
    published = [feed.mux._core.broker.outbox.published for feed in three]
    await answer(three[0].port, "/stats", processes=3)
    assert [(feed.mux._core.hub.router.received, feed.mux._core.hub.router.delivered) for feed in three] == before
    assert [feed.mux._core.broker.outbox.published for feed in three] == published


async def test_hostile_publishes_do_no_harm(three: list[Serving], prefix: str, publisher: redis.Redis) -> None:
    """Garbage, forged processes, answers nobody asked for, floods of questions: the next answer is right."""
    channel = f"{prefix}$fleet"
    fill(three[0], prefix, {"a": 1})
    with publisher.pipeline(transaction=False) as pipe:
        for payload in (b"", b"\0", b"mux/1 * ", b"mux/1 * []", b"mux/9 * {}", b"mux/1 * " + b"x" * 600_000):
            pipe.publish(channel, payload)
            pipe.publish(channel + "\0", payload)
        for number in range(2 * MAX_QUESTIONS_PER_SECOND):
            pipe.publish(channel, question("stats"))
            pipe.publish(channel, question("top", prefix=f"{number % 9}", sort="rate", count=1000))
        for feed in three:
            me = feed.mux._core._fleet.myself.id
            for number in range(5):
                pipe.publish(channel, write("answer", STRANGER, b'{"channels":"x"}', to=me, round_=f"{number:016x}"))
                pipe.publish(channel, write("answer", me, b"{}", to=me, round_=f"{number:016x}"))
        for number in range(2000):
            pipe.publish(channel, beat(number))
        pipe.execute()
    await until(lambda: all(len(feed.mux._core._fleet._census) > 900 for feed in three))
    found = await get(three[0].port, "/stats")
    assert len(found["processes"]) + len(found["missing"]) <= census_module.MAX_PROCESSES + 1
    assert {one["pid"] for one in found["processes"]} == {os.getpid()}
    assert rows(await get(three[0].port, "/channels")) == [("a", 1)]


async def test_equal_questions_share_an_inquiry_and_too_many_are_refused(three: list[Serving]) -> None:
    """A hundred terminals that look at the same are one question."""
    inspector = three[0].mux._core.inspector
    same = await asyncio.gather(*(inspector.stats() for _ in range(100)))
    assert all(found is same[0] for found in same)
    different = [inspector.channels(prefix=str(number), sort="rate", limit=1) for number in range(30)]
    found = await asyncio.gather(*different, return_exceptions=True)
    refused = [one for one in found if isinstance(one, Refused) and one.reason is reasons.INQUIRIES]
    assert len(refused) == 30 - MAX_INQUIRIES
    assert not inspector._inquiries


async def test_a_process_that_ends_finishes_what_it_was_asked(redis_url: str, prefix: str) -> None:
    """Whoever asked has an answer, nothing is left running, and closing twice is once."""
    async with serving(redis_url=redis_url, prefix=prefix) as feed:
        inspector = feed.mux._core.inspector
        asked = asyncio.ensure_future(inspector.channels(prefix="", sort="rate", limit=1))
        await until(lambda: inspector._inquiries)
        await inspector.aclose()
        assert not inspector._inquiries
        assert (await asked)["channels"] == []
        await inspector.aclose()
        with refused(reasons.LEAVING):
            await inspector.stats()


async def test_who_asks_and_goes_away_takes_nothing_from_others(redis_url: str, prefix: str) -> None:
    """They wait for the same."""
    async with serving(redis_url=redis_url, prefix=prefix) as feed:
        inspector = feed.mux._core.inspector
        gone, stays = (asyncio.ensure_future(inspector.channels(prefix="", sort="rate", limit=1)) for _ in range(2))
        await until(lambda: inspector._inquiries)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert (await stays)["channels"] == []


async def test_fifty_thousand_channels_are_answered_in_bounds(three: list[Serving], prefix: str) -> None:
    """An answer is cut and says so; the busiest are right; the loop goes on between slices."""
    for part in range(50):
        fill(three[0], prefix, {f"room/{number}": 1 for number in range(1000 * part, 1000 * part + 1000)})
    fill(three[0], prefix, {"first": 3, "second": 2})
    fill(three[1], prefix, {"second": 2, "room/777": 1})
    found = await answer(three[2].port, "/channels?limit=1000", processes=3)
    assert rows(found)[:3] == [("second", 4), ("first", 3), ("room/0", 1)]
    assert len(found["channels"]) == 1000
    assert found["complete"] is False


@pytest.fixture
def four(redis_url: str, prefix: str) -> Iterator[list[ServerProcess]]:
    """Four real processes, and nobody announces anything."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(mux_serve("--redis-url", redis_url, "--prefix", prefix, "--no-announce"))
            for _ in range(4)
        ]


async def test_four_processes(
    four: list[ServerProcess], redis_url: str, prefix: str, publisher: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sums are right; who is stopped is missing and comes back; who is killed is missing and then forgotten."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(process.connect()) for process in four for _ in range(2)]
        lonely = await stack.enter_async_context(four[0].connect("lonely"))
        before = (await answer(four[1].port, "/stats", processes=4))["total"]
        for _ in range(10):
            publisher.publish(f"{prefix}lobby", "hi")
        await lonely.send("to myself")
        assert await receive(lonely, 1) == ["to myself"]
        for client in clients:
            assert await receive(client, 10) == ["hi"] * 10
        found = await answer(four[3].port, "/stats", processes=4)
        after = found["total"]
        assert {one["pid"] for one in found["processes"]} == {process.pid for process in four}
        assert (after["connections"], after["channels"], after["published"]) == (9, 5, 1)
        assert after["delivered"] - before["delivered"] == 81
        assert after["received"] - before["received"] == 44
        assert after["unheard"] - before["unheard"] == 3
        assert after["memory_bytes"] > 4 * 5e6
        assert rows(await answer(four[2].port, "/channels", processes=4)) == [("lobby", 8), ("lonely", 1)]

    four[2].process.send_signal(signal.SIGSTOP)
    try:
        found = await get(four[0].port, "/stats")
        assert [one["pid"] for one in found["missing"]] == [four[2].pid]
        assert found["total"]["processes"] == 3
        assert [one["pid"] for one in (await get(four[0].port, "/channels"))["missing"]] == [four[2].pid]
    finally:
        four[2].process.send_signal(signal.SIGCONT)
    await answer(four[0].port, "/stats", processes=4)

    async with serving(redis_url=redis_url, prefix=prefix, ops=True) as here:
        await answer(here.port, "/stats", processes=5)
        four[3].process.kill()
        four[3].process.wait(PATIENCE_SECONDS)
        found = await get(here.port, "/stats")
        assert [one["pid"] for one in found["missing"]] == [four[3].pid]
        monkeypatch.setattr(census_module, "FORGET_SECONDS", 0.5)
        await until(lambda: not len(here.mux._core._fleet._census))
        await answer(here.port, "/stats", processes=4)


async def test_a_forged_answer_is_no_answer(three: list[Serving], prefix: str) -> None:
    """The process it was given for is missing, and /channels and /stats are answered with 200 all the same."""
    fill(three[0], prefix, {"a": 1})
    forged = b'{"version":7,"channels":[["a",9007199254740992,1]],"complete":1}'

    async def forge(question: object) -> bytes:
        return forged

    for name in ("stats", "top"):
        three[1].mux._core._fleet.handle(name, forge)
    silent = three[1].mux._core._fleet.myself.id
    found = await get(three[0].port, "/channels?limit=1")
    assert ([one["id"] for one in found["missing"]], rows(found), found["complete"]) == ([silent], [("a", 1)], False)
    stats = await get(three[0].port, "/stats")
    assert [one["id"] for one in stats["missing"]] == [silent]
