"""The page, in a browser, as a person uses it."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from playwright.async_api import Page, expect
from sanic import Request, Sanic
from sanic.response import html

from tests.browser.blind_proxy import blind_proxy
from tests.browser.conftest import Visitor, panel
from tests.support.nginx import NGINX, nginx, reachable
from tests.support.servers import PATIENCE_SECONDS, TOKEN, Serving, mux_serve, receive, serving, until

expect.set_options(timeout=PATIENCE_SECONDS * 1000)


@pytest.fixture
async def site(redis_url: str, prefix: str) -> AsyncIterator[Serving]:
    """Return a feed with the page, without announcements."""
    async with serving(redis_url=redis_url, prefix=prefix, page=True) as one:
        yield one


def bodies(page: Page, channel: str = "lobby") -> Any:
    """Return the messages on the page, without what the page says itself."""
    return panel(page, channel).locator(".row:not(.mark) .body")


async def say(page: Page, text: str, channel: str = "lobby") -> None:
    """Publish by the field of a channel."""
    field = panel(page, channel).get_by_role("textbox")
    await field.fill(text)
    await field.press("Enter")


async def join(page: Page, channel: str) -> None:
    """Join one more channel."""
    await page.get_by_label("Channel to join").fill(channel)
    await page.get_by_role("button", name="Join", exact=True).click()
    await panel(page, channel).locator("[data-state=open]").wait_for()


async def test_two_pages_chat(site: Serving, visitor: Visitor) -> None:
    """What one writes both see, in one order; who wrote it sees how long it took."""
    one, other = await visitor.open(site.port), await visitor.open(site.port)
    await say(one, "good morning")
    await expect(bodies(other)).to_have_text(["good morning"])
    await say(other, "good evening")
    for page in (one, other):
        await expect(bodies(page)).to_have_text(["good morning", "good evening"])
        await expect(panel(page).locator(".row.own")).to_have_count(1)
        await expect(panel(page).locator(".row.own .trip")).to_contain_text("ms")
        await expect(panel(page).locator(".meter .trip dd")).to_contain_text("ms")


async def test_channels_side_by_side_are_in_the_link(site: Serving, visitor: Visitor) -> None:
    """Each has its own connection and messages; a copy of the link shows the same, and names may be odd."""
    page = await visitor.open(site.port)
    odd = "a/../b,c'%2F\"<i>&?#"
    for channel in ("orders", odd):
        await join(page, channel)
    await site.mux.publish("orders", "for orders")
    await site.mux.publish(odd, "for the odd one")
    await say(page, "for the lobby")
    for channel, text in (("lobby", "for the lobby"), ("orders", "for orders"), (odd, "for the odd one")):
        await expect(bodies(page, channel)).to_have_text([text])
    again = await visitor.context.new_page()
    await again.goto(page.url)
    for channel in ("lobby", "orders", odd):
        await panel(again, channel).locator("[data-state=open]").wait_for()
    await again.evaluate("location.hash = '#orders'")
    await expect(again.locator(".panel")).to_have_count(1)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("", "A channel has a name."),
        ("two words", "Names are printable ASCII without space."),
        ("$stats", "Names that start with $ are reserved."),
        ("..", "No browser can ask for this name."),
    ],
)
async def test_a_name_that_cannot_be_is_told_at_once(site: Serving, visitor: Visitor, name: str, sentence: str) -> None:
    """Before anything is asked of the server."""
    page = await visitor.open(site.port)
    await page.get_by_label("Channel to join").fill(name)
    await page.keyboard.press("Enter")
    await expect(page.locator("#join-note")).to_have_text(sentence)
    await expect(page.locator(".panel")).to_have_count(1)


async def test_server_sent_events_where_a_websocket_does_not_pass(site: Serving, visitor: Visitor) -> None:
    """The feed goes on, both ways, and goes back to a WebSocket when one passes again."""
    async with blind_proxy(site.port) as proxy:
        visitor.expect("WebSocket connection to")
        page = await visitor.open(proxy.port)
        state = panel(page).locator(".state")
        await expect(state).to_have_text("SSE")
        assert proxy.refused == 3
        await say(page, "by POST")
        await expect(bodies(page)).to_have_text(["by POST"])
        await site.mux.publish("lobby", b"\x00\xff")
        await expect(bodies(page)).to_contain_text(["by POST", "00 ff"])
        await expect(panel(page).locator(".row.own .trip")).to_contain_text("ms")
        proxy.is_blind = False
        await page.evaluate("dispatchEvent(new Event('online'))")
        await expect(state).to_have_text("WebSocket")
        await expect(panel(page).locator(".row.mark").last).to_have_text(re.compile("by WebSocket from here on$"))
        await until(lambda: len(site.mux._core.hub) == 1)
        await say(page, "by WebSocket")
        await expect(bodies(page)).to_contain_text(["by POST", "00 ff", "by WebSocket"])
        await page.close()


async def test_a_restart_of_the_server_is_survived(
    redis_url: str, prefix: str, free_port: int, visitor: Visitor
) -> None:
    """The page comes back by itself; as the journal went with the server, it says that messages may be missing."""
    options = ("--redis-url", redis_url, "--prefix", prefix, "--port", str(free_port), "--drain-seconds", "0")
    with mux_serve(*options):
        page = await visitor.open(free_port)
        await say(page, "before")
        await expect(bodies(page).last).to_have_text("before")
        visitor.expect("WebSocket connection to", "net::ERR_", "status of 503", "status of 410")
    await expect(panel(page).locator(".row.mark.wrong")).to_have_count(1)
    with mux_serve(*options):
        await expect(panel(page).locator(".row.mark.wrong").last).to_contain_text("messages may have been missed")
        await expect(panel(page).locator(".row.mark").last).to_contain_text("back after")
        await say(page, "after")
        await expect(bodies(page).last).to_have_text("after")
        await page.close()


async def test_a_fast_feed_does_not_freeze_the_page(
    site: Serving, visitor: Visitor, publisher: redis.Redis, prefix: str
) -> None:
    """5,000 messages a second: frames go on being drawn, a field takes what is typed, and what is kept is bounded."""
    page = await visitor.open(site.port)
    field = panel(page).get_by_role("textbox")
    numbers = itertools.count()

    async def one_second() -> None:
        for _ in range(20):
            with publisher.pipeline(transaction=False) as batch:
                for n in itertools.islice(numbers, 250):
                    batch.publish(f"{prefix}lobby", f'{{"n":{n},"price":{n * 7 % 1000}}}')
                batch.execute()
            await asyncio.sleep(0.05)

    frames_before = await page.evaluate("muxPage.frames")
    for second in range(1, 4):
        flooding = asyncio.create_task(one_second())
        for letter in "mux ":
            await field.press_sequentially(letter)
        await flooding
        # A machine that takes longer for it gets the next second later.
        await page.wait_for_function("(all) => muxPage.received === all", arg=second * 5000)
    # Frozen, it would draw all of it in one frame, when it is over.
    assert await page.evaluate("muxPage.frames") - frames_before > 12
    await expect(field).to_have_value("mux " * 3)
    await expect(bodies(page).last).to_contain_text('"n": 14999')
    await expect(panel(page).locator(".row.mark").last).to_contain_text("more not drawn")
    assert await panel(page).locator(".row").count() <= 500


async def test_what_is_paused_comes_later_and_what_is_cleared_is_gone(site: Serving, visitor: Visitor) -> None:
    """Paused, the screen stands still; at most so many are kept."""
    page = await visitor.open(site.port)
    await say(page, "one")
    await expect(bodies(page)).to_have_text(["one"])
    await panel(page).get_by_role("button", name="Pause").click()
    for n in range(1100):
        await site.mux.publish("lobby", f"{n}")
    await page.wait_for_function("() => muxPage.received === 1101")
    resume = panel(page).get_by_role("button", name="Resume")
    await expect(resume).to_have_text("Resume, 1,100 new")
    await expect(bodies(page)).to_have_text(["one"])
    await resume.click()
    await expect(bodies(page).last).to_have_text("1099")
    await expect(panel(page).locator(".row")).to_have_count(500)
    await panel(page).get_by_role("button", name="Clear").click()
    await expect(panel(page).locator(".row")).to_have_count(0)
    await expect(panel(page).locator(".empty")).to_contain_text("Nothing yet")


HOSTILE = {
    "<script>document.title='pwned'</script>": "<script>document.title='pwned'</script>",
    "<img src=x onerror=\"document.title='pwned'\">": "<img src=x onerror=\"document.title='pwned'\">",
    "a\x00\x1b[31m\x7f\x9bb": "a\\x00\\x1b[31m\\x7f\\x9bb",
    "photo\u202egnp.exe \u2066x\u2069": "photo\\u202egnp.exe \\u2066x\\u2069",
    "zero\u200bwidth\ufeff\U000e0041": "zero\\u200bwidth\\ufeff\\u{e0041}",
    "\u2028\r\n": "\\u2028\\x0d\n",
    '{"<b>":"<img src=x onerror=alert(1)>\u202e","__proto__":1}': (
        '{"<b>": "<img src=x onerror=alert(1)>\\u202e", "__proto__": 1}'
    ),
    "[" * 30000: "[" * 280 + "… show all, 29.3 KiB",
}


async def test_hostile_payloads_do_no_harm(
    site: Serving, visitor: Visitor, publisher: redis.Redis, prefix: str
) -> None:
    """Tags are text, what cannot be seen is written as its number, and what is no UTF-8 is binary."""
    page = await visitor.open(site.port)
    for payload in HOSTILE:
        await site.mux.publish("lobby", payload)
    publisher.publish(f"{prefix}lobby", b"broken \xc3\x28 \xf0\x9f")
    await expect(bodies(page)).to_have_count(len(HOSTILE) + 1)
    shown = await bodies(page).evaluate_all("(all) => all.map((body) => body.textContent)")
    assert shown[:-1] == list(HOSTILE.values())
    assert "62 72 6f 6b 65 6e 20 c3" in shown[-1]
    assert await page.title() == "lobby · mux"
    assert await page.locator(".row script, .row img").count() == 0


async def test_a_line_of_64_kib_is_cut_and_shown_whole_when_asked_for(site: Serving, visitor: Visitor) -> None:
    """The layout stands, and nothing of the message is lost."""
    page = await visitor.open(site.port)
    for payload in ("x" * 65536, "\u202e" * 21845, b"\x00" * 65536, "\n" * 65536, "[" + "1," * 32766 + "12]"):
        await site.mux.publish("lobby", payload)
    await expect(bodies(page)).to_have_count(5)
    for left in (3, 2, 1, 0):
        await panel(page).get_by_role("button", name="show all").first.click()
        await expect(panel(page).get_by_role("button", name="show all")).to_have_count(left)
    await panel(page).locator("summary").click()
    wholes = panel(page).locator(".whole")
    await expect(wholes).to_have_count(5)
    lengths = await wholes.evaluate_all("(all) => all.map((whole) => whole.textContent.length)")
    assert lengths[0] == 65536
    assert lengths[1] == 21845 * len("\\u202e")
    assert lengths[3] == 65536
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await say(page, "still here")
    await expect(bodies(page).last).to_have_text("still here")


async def test_json_is_folded_and_no_number_of_it_rounded(site: Serving, visitor: Visitor) -> None:
    """Open, it has a line for every value, as it was written."""
    page = await visitor.open(site.port)
    await site.mux.publish("lobby", '{"id":12345678901234567890,"list":[1.50,null],"a":"b\\"c"}')
    fold = bodies(page).locator("details")
    await expect(fold.locator("pre")).to_have_count(0)
    await fold.locator("summary").click()
    await expect(fold.locator("pre")).to_have_text(
        '{\n  "id": 12345678901234567890,\n  "list": [\n    1.50,\n    null\n  ],\n  "a": "b\\"c"\n}'
    )
    await expect(fold.locator("pre .value")).to_have_text(["12345678901234567890", "1.50", "null"])


async def test_all_of_it_by_keyboard(site: Serving, visitor: Visitor) -> None:
    """Join, write, pause, clear, unfold, look at the code and leave without a mouse."""
    page = await visitor.open(site.port)
    keyboard = page.keyboard
    await keyboard.press("/")
    await keyboard.type("orders")
    await keyboard.press("Enter")
    await expect(panel(page, "orders").get_by_role("textbox")).to_be_focused()
    await panel(page, "orders").locator("[data-state=open]").wait_for()
    await keyboard.type('{"id":')
    await keyboard.press("Shift+Enter")
    await keyboard.type("7}")
    await keyboard.press("Enter")
    await expect(bodies(page, "orders")).to_have_text(['{"id": 7}'])
    await keyboard.press("Shift+Tab")
    await expect(panel(page, "orders").locator("summary")).to_be_focused()
    await keyboard.press("Enter")
    await expect(panel(page, "orders").locator("details pre")).to_have_text('{\n  "id": 7\n}')
    await keyboard.press("p")
    await expect(panel(page, "orders").get_by_role("button", name="Resume")).to_be_visible()
    await keyboard.press("p")
    await keyboard.press("c")
    await expect(bodies(page, "orders")).to_have_count(0)
    await keyboard.press("1")
    await expect(panel(page, "lobby").get_by_role("textbox")).to_be_focused()
    await panel(page, "lobby").get_by_role("button", name="Code").focus()
    await keyboard.press("Enter")
    await expect(page.get_by_role("dialog")).to_be_visible()
    await keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_be_hidden()
    await keyboard.press("x")
    await keyboard.press("Tab")
    await expect(page.locator(".panel")).to_have_count(1)


async def test_how_to_reach_a_channel_can_be_copied_and_works(site: Serving, visitor: Visitor) -> None:
    """The lines for curl do what they say, for a name with everything a shell understands."""
    await visitor.context.grant_permissions(["clipboard-read", "clipboard-write"])
    name = "it's/$(id)`\"&"
    page = await visitor.open(site.port)
    await join(page, name)
    await panel(page, name).get_by_role("button", name="Code").click()
    await page.get_by_role("button", name="Copy curl, to publish").click()
    await expect(page.get_by_role("button", name="Copy curl, to publish")).to_have_text("Copied")
    command = await page.evaluate("navigator.clipboard.readText()")
    async with site.connect("it%27s/$(id)%60%22&") as client:
        shell = await asyncio.create_subprocess_shell(command)
        assert await receive(client, 1) == ["hello"]
        assert await shell.wait() == 0
    await page.get_by_role("button", name="Close").last.click()
    await expect(bodies(page, name)).to_have_text(["hello"])


async def test_where_a_page_may_not_use_the_clipboard_it_copies_all_the_same(site: Serving, visitor: Visitor) -> None:
    """Without TLS a browser has no navigator.clipboard: what is copied is selected."""
    await visitor.context.add_init_script("delete Navigator.prototype.clipboard")
    page = await visitor.open(site.port)
    assert await page.evaluate("navigator.clipboard === undefined")
    await panel(page).get_by_role("button", name="Code").click()
    button = page.get_by_role("button", name="Copy curl, to publish")
    await button.click()
    await expect(button).to_have_text("Copied")
    command = await page.evaluate("getSelection().toString()")
    assert command == f"curl -d hello http://127.0.0.1:{site.port}/feed/lobby"
    await page.get_by_role("button", name="Close").last.click()
    field = panel(page).get_by_role("textbox")
    await field.press("Control+v")
    await expect(field).to_have_value(command)


async def test_a_message_that_is_too_large_stays_in_the_field(redis_url: str, prefix: str, visitor: Visitor) -> None:
    """The page knows the limit, so that the connection does not end for it."""
    async with serving(redis_url=redis_url, prefix=prefix, page=True, max_message_bytes=10) as site, visitor:
        page = await visitor.open(site.port)
        await say(page, "ü" * 6)
        await expect(panel(page).locator(".note")).to_have_text("This is 12 B; a message may have 10 B.")
        await expect(panel(page).get_by_role("textbox")).to_have_value("ü" * 6)
        await say(page, "ü" * 5)
        await expect(bodies(page)).to_have_text(["ü" * 5])


async def test_light_or_dark_is_kept_for_the_visit(site: Serving, visitor: Visitor) -> None:
    """The system's choice first, then the visitor's."""
    page = await visitor.open(site.port)
    light = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    await page.get_by_role("button", name="Theme").click()
    dark = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert dark != light
    await page.reload()
    assert await page.evaluate("getComputedStyle(document.body).backgroundColor") == dark


async def test_announcements_are_quiet(redis_url: str, prefix: str, visitor: Visitor) -> None:
    """Who comes and goes is seen, and is less than a message."""
    async with serving(redis_url=redis_url, prefix=prefix, page=True, announce=True) as site, visitor:
        page = await visitor.open(site.port)
        async with site.connect():
            await expect(panel(page).locator(".row.news")).to_have_count(2)
        await expect(panel(page).locator(".row.news").last).to_contain_text("has left")
        async with blind_proxy(site.port) as proxy:
            visitor.expect("WebSocket connection to")
            other = await visitor.open(proxy.port)
            async with site.connect():
                await expect(panel(other).locator(".row.news")).to_have_count(5)  # three of them from before it came
            await expect(panel(other).locator(".row.news").last).to_contain_text("has left")
            await other.close()


async def test_where_only_the_backend_publishes_there_is_no_field(
    redis_url: str, prefix: str, visitor: Visitor
) -> None:
    """The page shows what comes, and offers nothing that would be refused."""
    options: dict[str, Any] = {"page": True, "client_publish": False}
    async with serving(redis_url=redis_url, prefix=prefix, **options) as site, visitor:
        page = await visitor.open(site.port)
        await expect(panel(page).get_by_role("textbox")).to_have_count(0)
        await site.mux.publish("lobby", "from the backend")
        await expect(bodies(page)).to_have_text(["from the backend"])
        await panel(page).get_by_role("button", name="Code").click()
        await expect(page.get_by_text("feed.send")).to_have_count(0)
        await expect(page.get_by_role("button", name="Copy curl, to publish")).to_have_count(0)


@asynccontextmanager
async def an_app(redis_url: str, prefix: str, **options: Any) -> AsyncIterator[Serving]:
    """Serve somebody's app that has a page of its own."""
    app: Sanic[Any, Any] = Sanic(f"shop-{prefix[:-1]}", configure_logging=False)

    @app.get("/")
    async def home(request: Request) -> Any:
        return html("<title>shop</title><link rel=icon href=data:,>")

    async with serving(app=app, redis_url=redis_url, prefix=prefix, **options) as one:
        yield one


