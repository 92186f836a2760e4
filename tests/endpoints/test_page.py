"""The page at /, as HTTP; what it does in a browser is tested in tests/browser."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import AsyncIterator
from hashlib import sha256

import pytest

from mux.version import __version__
from tests.support.requests import Answer, exchange, request
from tests.support.servers import Serving, mux_serve, serving


@pytest.fixture
async def site(redis_url: str, prefix: str) -> AsyncIterator[Serving]:
    """Return a feed with the page."""
    async with serving(redis_url=redis_url, prefix=prefix, page=True) as one:
        yield one


async def ask(port: int, *headers: str, method: str = "GET") -> Answer:
    """Return the answer to a request for the page."""
    return await exchange(port, request(method, "/", "Connection: close", *headers))


async def test_the_policy_allows_the_one_script_and_the_one_style(site: Serving) -> None:
    """By their hashes; nothing else may run, be loaded, frame the page or be sent to."""
    status, headers, body, _ = await ask(site.port)
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert policy["connect-src"] == "'self'"
    for element in (b"script", b"style"):
        (text,) = re.findall(b"<%b>(.*?)</%b>" % (element, element), body, re.DOTALL)
        assert policy[f"{element.decode()}-src"] == f"'sha256-{b64encode(sha256(text).digest()).decode()}'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


async def test_the_page_is_whole_and_fetches_nothing(site: Serving, prefix: str) -> None:
    """It names its version and prefix, and has no attribute that would load, run or style something."""
    _, _, body, _ = await ask(site.port)
    page = body.decode()
    assert f'<meta name="mux-version" content="{__version__}">' in page
    assert f'<meta name="mux-prefix" content="{prefix}">' in page
    assert not re.findall(r"<[^>]+ (?:src|style|on\w+)=", page)
    assert re.findall(r'<[^>]+ href="([^"#]{5})', page) == ["data:"]
    assert "innerHTML" not in page.replace("no innerHTML here", "")


async def test_a_browser_that_has_the_page_is_told_so(site: Serving) -> None:
    """By its ETag, alone or among others, weak or not; and HEAD is answered as GET, without the page."""
    status, headers, body, _ = await ask(site.port, method="HEAD")
    assert (status, body) == (200, b"")
    etag = headers["etag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}'):
        status, headers, body, _ = await ask(site.port, f"If-None-Match: {known}")
        assert (status, body, headers["etag"]) == (304, b"", etag)
    assert (await ask(site.port, 'If-None-Match: "other"'))[0] == 200


async def test_nothing_else_is_answered(site: Serving) -> None:
    """The page is read."""
    assert (await ask(site.port, method="POST"))[0] == 405


async def test_a_prefix_is_no_html(redis_url: str) -> None:
    """Whatever an operator calls the fleet, it is a value of an attribute."""
    async with serving(redis_url=redis_url, prefix='"><script>{version}</script>', page=True) as site:
        _, _, body, _ = await ask(site.port)
        assert b'content="&quot;&gt;&lt;script&gt;{version}&lt;/script&gt;"' in body
        assert body.count(b"<script>") == 1


async def test_an_app_has_no_page_unless_it_asks(redis_url: str, prefix: str) -> None:
    """What is at / is the app's."""
    async with serving(redis_url=redis_url, prefix=prefix) as site:
        assert (await ask(site.port))[0] == 404


@pytest.mark.parametrize(("option", "status"), [("--page", 200), ("--no-page", 404)])
async def test_the_server_has_a_page_and_says_where(redis_url: str, prefix: str, option: str, status: int) -> None:
    """Unless it was told not to."""
    with mux_serve("--redis-url", redis_url, "--prefix", prefix, option) as server:
        assert (await ask(server.port))[0] == status
        line = f"Open http://127.0.0.1:{server.port}/ in a browser"
        assert (line in server.welcome) is (status == 200)
