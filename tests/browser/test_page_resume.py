"""The page, and what passed before it came or while it was away: every message once and in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
import redis
from playwright.async_api import Page, Route, expect

from mux.broker.gap import Gap
from tests.browser.blind_proxy import BlindProxy, blind_proxy
from tests.browser.conftest import Visitor, panel
from tests.browser.test_page import bodies
from tests.support.servers import Serving, mux_serve, serving, until

QUIET = ("WebSocket connection to", "net::ERR_", "status of 410", "status of 503")
"""What a browser logs of a server that goes away."""


@asynccontextmanager
async def seen(redis_url: str, prefix: str, visitor: Visitor, **options: Any) -> AsyncIterator[tuple[Serving, Any]]:
    """Return a feed with the page, and a proxy before it that lets WebSockets pass."""
    visitor.expect(*QUIET)
    async with (
        serving(redis_url=redis_url, prefix=prefix, page=True, **options) as site,
        blind_proxy(site.port) as proxy,
    ):
        proxy.is_blind = False
        async with visitor:
            yield site, proxy


async def publish(site: Serving, *texts: str | bytes) -> None:
    """Publish on the lobby and wait until the server has all of it back."""
    journal = site.mux._core._journal
    before = journal.last
    for text in texts:
        await site.mux.publish("lobby", text)
    await until(lambda: journal.last >= before + len(texts))


async def online(page: Page) -> None:
    """Have the page do now what it would do in a while: connect, go back to a WebSocket, or ask where it is."""
    await page.evaluate("dispatchEvent(new Event('online'))")


def marks(page: Page) -> Any:
    """Return what the page says itself."""
    return panel(page).locator(".row.mark .body")


async def shows(page: Page, *texts: str) -> None:
    """Wait until these are the messages of the lobby, all of them, in order."""
    await expect(bodies(page)).to_have_text([*texts])


async def test_who_joins_sees_the_last_fifty_with_their_times(redis_url: str, prefix: str, visitor: Visitor) -> None:
    """In order, then what comes; the times are those of the messages, and their round trips are nobody's."""
    async with seen(redis_url, prefix, visitor) as (site, proxy):
        await publish(site, *map(str, range(60)), b"\x00\xff", '{"a": 1}')
        published = datetime.now() + timedelta(milliseconds=2)  # times are rounded; no browser opens a page in 2 ms
        page = await visitor.open(proxy.port)
        await expect(bodies(page)).to_have_count(50)
        await publish(site, "new")
        await expect(bodies(page).last).to_have_text("new")
        texts = await bodies(page).all_inner_texts()
        assert texts[:48] == [str(n) for n in range(12, 60)]
        assert "00 ff" in texts[48]
        assert texts[49:] == ['{"a": 1}', "new"]
        times = await panel(page).locator(".row time").all_inner_texts()
        assert times == sorted(times)
        assert times[49] <= f"{published:%H:%M:%S.%f}"[:-3] < times[50]
        assert await page.evaluate("muxPage.received") == 1


@pytest.mark.parametrize("asked", [False, True], ids=["since it joined", "since it asked where it is"])
async def test_a_lost_websocket_resumes_where_it_was(
    redis_url: str, prefix: str, visitor: Visitor, asked: bool
) -> None:
    """Equal messages are no riddle: it is counted how many came."""
    async with seen(redis_url, prefix, visitor) as (site, proxy):
        await publish(site, "before")
        page = await visitor.open(proxy.port)
        await publish(site, "same", "same", "same")
        await shows(page, "before", "same", "same", "same")
        if asked:
            async with page.expect_response(lambda answer: "last=0" in answer.url):
                await online(page)
            await publish(site, "same")
            await shows(page, "before", *["same"] * 4)
        expected = ["before", *["same"] * (4 if asked else 3)]
        for turn in range(2):
            await proxy.cut()
            await expect(marks(page).last).to_contain_text("connection lost")
            missed = ["same"] * turn
            await publish(site, *missed)
            proxy.is_down = False
            await online(page)
            await expect(marks(page).last).to_contain_text("nothing was missed")
            await publish(site, "same")
            expected += [*missed, "same"]
            await shows(page, *expected)
        await expect(panel(page).locator(".state")).to_have_text("WebSocket")


