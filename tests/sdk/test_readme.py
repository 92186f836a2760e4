"""The clients of the page, as they stand there: in Python, in Go, and a file that a browser opens."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import async_playwright, expect

from tests.browser.conftest import CHROMIUM, FLAGS
from tests.sdk.conftest import Rig
from tests.sdk.kits import CLIENTS, GO, JAVASCRIPT, PYTHON
from tests.support.pages import ROOT, block
from tests.support.servers import PATIENCE_SECONDS

PAGE = ROOT / "mux/endpoints/sdk/README.md"


def example(beginning: str, rig: Rig) -> str:
    """Return a program of the page, for the server of the tests."""
    text = block(PAGE, beginning)
    assert "127.0.0.1:8000" in text
    return text.replace("127.0.0.1:8000", f"127.0.0.1:{rig.port}")


@asynccontextmanager
async def printing(*command: str | Path, env: dict[str, str]) -> AsyncIterator[asyncio.StreamReader]:
    """Run a program for as long as the block runs; gives what it prints."""
    process = await asyncio.create_subprocess_exec(*command, env=env, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            yield process.stdout
    finally:
        process.kill()
        await process.wait()


async def test_the_example_in_python(rig: Rig, tmp_path: Path) -> None:
    """It prints what it publishes."""
    if not PYTHON.is_there:
        pytest.skip(PYTHON.lack)
    program = tmp_path / "example.py"
    program.write_text(example("import asyncio", rig))
    async with printing(PYTHON.program, program, env=PYTHON.variables()) as said:
        assert await said.readline() == b"hello from Python\n"


async def test_the_example_in_go(rig: Rig, tmp_path: Path) -> None:
    """It prints what it publishes; what it is built with was fetched before."""
    if not GO.is_there:
        pytest.skip(GO.lack)
    for name in ("go.mod", "go.sum"):
        shutil.copy(CLIENTS / "centrifuge_go" / name, tmp_path)
    (tmp_path / "main.go").write_text(example("package main", rig))
    environment = os.environ | {"GOFLAGS": "-buildvcs=false", "GOTOOLCHAIN": "local", "GOPROXY": "off"}
    built = await asyncio.create_subprocess_exec("go", "build", "-C", tmp_path, "-o", "example", env=environment)
    assert await built.wait() == 0
    async with printing(tmp_path / "example", env=environment) as said:
        assert await said.readline() == b'"hello from Go"\n'


async def test_the_example_in_a_browser(rig: Rig, tmp_path: Path) -> None:
    """A file that is opened shows what is written in it and what anybody else publishes."""
    if not JAVASCRIPT.is_there:
        pytest.skip(JAVASCRIPT.lack)
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    file = tmp_path / "page.html"
    file.write_text(example("<!doctype html>", rig))
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = await browser.new_page()
        page.set_default_timeout(PATIENCE_SECONDS * 1000)
        # The package as it was fetched, in the place of the same file on the network.
        path = JAVASCRIPT.folder / "node_modules/centrifuge/dist/centrifuge.js"
        await page.route("https://unpkg.com/**", lambda route: route.fulfill(path=path))
        await page.goto(file.as_uri())
        await page.locator("input").fill("hello from a page")
        await page.locator("button").click()
        await expect(page.locator("li").first).to_have_text('"hello from a page"')
        await rig.publisher.publish("feed:lobby", '{"n": 1}')
        await expect(page.locator("li").nth(1)).to_have_text('{"n":1}')
        await browser.close()
