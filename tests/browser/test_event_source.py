"""Server-Sent Events as the EventSource of a browser reads them."""

from __future__ import annotations

from typing import Any

from tests.browser.conftest import Visitor
from tests.support.servers import Serving, receive, serving

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