async def test_by_event_stream_and_back_every_message_is_shown_once(
    redis_url: str, prefix: str, visitor: Visitor, publisher: redis.Redis
) -> None:
    """From WebSocket to event stream to WebSocket and again, while messages are published without a pause."""
    async with seen(redis_url, prefix, visitor) as (_, proxy):
        page = await visitor.open(proxy.port)
        count = 0
        is_over = False

        async def keep_publishing() -> None:
            nonlocal count
            while not is_over and count < 400:  # the page keeps 500 rows
                await asyncio.to_thread(publisher.publish, f"{prefix}lobby", str(count))
                count += 1
                await asyncio.sleep(0.02)

        publishing = asyncio.create_task(keep_publishing())
        for way in ("SSE", "WebSocket", "SSE", "WebSocket"):
            await change_to(page, proxy, way)
        is_over = True
        await publishing
        await expect(bodies(page).last).to_have_text(str(count - 1))
        texts = await bodies(page).all_inner_texts()
        assert [int(text) for text in texts] == list(range(count))
        assert not [text for text in await marks(page).all_inner_texts() if "missed" in text and "nothing" not in text]


async def change_to(page: Page, proxy: BlindProxy, way: str) -> None:
    """Have the page go on by the other way."""
    proxy.is_blind = way == "SSE"
    await online(page)  # an open WebSocket asks where it is; an event stream tries a WebSocket
    if way == "SSE":
        await proxy.aclose()
    await expect(panel(page).locator(".state")).to_have_text(way)


async def test_what_comes_while_a_websocket_opens_is_shown_once(redis_url: str, prefix: str, visitor: Visitor) -> None:
    """The event stream brings it first, and the WebSocket again; also when that is lost before it has brought it."""
    async with seen(redis_url, prefix, visitor) as (site, proxy):
        proxy.is_blind = True
        page = await visitor.open(proxy.port)
        await publish(site, "same", "same")
        await shows(page, "same", "same")
        proxy.is_blind = False
        proxy.flow.clear()
        await online(page)
        await until(lambda: len(site.mux._core.hub) == 2)
        await publish(site, "same", "last")
        await shows(page, "same", "same", "same", "last")
        await expect(panel(page).locator(".state")).to_have_text("SSE")
        proxy.flow.set()
        await expect(panel(page).locator(".state")).to_have_text("WebSocket")
        await publish(site, "same")
        await shows(page, "same", "same", "same", "last", "same")
        await proxy.cut()
        await expect(marks(page).last).to_contain_text("connection lost")
        await publish(site, "same")
        proxy.is_down = False
        await online(page)
        await shows(page, "same", "same", "same", "last", "same", "same")
        await expect(marks(page).last).to_contain_text("nothing was missed")


@pytest.mark.parametrize("is_lost", [False, True], ids=["and comes", "and is lost"])
async def test_a_newer_position_does_not_stand_for_what_is_under_way(
    redis_url: str, prefix: str, visitor: Visitor, is_lost: bool
) -> None:
    """The answer with the position overtakes messages of the WebSocket, which count when they come."""
    async with seen(redis_url, prefix, visitor) as (site, proxy):
        page = await visitor.open(proxy.port)
        await publish(site, "same")
        await shows(page, "same")
        proxy.flow.clear()
        await publish(site, "same", "same")
        async with page.expect_response(lambda answer: "last=0" in answer.url):
            await online(page)
        if not is_lost:
            proxy.flow.set()
            await shows(page, *["same"] * 3)
        await proxy.cut()
        await expect(marks(page).last).to_contain_text("connection lost")
        await publish(site, "last")
        proxy.flow.set()
        proxy.is_down = False
        await online(page)
        await expect(marks(page).last).to_contain_text("nothing was missed")
        await shows(page, "same", "same", "same", "last")


async def test_what_is_more_than_the_page_keeps_is_counted(redis_url: str, prefix: str, visitor: Visitor) -> None:
    """The latest are shown, and how many came before them is told."""
    async with seen(redis_url, prefix, visitor) as (site, proxy):
        page = await visitor.open(proxy.port)
        await publish(site, "before")
        await shows(page, "before")
        await proxy.cut()
        await expect(marks(page).last).to_contain_text("connection lost")
        await publish(site, *map(str, range(600)))
        proxy.is_down = False
        await online(page)
        await expect(marks(page).last).to_contain_text("nothing was missed")
        await shows(page, "before", *map(str, range(200, 600)))
        assert (await marks(page).all_inner_texts())[1] == "200 more not drawn"


async def test_a_position_that_cannot_be_resumed_is_told_once(redis_url: str, prefix: str, visitor: Visitor) -> None:
    """The journal does not go back so far: one line says so, and the feed goes on with nothing shown twice."""
    async with seen(redis_url, prefix, visitor, journal_bytes=20_000) as (site, proxy):
        page = await visitor.open(proxy.port)
        await publish(site, "before")
        await shows(page, "before")
        await proxy.cut()
        await expect(marks(page).last).to_contain_text("connection lost")
        await publish(site, *("x" * 1000 for _ in range(50)))
        proxy.is_down = False
        await online(page)
        await expect(marks(page).last).to_contain_text("back after")
        assert (await marks(page).all_inner_texts())[1] == "messages may have been missed"
        await publish(site, "after")
        await shows(page, "before", "after")
        await proxy.cut()
        await expect(marks(page).last).to_contain_text("connection lost")
        await publish(site, "meanwhile")
        proxy.is_down = False
        await online(page)
        await expect(marks(page).last).to_contain_text("nothing was missed")
        await shows(page, "before", "after", "meanwhile")


