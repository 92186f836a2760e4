"""A real Chromium, and whoever sits before it."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright

from tests.support.servers import PATIENCE_SECONDS

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

# Whatever a browser does of its own accord is left out, so that every request is the page's.
FLAGS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-lcd-text",  # text without coloured edges: pictures are half as large
    "--no-first-run",
    *(["--no-sandbox"] if os.geteuid() == 0 else []),
]

TELL_OF_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) => console.error("policy: " + event.violatedDirective));
"""


class Visitor:
    """Somebody with a browser, and what it complained of meanwhile."""

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        self.complaints: list[str] = []
        self.hosts: set[str | None] = set()
        self._expected: list[str] = []
        context.on("console", self._on_console)
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        context.on("request", lambda request: self._on_url(request.url))
        context.on("page", lambda page: page.on("websocket", lambda socket: self._on_url(socket.url)))

    async def __aenter__(self) -> Self:
        """Stay for a block: where the server is younger than the visitor, it is not to stop before the visitor goes."""
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.context.close()

    def _on_console(self, message: ConsoleMessage) -> None:
        said = f"{message.text} ({message.location['url']})"
        if message.type in ("error", "warning") and not any(part in said for part in self._expected):
            self.complaints.append(said)

    def _on_url(self, url: str) -> None:
        if not url.startswith("data:"):
            self.hosts.add(urlsplit(url).hostname)

    def expect(self, *parts: str) -> None:
        """Take complaints that contain one of these for what they are: a browser logs every request that fails."""
        self._expected += parts

    async def open(self, port: int, *channels: str, path: str = "/", token: str = "") -> Page:
        """Open the page on some channels, perhaps with a token in the link, and wait until they are connected."""
        page = await self.context.new_page()
        parts = [*([f"token={token}"] if token else []), *channels]
        fragment = f"#{','.join(parts)}" if parts else ""
        await page.goto(f"http://127.0.0.1:{port}{path}{fragment}")
        for channel in channels or ("lobby",):
            await panel(page, channel).locator("[data-state=open]").wait_for()
        return page


def panel(page: Page, channel: str = "lobby") -> Any:
    """Return where a channel is on the page."""
    return page.get_by_role("region", name=f"Channel {channel}", exact=True)


@pytest.fixture(scope="session")
async def browser(anyio_backend: object) -> AsyncIterator[Browser]:
    """Return the Chromium of this machine."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        await browser.close()


@pytest.fixture
async def visitor(browser: Browser) -> AsyncIterator[Visitor]:
    """Return somebody whose browser, in the end, has complained of nothing and asked nobody but this machine."""
    context = await browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(PATIENCE_SECONDS * 1000)
    await context.add_init_script(TELL_OF_VIOLATIONS)
    visitor = Visitor(context)
    yield visitor
    await context.close()
    assert visitor.complaints == []
    assert visitor.hosts == {"127.0.0.1"}


@pytest.fixture
def pictures(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return where pictures of the page go: the folder given as --screenshots, or one that nobody looks at."""
    folder = Path(request.config.getoption("--screenshots") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
