"""The script at /mux.js, as HTTP; what it does in a browser is tested in tests/browser."""

from __future__ import annotations

import gzip
from base64 import b64encode
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest

import mux.endpoints.script
from tests.support.requests import Answer, exchange, request
from tests.support.servers import Serving, serving

SOURCE = Path(mux.endpoints.script.__file__).with_name("mux.js").read_bytes()

MAX_BYTES = 6000
"""The whole answer, with its head, has at most so many bytes as a browser asks for it."""


@pytest.fixture
async def site(redis_url: str, prefix: str) -> AsyncIterator[Serving]:
    """Return a feed with the script and the page."""
    async with serving(redis_url=redis_url, prefix=prefix, page=True, sdk=True) as one:
        yield one


async def ask(port: int, *headers: str, method: str = "GET", path: str = "/mux.js") -> Answer:
    """Return the answer to a request for the script."""
    return await exchange(port, request(method, path, "Connection: close", *headers))


@pytest.mark.parametrize("accepted", [(), ("Accept-Encoding: gzip, deflate, br, zstd",)], ids=["silent", "browser"])
async def test_the_script_is_small_on_the_wire(site: Serving, accepted: tuple[str, ...]) -> None:
    """It travels in gzip, also to a client that does not say what it accepts, and is the file as it was written."""
    status, headers, body, head = await ask(site.port, *accepted)
    assert (status, headers["content-type"]) == (200, "text/javascript; charset=utf-8")
    assert (headers["content-encoding"], headers["vary"]) == ("gzip", "Accept-Encoding")
    assert gzip.decompress(body) == SOURCE
    assert len(head) + len(body) <= MAX_BYTES


@pytest.mark.parametrize("accepted", ["identity", "br", "gzip;q=0", ""])
async def test_a_client_that_takes_no_gzip_is_given_the_file(site: Serving, accepted: str) -> None:
    """As it was written; its ETag is another, for its bytes are."""
    _, headers, body, _ = await ask(site.port, f"Accept-Encoding: {accepted}")
    assert "content-encoding" not in headers
    assert body == SOURCE
    assert headers["etag"] != (await ask(site.port))[1]["etag"]


async def test_pages_of_all_origins_may_load_the_script_and_keep_it(site: Serving) -> None:
    """It has no secrets; a browser that has it is told so."""
    _, headers, _, _ = await ask(site.port)
    assert headers["access-control-allow-origin"] == "*"
    assert headers["cache-control"] == "no-cache"
    assert headers["x-content-type-options"] == "nosniff"
    status, _, body, _ = await ask(site.port, f"If-None-Match: {headers['etag']}")
    assert (status, body) == (304, b"")
    assert (await ask(site.port, method="HEAD"))[:1] == (200,)
    assert (await ask(site.port, method="POST"))[0] == 405


async def test_a_page_knows_the_script_by_its_hash(site: Serving) -> None:
    """The element has it, and the policy of the page; whatever else the host serves does not run."""
    _, headers, page, _ = await ask(site.port, path="/")
    known = f"sha256-{b64encode(sha256(SOURCE).digest()).decode()}"
    assert f'integrity="{known}"' in page.decode()
    assert f"'{known}'" in headers["content-security-policy"]