async def test_a_process_that_does_not_know_the_position_is_joined_without_one(
    redis_url: str, prefix: str, visitor: Visitor
) -> None:
    """The answer and the WebSocket are of processes that share no positions: that is told, and the feed goes on."""
    async with (
        serving(redis_url=redis_url, prefix=f"{prefix}other:") as other,
        seen(redis_url, prefix, visitor) as (site, proxy),
    ):
        await publish(site, "before")
        proxy.socket_target = other.port
        page = await visitor.open(proxy.port)
        await expect(marks(page)).to_have_text(["messages may have been missed"])
        await until(lambda: len(other.mux._core.hub) == 1)
        await other.mux.publish("lobby", "after")
        await shows(page, "before", "after")


async def test_an_answer_that_does_not_agree_with_what_was_shown_is_not_believed(
    redis_url: str, prefix: str, visitor: Visitor
) -> None:
    """Another process has messages that the first had missed, so what was counted does not say where the page was."""
    async with seen(redis_url, prefix, visitor) as (site, proxy):
        page = await visitor.open(proxy.port)
        await publish(site, "one", "two")
        await shows(page, "one", "two")

        async def answer(route: Route) -> None:
            found = await (await route.fetch()).json()
            unheard = {**found["messages"][0], "text": "of another process"}
            await route.fulfill(json={**found, "count": 3, "messages": [unheard, *found["messages"]]})

        await page.route("**/feed/lobby?since=*", answer)
        await proxy.cut()
        await expect(marks(page).last).to_contain_text("connection lost")
        proxy.is_down = False
        await online(page)
        await expect(marks(page).last).to_contain_text("back after")
        assert (await marks(page).all_inner_texts())[1] == "messages may have been missed"
        await publish(site, "three")
        await shows(page, "one", "two", "three")


async def test_a_server_is_restarted_beside_another(
    redis_url: str, prefix: str, free_port: int, visitor: Visitor, publisher: redis.Redis
) -> None:
    """The new process has the journal of the other, and the page goes on where it was."""
    options = ("--redis-url", redis_url, "--prefix", prefix, "--drain-seconds", "0", "--no-announce")
    visitor.expect(*QUIET)
    with mux_serve(*options, "--port", "0"):
        with mux_serve(*options, "--port", str(free_port)):
            page = await visitor.open(free_port)
            publisher.publish(f"{prefix}lobby", "before")
            await shows(page, "before")
        await expect(marks(page).last).to_contain_text("connection lost")
        for n in range(3):
            publisher.publish(f"{prefix}lobby", f"{n}")
        with mux_serve(*options, "--port", str(free_port)):
            await expect(marks(page).last).to_contain_text("nothing was missed")
            publisher.publish(f"{prefix}lobby", "after")
            await shows(page, "before", "0", "1", "2", "after")
            await page.close()


async def test_without_a_journal_the_page_says_what_may_be_missing(
    redis_url: str, prefix: str, visitor: Visitor
) -> None:
    """It works as well as it can."""
    async with seen(redis_url, prefix, visitor, journal_bytes=0) as (site, proxy):
        page = await visitor.open(proxy.port)
        await site.mux.publish("lobby", "before")
        await shows(page, "before")
        await proxy.cut()
        await expect(marks(page).last).to_contain_text("connection lost")
        proxy.is_down = False
        await online(page)
        await expect(marks(page).last).to_contain_text("back after")
        await site.mux.publish("lobby", "after")
        await shows(page, "before", "after")
        assert "messages may have been missed" in await marks(page).all_inner_texts()


async def test_an_open_event_stream_is_told_of_a_gap(redis_url: str, prefix: str, visitor: Visitor) -> None:
    """The page says so where it happened, goes on, and comes back with nothing shown twice."""
    async with seen(redis_url, prefix, visitor) as (site, proxy):
        proxy.is_blind = True
        page = await visitor.open(proxy.port)
        await publish(site, "before")
        await shows(page, "before")
        site.mux._core._after_gap(Gap(1, 0.0, 1.0, "closed", "it was closed"))
        await expect(marks(page).last).to_have_text("messages may have been missed")
        await publish(site, "after")
        await shows(page, "before", "after")
        await change_to(page, proxy, "WebSocket")
        await publish(site, "last")
        await shows(page, "before", "after", "last")
