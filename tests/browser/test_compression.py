"""A browser reads what is compressed once for all."""

from __future__ import annotations

import json

from tests.browser.conftest import Visitor
from tests.support.servers import serving

LONG = json.dumps([{"symbol": "ABC", "price": number} for number in range(1000)])

LISTEN = """
(url) => new Promise((resolve, reject) => {
  window.heard = {socket: [], stream: []};
  window.ends = 0;
  const stream = new EventSource(url);
  stream.onmessage = (event) => heard.stream.push(event.data);
  stream.onerror = () => { ends += 1; };
  stream.onopen = () => {
    window.socket = new WebSocket(url.replace("http", "ws"));
    socket.onmessage = (event) => heard.socket.push(event.data);
    socket.onopen = () => resolve(socket.extensions);
    socket.onerror = reject;
  };
})
"""

HEARD = "(count) => heard.socket.length === count && heard.stream.length === count"


async def test_both_kinds_of_clients_read_and_write_what_is_compressed(
    redis_url: str, prefix: str, visitor: Visitor
) -> None:
    """Small and large, from the page and from others; the end of a compressed stream is the end of any."""
    async with serving(redis_url=redis_url, prefix=prefix, compress=True, page=True) as site, visitor:
        page = await visitor.context.new_page()
        await page.goto(f"http://127.0.0.1:{site.port}/#aside")
        url = site.url(scheme="http")
        agreed = await page.evaluate(LISTEN, url)
        assert agreed == "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
        await page.evaluate("(text) => { socket.send('small'); socket.send(text); }", LONG)
        await page.wait_for_function(HEARD, arg=2)
        await site.mux.publish("lobby", LONG)
        await page.wait_for_function(HEARD, arg=3)
        texts = ["small", LONG, LONG]
        assert await page.evaluate("heard") == {"socket": texts, "stream": texts}
        told = "(url) => fetch(url, {headers: {Accept: 'application/json'}}).then((answer) => answer.json())"
        assert [one["text"] for one in (await page.evaluate(told, url))["messages"]] == texts
        visitor.expect("503")
        await site.mux.drain()
        await page.wait_for_function("ends > 0")
