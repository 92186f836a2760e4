"""Pictures of the page: a test that it can be drawn, and where those of the README come from.

`pytest --no-cov tests/browser/test_pictures.py --screenshots .github` takes them anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Literal

import pytest
from PIL import Image
from playwright.async_api import Browser, Page, expect

from tests.browser.conftest import panel
from tests.support.servers import PATIENCE_SECONDS, TOKEN, ServerProcess, mux_serve

expect.set_options(timeout=PATIENCE_SECONDS * 1000)

CHANNELS = ("lobby", "prices/eur", "orders")

CHAT = ("good morning", "is the feed of prices up?", "it is: 12 a second")

PRICES = [f'{{"pair":"EURUSD","bid":1.09{n % 37 + 10},"ask":1.09{n % 37 + 12},"n":{n}}}' for n in range(14)]

ORDERS: list[str | bytes] = [
    '{"id":7001,"lines":[{"sku":"A-11","n":2},{"sku":"C-4","n":1}],"paid":true}',
    '{"id":7002,"lines":[{"sku":"B-07","n":12}],"paid":false}',
    bytes.fromhex("89504e470d0a1a0a0000000d49484452") + b"\x00\x00\x01\x90",
    "order 7003 waits for <b>stock</b>, see photo\u202egnp.exe",
    "log: " + "0123456789abcdef " * 40,
    '{"id":7004,"lines":[{"sku":"A-11","n":1}],"paid":true}',
]


@pytest.fixture(scope="module")
def server(redis_url: str) -> Iterator[ServerProcess]:
    """Return a server as `mux` alone starts it, but for a second process."""
    with mux_serve("--redis-url", redis_url, "--workers", "2") as one:
        yield one


async def fill(page: Page, server: ServerProcess) -> None:
    """Let something pass on every channel that the page shows."""
    for text in CHAT:
        field = panel(page, "lobby").get_by_role("textbox")
        await field.fill(text)
        await field.press("Enter")
    for channel, messages in (("prices/eur", PRICES), ("orders", ORDERS)):
        async with server.connect(channel) as client:
            for message in messages:
                await client.send(message)
    await expect(panel(page, "lobby").locator(".row.own")).to_have_count(len(CHAT))
    await expect(panel(page, "orders").locator(".row .body").last).to_contain_text("has left")
    if await panel(page, "prices/eur").count():
        await expect(panel(page, "prices/eur").locator(".row .body").last).to_contain_text("has left")
    await panel(page, "orders").locator("summary").first.click()
    # The second in which all of this came is over: it is in the charts, and the fleet has counted it.
    await page.wait_for_function("() => [...panels.open.values()].every((panel) => panel.chart.rates.some(Boolean))")
    open_channels = await page.locator(".panel").count()
    await expect(page.locator("#busiest tbody tr")).to_have_count(open_channels)
    await expect(page.locator("#processes tr.total td").nth(2)).to_have_text(str(open_channels))


@pytest.mark.parametrize(
    ("name", "scheme", "width", "height", "channels"),
    [
        ("page", "light", 1280, 800, CHANNELS),
        ("page-dark", "dark", 1280, 800, CHANNELS),
        ("page-phone", "light", 390, 844, ("lobby", "orders")),
    ],
)
async def test_the_page_is_drawn(
    browser: Browser,
    server: ServerProcess,
    pictures: Path,
    name: str,
    scheme: Literal["light", "dark"],
    width: int,
    height: int,
    channels: tuple[str, ...],
) -> None:
    """Nothing is wider than the window, in light, in dark and on a phone."""
    context = await browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    page = await context.new_page()
    await page.goto(f"http://127.0.0.1:{server.port}/#{','.join([f'token={TOKEN}', *channels])}")
    for channel in channels:
        await panel(page, channel).locator("[data-state=open]").wait_for()
    await fill(page, server)
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    drawn = await page.screenshot(full_page=width < 760)
    picture = Image.open(BytesIO(drawn)).convert("RGB")
    assert len(picture.getcolors(1 << 24) or ()) > 16, "there is nothing on it"
    # The page has few colours, and a README is quick to load.
    picture.quantize(96, dither=Image.Dither.NONE).save(pictures / f"{name}.png", optimize=True)
    assert (pictures / f"{name}.png").stat().st_size < 150_000
    await context.close()
