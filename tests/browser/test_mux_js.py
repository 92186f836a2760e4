"""The script at /mux.js in a browser: every message once and in order, whatever becomes of its connections."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest
from playwright.async_api import Page, expect
from redis.asyncio import Redis

from mux.broker.gap import Gap
from tests.browser.blind_proxy import BlindProxy, blind_proxy
from tests.browser.conftest import Visitor, panel
from tests.browser.test_page import bodies, say
from tests.support.pages import ROOT, block
from tests.support.servers import Serving, mux_serve, serving, until
from tests.support.tokens import AUDIENCE, SECRET, secret_token

QUIET = ("WebSocket connection to", "net::ERR_", "status of 4", "status of 503")
"""What a browser logs of a server that goes away, or refuses."""

BLANK = '<!doctype html><script src="/mux.js"></script>'

LISTEN = """
([channels, last, tokens]) => {
  window.tokens = tokens;
  window.feed = new Feed("/", { token: async () => tokens.length > 1 ? tokens.shift() : tokens[0] });
  window.heard = {};
  window.told = [];
  window.listen = (name) => {
    heard[name] = [];
    feed.on(name, (data, { replayed }) => heard[name].push(replayed ? [data] : data), { last });
  };
  for (const name of channels) listen(name);
  for (const event of ["state", "missed", "refused"]) feed.on(event, (what) => told.push(`${event} ${what}`));
}
"""
"""Follow channels; what is replayed is heard in brackets."""

BOTH_WAYS = pytest.mark.parametrize("is_blind", [False, True], ids=["WebSocket", "SSE"])

NO_MINUTE = "const wait = setTimeout; setTimeout = (act, ms, ...with_) => wait(act, ms === 60000 ? 100 : ms, ...with_);"
"""Have a page return to a WebSocket in a moment."""


class Seen(NamedTuple):
    """A page that follows channels, the server it is of, and the proxy between them."""

    page: Page
    site: Serving
    proxy: BlindProxy

    async def publish(self, channel: str, *messages: object) -> None:
        """Publish on a channel."""
        for message in messages:
            await self.site.mux.publish(channel, message)

    async def hears(self, channel: str, *messages: object) -> None:
        """Wait until these are the messages of a channel, all of them, in order."""
        await self.page.wait_for_function(
            "([name, count]) => heard[name].length >= count", arg=[channel, len(messages)]
        )
        assert await self.page.evaluate("(name) => heard[name]", channel) == [*messages]

    async def is_told(self, *told: str) -> None:
        """Wait until the page has been told this, and nothing else."""
        await self.page.wait_for_function("(count) => told.length >= count", arg=len(told))
        assert await self.page.evaluate("told") == [*told]


async def written_page(visitor: Visitor, port: int, html: str) -> Page:
    """Return a page as if a server had it: what Playwright answers itself may use no server of this machine."""
    page = await visitor.context.new_page()
    await page.goto(f"http://127.0.0.1:{port}/mux.js")
    await page.set_content(html)
    return page


@asynccontextmanager
async def following(
    redis_url: str,
    prefix: str,
    visitor: Visitor,
    *channels: str,
    last: int = 0,
    tokens: tuple[str, ...] = (),
    is_blind: bool = False,
    **options: Any,
) -> AsyncIterator[Seen]:
    """Return a page that follows channels through a proxy; where that is blind, no WebSocket passes."""
    visitor.expect(*QUIET)
    async with (
        serving(redis_url=redis_url, prefix=prefix, sdk=True, **options) as site,
        blind_proxy(site.port) as proxy,
    ):
        proxy.is_blind = is_blind
        async with visitor:
            await visitor.context.add_init_script(NO_MINUTE)
            page = await written_page(visitor, proxy.port, BLANK)
            await page.evaluate(LISTEN, [channels, last, [*tokens]])
            await page.wait_for_function("feed.state === 'live'")
            yield Seen(page, site, proxy)


async def test_a_dashboard_of_200_prices_over_a_rolling_restart(redis_url: str, prefix: str, visitor: Visitor) -> None:
    """The page of the documentation misses nothing, shows nothing twice, and is live all the time."""
    visitor.expect(*QUIET)
    example = block(ROOT / "mux/endpoints/README.md", "<!doctype html>")
    options = ("--redis-url", redis_url, "--prefix", prefix, "--drain-seconds", "0")
    with mux_serve(*options, "--no-announce") as server:
        async with Redis.from_url(redis_url) as redis, visitor:
            while not await redis.publish(f"{prefix}who", "hears"):
                await asyncio.sleep(0.01)
            for n in range(1, 201):
                await redis.publish(f"{prefix}price:{n}", "0")
            dashboard = example.replace("http://127.0.0.1:8000", f"http://127.0.0.1:{server.port}")
            page = await written_page(visitor, server.port, dashboard)
            await page.wait_for_function("feed.state === 'live'")
            assert await page.locator("p").all_inner_texts() == [f"{n}: 0" for n in range(1, 201)]
            await page.evaluate(
                """() => {
                  window.heard = {};
                  window.told = [];
                  for (const event of ["state", "missed", "refused"]) feed.on(event, (what) => told.push(what));
                  for (let n = 1; n <= 200; n++) feed.on(`price:${n}`, (price) => (heard[n] ??= []).push(price));
                }"""
            )
            rounds, is_over = 0, asyncio.Event()

            async def publish() -> None:
                nonlocal rounds
                while not is_over.is_set():
                    rounds += 1
                    async with redis.pipeline(transaction=False) as pipeline:
                        for n in range(1, 201):
                            pipeline.publish(f"{prefix}price:{n}", str(rounds))
                        await pipeline.execute()
                    await asyncio.sleep(0.1)

            publishing = asyncio.create_task(publish())
            served_by = await page.evaluate_handle("feed.link")
            server.process.send_signal(signal.SIGHUP)
            await page.wait_for_function("(before) => feed.link !== before", arg=served_by)
            moved_at = rounds
            await until(lambda: rounds > moved_at + 3)
            is_over.set()
            await publishing
            await page.wait_for_function("(last) => heard[200]?.at(-1) === last", arg=rounds)
            heard = await page.evaluate("heard")
            assert heard == {str(n): [*range(1, rounds + 1)] for n in range(1, 201)}
            assert await page.evaluate("told") == []
            assert await page.locator("p").last.inner_text() == f"200: {rounds}"


@BOTH_WAYS
async def test_what_came_before_and_every_kind_of_data(
    redis_url: str, prefix: str, visitor: Visitor, is_blind: bool
) -> None:
    """The last message is replayed; JSON is a value, other text a string, and binary bytes; a wildcard hears all."""
    async with following(redis_url, prefix, visitor, "quiet", is_blind=is_blind) as seen:
        await seen.publish("a", "old", "last")
        await seen.page.evaluate("feed.on('a', (data, how) => (window.first ??= []).push([data, how]), { last: 1 })")
        await seen.page.wait_for_function("window.first?.length === 1")
        ((data, how),) = await seen.page.evaluate("first")
        assert (data, how["replayed"]) == ("last", True)
        assert re.fullmatch(r"\w+-\d+", how["position"])
        await seen.page.evaluate("listen('a')")  # by the subscription that there is
        await seen.page.evaluate("feed.on('a*', (data, { channel }) => (window.wild ??= []).push([channel, data]))")
        await seen.page.wait_for_function("feed.channels.get('a*').link === feed.link")
        odd: list[str | bytes] = ['{"a":\n[1,2]}', "no {json", "12", '{"b64": "?"}', b"\x00\xff"]
        await seen.publish("a", *odd)
        await seen.page.wait_for_function("heard.a.length === 5")
        heard = await seen.page.evaluate("heard.a.map((data) => data instanceof Uint8Array ? [...data] : data)")
        assert heard == [{"a": [1, 2]}, "no {json", 12, {"b64": "?"}, [0, 255]]
        await seen.page.wait_for_function("wild.length === 5")
        assert await seen.page.evaluate("wild.map(([channel]) => channel)") == ["a"] * 5
        assert await seen.page.evaluate("heard.quiet") == []


@BOTH_WAYS
async def test_what_came_while_the_connection_was_lost_comes_once(
    redis_url: str, prefix: str, visitor: Visitor, is_blind: bool
) -> None:
    """Twice: the second time the channel is where the first resume has brought it."""
    async with following(redis_url, prefix, visitor, "a", "b", is_blind=is_blind) as seen:
        await seen.publish("a", 1)
        await seen.publish("b", 1)
        expected: list[object] = [1]
        for turn in (2, 4):
            await seen.hears("a", *expected)
            await seen.proxy.cut()
            await seen.page.wait_for_function("feed.state === 'stale'")
            assert "not connected" in await seen.page.evaluate("feed.publish('a', 1).catch(String)")
            await seen.publish("a", turn)
            seen.proxy.is_down = False
            await seen.page.wait_for_function("feed.state === 'live'")
            await seen.publish("a", turn + 1)
            expected += [[turn], turn + 1]
        await seen.hears("a", *expected)
        await seen.hears("b", 1)
        await seen.is_told("state live", *["state stale", "state live"] * 2)


async def test_a_new_connection_is_opened_before_a_server_leaves(redis_url: str, prefix: str, visitor: Visitor) -> None:
    """The page is live all the time, hears everything once, and what it publishes arrives."""
    async with (
        serving(redis_url=redis_url, prefix=prefix, sdk=True) as other,
        following(redis_url, prefix, visitor, "a") as seen,
    ):
        await seen.publish("a", 1)
        await seen.hears("a", 1)
        seen.proxy.socket_target = other.port
        draining = asyncio.create_task(seen.site.mux._core.drain())
        await until(lambda: len(other.mux._core.hub) == 1)
        await other.mux.publish("a", 2)
        await draining
        await seen.page.evaluate("feed.publish('a', 3)")
        await seen.hears("a", 1, 2, 3)
        await seen.is_told("state live")


async def test_by_event_stream_where_no_websocket_passes_and_back(
    redis_url: str, prefix: str, visitor: Visitor
) -> None:
    """From socket to stream to socket; a channel that is added on the way is heard as well."""
    async with following(redis_url, prefix, visitor, "a", last=1) as seen:
        await seen.publish("a", 1)
        await seen.publish("b", "old")
        seen.proxy.is_blind = True
        await seen.proxy.aclose()
        await seen.page.wait_for_function("feed.link?.source?.readyState === 1")
        await seen.publish("a", 2, b"\x01")
        await seen.page.evaluate("listen('b')")
        await seen.page.wait_for_function("feed.link.asked.has('b')")
        await seen.page.evaluate("feed.publish('b', {new: true})")
        await seen.page.wait_for_function("heard.b.length === 2")
        seen.proxy.is_blind = False
        await seen.page.wait_for_function("feed.link.socket")
        await seen.publish("a", 3)
        await seen.publish("b", 4)
        await seen.page.wait_for_function("heard.b.length === 3")
        await seen.page.wait_for_function("heard.a.length === 4")
        flat = "(name) => heard[name].flat().map((data) => data instanceof Uint8Array ? [...data] : data)"
        assert await seen.page.evaluate(flat, "a") == [1, 2, [1], 3]
        assert await seen.page.evaluate(flat, "b") == ["old", {"new": True}, 4]
        await until(lambda: len(seen.site.mux._core.hub) == 1)
        assert "missed a" not in await seen.page.evaluate("told")


@BOTH_WAYS
async def test_two_feeds_leaving_while_connecting_and_a_refused_channel(
    redis_url: str, prefix: str, visitor: Visitor, is_blind: bool
) -> None:
    """Each feed has a connection of its own; what is refused ends nothing else, by either way."""
    options: dict[str, Any] = {"token_key": SECRET, "anyone_subscribe": ("open",), "is_blind": is_blind}
    async with following(redis_url, prefix, visitor, "open", "secret", **options) as seen:
        assert {"refused secret", "state live"} == {*await seen.page.evaluate("told")}
        await seen.page.evaluate(
            """() => {
              window.other = new Feed("/");
              other.on("open", () => heard.open.push("never"));
              other.off("open");
            }"""
        )
        await seen.page.wait_for_function("other.state === 'live'")
        await seen.publish("secret", 0)
        await seen.publish("open", 1)
        await seen.hears("open", 1)
        assert re.match("Error: .+", await seen.page.evaluate("feed.publish('open', 2).catch(String)"))
        assert len(seen.site.mux._core.hub) == (1 if is_blind else 2)
        assert len(seen.site.mux._core.hub.router) == 1
        await seen.page.evaluate("other.close(), feed.off('open'), feed.off('secret')")
        await until(lambda: len(seen.site.mux._core.hub.router) == 0)
        assert await seen.page.evaluate("other.state") == "closed"


@BOTH_WAYS
async def test_a_token_that_ends_is_followed_by_another(
    redis_url: str, prefix: str, visitor: Visitor, is_blind: bool
) -> None:
    """One that is over is not taken, the next is renewed while the socket stays, and a broken one ends the feed."""
    now = time.time()
    tokens = [secret_token(exp=int(now + seconds)) for seconds in (-60, 60 if is_blind else 3, 3600)]
    options: dict[str, Any] = {"token_key": SECRET, "token_audience": AUDIENCE, "user_subscribe": ("*",)}
    async with following(redis_url, prefix, visitor, "a", tokens=(*tokens,), is_blind=is_blind, **options) as seen:
        if not is_blind:
            await seen.page.wait_for_function("tokens.length === 1")
        await seen.publish("a", 1)
        await seen.hears("a", 1)
        await seen.is_told("state live")
        await seen.page.evaluate("window.broken = new Feed('/', { token: () => 'no.token.this' })")
        if not is_blind:
            await seen.page.wait_for_function("broken.state === 'closed'")


async def test_a_quiet_channel_moves_on_with_the_others(redis_url: str, prefix: str, visitor: Visitor) -> None:
    """Two pings after a message of another channel: so a journal need not go back to the last message of each."""
    async with following(redis_url, prefix, visitor, "constructor", "b", ping_seconds=1, pong_seconds=0.9) as seen:
        await seen.publish("b", 1)
        await seen.hears("b", 1)
        await seen.page.wait_for_function(
            "feed.channels.get('constructor').offset === feed.channels.get('b').offset && feed.link.mark"
        )
        await seen.publish("constructor", 2)
        await seen.hears("constructor", 2)


async def test_a_gap_and_a_position_that_cannot_be_resumed(redis_url: str, prefix: str, visitor: Visitor) -> None:
    """After a gap the channel goes on where it was; what is not kept any more is told, once, and the feed goes on."""
    async with following(redis_url, prefix, visitor, "a", journal_bytes=20_000) as seen:
        await seen.publish("a", 1)
        await seen.hears("a", 1)
        seen.site.mux._core._after_gap(Gap(1, 0.0, 1.0, "closed", "it was closed"))
        await seen.publish("a", 2)  # before the page has subscribed anew, or after
        await seen.page.wait_for_function("heard.a.length === 2")
        await seen.proxy.cut()
        await seen.page.wait_for_function("feed.state === 'stale'")
        await seen.publish("a", *("x" * 1000 for _ in range(50)))
        seen.proxy.is_down = False
        await seen.page.wait_for_function("feed.state === 'live'")
        await seen.publish("a", 3)
        await seen.page.wait_for_function("heard.a.at(-1) === 3")
        assert await seen.page.evaluate("heard.a.flat()") == [1, 2, 3]
        await seen.page.wait_for_function("told.length >= 4")
        told = await seen.page.evaluate("told")  # the channel may be told of before or after the connection
        assert (told[:2], sorted(told[2:])) == (["state live", "state stale"], ["missed a", "state live"])


async def test_the_page_has_all_its_columns_on_one_socket(redis_url: str, prefix: str, visitor: Visitor) -> None:
    """When somebody switches to that: with what came before, and after a loss with what was missed."""
    visitor.expect(*QUIET)
    async with (
        serving(redis_url=redis_url, prefix=prefix, page=True, sdk=True) as site,
        blind_proxy(site.port) as proxy,
        visitor,
    ):
        proxy.is_blind = False
        await site.mux.publish("a", "before")
        page = await visitor.open(proxy.port, "a", "b", "state")
        switch = page.get_by_role("button", name="One socket")
        await switch.click()
        for channel in ("a", "b"):
            await expect(panel(page, channel).locator(".state")).to_have_text("one socket")
        await expect(panel(page, "state").locator(".state")).to_have_text("WebSocket")  # the name of an event
        await expect(switch).to_have_attribute("aria-pressed", "true")
        await until(lambda: len(site.mux._core.hub) == 2)
        await expect(bodies(page, "a")).to_have_text(["before"])
        await say(page, "hello", "a")
        await site.mux.publish("b", {"n": 1})
        await expect(bodies(page, "a")).to_have_text(["before", "hello"])
        await expect(panel(page, "a").locator(".row.own .trip")).to_contain_text("ms")
        await expect(bodies(page, "b")).to_have_text(['{"n": 1}'])
        await proxy.cut()
        await expect(panel(page, "a").locator(".row.mark")).to_contain_text(["connection lost"])
        await site.mux.publish("a", "meanwhile")
        proxy.is_down = False
        await expect(panel(page, "a").locator(".row.mark").last).to_contain_text("nothing was missed")
        await expect(bodies(page, "a")).to_have_text(["before", "hello", "meanwhile"])
