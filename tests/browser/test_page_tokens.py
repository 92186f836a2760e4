"""The page where a feed wants tokens: it asks for one, keeps it for the tab, and asks again when it has ended."""

from __future__ import annotations

import time
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser.blind_proxy import blind_proxy
from tests.browser.conftest import Visitor, panel
from tests.browser.test_page import bodies, say
from tests.support.servers import serving
from tests.support.tokens import AUDIENCE, SECRET, secret_token

OPTIONS: dict[str, Any] = {
    "page": True,
    "token_key": SECRET,
    "token_audience": AUDIENCE,
    "user_subscribe": ("*",),
    "user_publish": ("*",),
}


async def give(page: Page, token: str) -> None:
    """Give the page a token when it asks for one."""
    field = page.get_by_label("Token for the channels")
    await field.fill(token)
    await field.press("Enter")


@pytest.mark.parametrize("way", ["WebSocket", "SSE"])
async def test_the_page_asks_for_a_token_and_for_the_next(
    redis_url: str, prefix: str, visitor: Visitor, way: str
) -> None:
    """By both ways; the token is in no URL of the page and is not kept beyond the tab."""
    visitor.expect("status of 401", "WebSocket connection to")
    async with serving(redis_url=redis_url, prefix=prefix, **OPTIONS) as site, blind_proxy(site.port) as proxy:
        proxy.is_blind = way == "SSE"
        page = await visitor.context.new_page()
        await page.goto(f"http://127.0.0.1:{proxy.port}/")
        await expect(page.locator("#key-note")).to_contain_text("token")
        token = secret_token()
        await give(page, token)
        state = panel(page).locator(".state")
        await expect(state).to_have_text(way)
        await expect(page.locator("#key-form")).to_be_hidden()
        await say(page, "let in")
        await expect(bodies(page)).to_have_text(["let in"])
        assert token not in page.url
        assert token not in await page.evaluate("JSON.stringify([{...localStorage}, document.cookie])")
        assert token not in await page.content()
        site.mux._core.feed.members.tick(time.time() + 3700)
        await expect(page.locator("#key-form")).to_be_visible()
        await give(page, secret_token("ada again"))
        await expect(state).to_have_text(way)
        await expect(panel(page).locator(".row.mark").last).to_contain_text("back after")
        await page.close()


async def test_a_token_that_cannot_be_one_is_told_at_once(redis_url: str, prefix: str, visitor: Visitor) -> None:
    """A browser would not offer it as a subprotocol."""
    visitor.expect("status of 401")
    async with serving(redis_url=redis_url, prefix=prefix, **OPTIONS) as site:
        page = await visitor.context.new_page()
        await page.goto(f"http://127.0.0.1:{site.port}/")
        await expect(page.locator("#key-note")).to_contain_text("a token is needed")
        await give(page, "two words")
        await expect(page.locator("#key-note")).to_have_text("A token has letters, digits and . _ ~ - alone.")
        await page.close()
