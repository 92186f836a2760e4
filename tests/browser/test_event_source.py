"""Server-Sent Events as the EventSource of a browser reads them."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Visitor
from tests.support.nginx import NGINX, nginx, reachable
from tests.support.resuming import CURL, CurlResumer, HttpxResumer, following, numbers
from tests.support.servers import Serving, is_replaced, mux_serve, receive, serving, until, workers

LISTEN = """
(url) => new Promise((resolve, reject) => {
  window.heard = [];
  const source = new EventSource(url);
  const bytes = (text) => Array.from(atob(text), (c) => c.charCodeAt(0));
  source.onopen = resolve;
  source.onerror = reject;
  source.onmessage = (event) => heard.push(event.data);
  source.addEventListener("binary", (event) => heard.push(bytes(event.data)));
})
"""

COME_BACK = """
(urls) => {
  window.streams = urls.map((url) => {
    const stream = { heard: [], missed: [], opened: 0 };
    const source = new EventSource(url);
    source.onopen = () => { stream.opened += 1; };
    source.onmessage = (event) => { const said = JSON.parse(event.data); stream.heard.push(said.data ?? said); };
    source.addEventListener("missed", (event) => stream.missed.push(event.data));
    return stream;
  });
}
"""

MESSAGES = 10_000
"""Each client is given at least so many messages while the servers are replaced."""

STREAMING = "server { listen 127.0.0.1:{listen}; location / { proxy_pass http://127.0.0.1:{port}; } }"

TEXTS = [
    "",
    " ",
    "one\ntwo",
    "\n",
    "\n\n",
    "ends\n",
    "\nbegins",
    " a space first",
    ": no comment",
    "data: no field",
    "a\n\nevent: b\ndata: c\n\n",
    "".join(map(chr, range(0x80))).replace("\r", ""),
    "ü \u2028 \u2029 \u0085 \ufeff \U0001f600",
    "x" * 65536,
]

ENDS = ["a\rb", "a\r\nb", "a\n\rb", "\r", "\r\n", "\r\r", "a\r\n\r\n"]
"""A stream knows lines, and not how they ended."""


def as_lines(text: str) -> str:
    """Return a text with its lines ended as an event stream ends them."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


async def listening(visitor: Visitor, site: Serving) -> Any:
    """Open an EventSource on the lobby, on a page of this host."""
    page = await visitor.context.new_page()
    await page.goto(f"http://127.0.0.1:{site.port}/#aside")
    await page.evaluate(LISTEN, f"http://127.0.0.1:{site.port}/feed/lobby")
    return page


async def test_every_byte_and_every_end_of_a_line(redis_url: str, prefix: str, visitor: Visitor) -> None:
    """Text is the text that was sent, with its lines ended by LF; binary is what was sent."""
    binary = [bytes([value]) for value in range(256)] + [b"", bytes(range(256)) * 256]
    async with serving(redis_url=redis_url, prefix=prefix, page=True) as site, visitor:
        page = await listening(visitor, site)
        async with site.connect() as client:
            for text in TEXTS + ENDS:
                await client.send(text)
            for payload in binary:
                await client.send(payload)
            await page.wait_for_function("(all) => heard.length >= all", arg=len(TEXTS + ENDS + binary))
            heard = await page.evaluate("heard")
            assert heard == [*TEXTS, *map(as_lines, ENDS), *map(list, binary)]
            assert await receive(client, len(heard)) == [*TEXTS, *ENDS, *binary]


async def test_event_source_and_websocket_hear_the_same_in_one_order(
    redis_url: str, prefix: str, visitor: Visitor
) -> None:
    """On one channel, whoever sends, by whichever way."""
    async with serving(redis_url=redis_url, prefix=prefix, page=True) as site, visitor:
        page = await listening(visitor, site)
        async with site.connect() as one, site.connect() as other:
            for n in range(200):
                await (one, other)[n % 2].send(f"{n}")
            await page.evaluate("fetch('/feed/lobby', {method: 'POST', body: 'by POST'})")
            heard = await receive(one, 201)
            assert await receive(other, 201) == heard
            await page.wait_for_function("() => heard.length >= 201")
            assert await page.evaluate("heard") == heard


@pytest.mark.skipif(NGINX is None or CURL is None, reason="no nginx or no curl on this machine")
async def test_every_message_once_while_everything_before_it_is_replaced(
    redis_url: str, prefix: str, visitor: Visitor, free_port: int, tmp_path: Path
) -> None:
    """nginx cuts streams, then worker after worker goes; clients of one channel and of several come back."""
    visitor.expect("ERR_INCOMPLETE_CHUNKED_ENCODING")
    options = ("--redis-url", redis_url, "--prefix", prefix, "--workers", "2", "--drain-seconds", "0.5")
    site = f"http://127.0.0.1:{free_port}/feed"
    urls = [f"{site}/lobby", f"{site}?channel=a&channel=b&channel=c&channel=quiet"]
    clients = [kind(url) for url in urls for kind in (HttpxResumer, CurlResumer)]
    channels = [f"{prefix}{name}" for name in ("lobby", "a", "b", "c")]
    with (
        mux_serve(*options, "--no-announce") as server,
        nginx(STREAMING, free_port, server.port, tmp_path, has_master=True) as proxy,
    ):
        await until(lambda: len(workers(server.pid)) == 2)
        await reachable(free_port)
        page = await visitor.context.new_page()
        await page.route("**/empty", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
        await page.goto(f"http://127.0.0.1:{free_port}/empty")
        await page.evaluate(COME_BACK, urls)

        async def all_heard(number: int) -> None:
            for client in clients:
                await client.until(number)
            await page.wait_for_function("(number) => streams.every(({ heard }) => heard.at(-1) >= number)", arg=number)

        async def all_came_back(times: int) -> None:
            await until(lambda: all(client.streams > times for client in clients))
            await page.wait_for_function("(times) => streams.every(({ opened }) => opened > times)", arg=times)

        async with following(*clients), numbers(redis_url, *channels, at_once=4) as said:
            await all_heard(1)
            first = said.published
            proxy.send_signal(signal.SIGHUP)
            await all_came_back(1)
            before = workers(server.pid)
            server.process.send_signal(signal.SIGHUP)
            await is_replaced(server.pid, before, 2)
            await all_came_back(2)
            await said.until(first + MESSAGES)
            await all_heard(said.published)
        streams = await page.evaluate("streams")
        heard = [*(stream["heard"] for stream in streams), *(client.heard for client in clients)]
        missed = [*(stream["missed"] for stream in streams), *(client.missed for client in clients)]
        await page.close()
    assert missed == [[]] * 6
    for numbers_heard in heard:
        assert numbers_heard == list(range(numbers_heard[0], numbers_heard[-1] + 1))
        assert len(numbers_heard) >= MESSAGES