async def test_an_app_keeps_its_own_page(redis_url: str, prefix: str, visitor: Visitor) -> None:
    """In library mode nothing is at / that was not asked for."""
    async with an_app(redis_url, prefix) as shop:
        page = await visitor.context.new_page()
        await page.goto(f"http://127.0.0.1:{shop.port}/")
        assert await page.title() == "shop"


async def test_the_numbers_of_the_fleet_want_the_token(redis_url: str, prefix: str, visitor: Visitor) -> None:
    """The page asks for it, says what a wrong one is answered, and shows them; a channel is joined from there."""
    async with (
        serving(redis_url=redis_url, prefix=prefix, ops=True, page=True, inspect_token="open-sesame") as site,
        site.connect("orders"),
        visitor,
    ):
        visitor.expect("/stats)")  # a browser logs every refusal
        page = await visitor.open(site.port)
        token = page.get_by_label("Token", exact=True)
        for attempt in ("wrong-one", "no\u2013header", "open-sesame"):
            await expect(page.locator("#fleet-note")).to_contain_text("token")
            await expect(page.locator("#processes")).to_be_hidden()
            await token.fill(attempt)
            await token.press("Enter")
        await expect(page.locator("#processes tbody tr")).to_have_count(2)
        await expect(page.locator("#processes tr.total")).to_contain_text("1 process")
        await page.get_by_role("button", name="by subscribers").click()
        await page.get_by_role("button", name="orders", exact=True).click()
        await expect(panel(page, "orders").locator("[data-state=open]")).to_be_visible()


@pytest.mark.parametrize("channels", [(), ("orders", "a/b")])
async def test_a_link_with_the_token_shows_the_numbers(
    redis_url: str, prefix: str, visitor: Visitor, channels: tuple[str, ...]
) -> None:
    """The token leaves the address bar and the history, is sent in no URL, and stays with this tab alone."""
    urls: list[str] = []
    visitor.context.on("request", lambda request: urls.append(request.url))
    async with serving(redis_url=redis_url, prefix=prefix, ops=True, page=True) as site, visitor:
        page = await visitor.open(site.port, *channels, token=TOKEN)
        await expect(page.locator("#processes tr.total")).to_contain_text("1 process")
        base = f"http://127.0.0.1:{site.port}/"
        assert page.url == f"{base}#{','.join(channels or ('lobby',))}"
        await page.reload()
        await expect(page.locator("#processes tr.total")).to_contain_text("1 process")
        other = await visitor.open(site.port)
        await expect(other.locator("#fleet-note")).to_contain_text("token")
        await expect(other.locator("#processes")).to_be_hidden()
        await other.evaluate(f"location.hash = '#token={TOKEN}'")
        await expect(other.locator("#processes tr.total")).to_contain_text("1 process")
        assert other.url == f"{base}#lobby"
        await other.go_back()
        assert TOKEN not in other.url
        assert not any(TOKEN in url.partition("#")[0] for url in urls)
        for tab in (page, other):
            await tab.close()


async def test_in_somebodys_app_the_page_asks_for_no_numbers(site: Serving, visitor: Visitor) -> None:
    """They are not mounted there; the page says so and does not ask."""
    page = await visitor.open(site.port)
    await expect(page.locator("#fleet-note")).to_contain_text("does not tell its numbers")
    await expect(page.locator("#processes")).to_be_hidden()


async def test_nothing_is_wider_than_the_narrowest_phone(redis_url: str, prefix: str, visitor: Visitor) -> None:
    """360 pixels: with the longest name, which hides no state, hostile text, the fleet, and the ways to reach one."""
    async with serving(redis_url=redis_url, prefix=prefix, page=True, ops=True) as site, visitor:
        name = "x" * 255
        page = await visitor.open(site.port, "lobby", name, token=TOKEN)
        await page.set_viewport_size({"width": 360, "height": 640})
        for message in ("w" * 400, '{"' + "k" * 200 + '": 1}', b"\xff" * 100, "\u202e" * 50):
            await site.mux.publish(name, message)
        await expect(bodies(page, name)).to_have_count(4)
        await expect(page.locator("#busiest tbody tr")).to_have_count(2)
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360
        for button in ("Pause", "Clear", "Code", "Close"):
            box = await panel(page, name).get_by_role("button", name=button).bounding_box()
            assert box is not None
            assert 0 <= box["x"] <= box["x"] + box["width"] <= 360
        await panel(page, name).get_by_role("button", name="Code").click()
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360


PREFIXED = """
server {
    listen 127.0.0.1:{listen};
    location /mux/ {
        proxy_pass http://127.0.0.1:{port}/;
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection "upgrade";
        proxy_set_header X-Real-IP $remote_addr;
    }
}
"""

BARE = "server { listen 127.0.0.1:{listen}; location /mux/ { proxy_pass http://127.0.0.1:{port}/; } }"


@pytest.mark.skipif(NGINX is None, reason="no nginx on this machine")
@pytest.mark.parametrize(("block", "way"), [(PREFIXED, "WebSocket"), (BARE, "SSE")])
async def test_behind_a_prefix(
    redis_url: str, prefix: str, visitor: Visitor, free_port: int, tmp_path: Path, block: str, way: str
) -> None:
    """Everything is asked for under it, also of an nginx that was told nothing; the numbers want a token there."""
    visitor.expect("WebSocket connection to", "/feed/lobby)")
    async with serving(redis_url=redis_url, prefix=prefix, page=True, ops=True) as site, visitor:
        with nginx(block, free_port, site.port, tmp_path):
            await reachable(free_port)
            page = await visitor.open(free_port, path="/mux/")
            await expect(panel(page).locator(".state")).to_have_text(way)
            await site.mux.publish("lobby", "good morning")
            await expect(bodies(page)).to_have_text(["good morning"])
            await expect(page.locator("#fleet-note")).to_contain_text("token")
            await expect(page.locator("#where")).to_contain_text(f"127.0.0.1:{free_port}/mux")
            await panel(page).get_by_role("button", name="Code").click()
            await expect(page.locator("#reach pre").first).to_contain_text(f"127.0.0.1:{free_port}/mux/feed/lobby")
            await page.close()
