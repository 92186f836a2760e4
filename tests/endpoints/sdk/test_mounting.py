"""SDK clients are served where an app or a setting says so."""

from __future__ import annotations

import pytest
from sanic import Sanic

from mux import Mux
from mux.errors import InvalidSetting
from mux.serve.application import create_app
from mux.settings.settings import Settings
from tests.support.requests import exchange, request
from tests.support.sdk import PATH
from tests.support.servers import serving


async def test_an_app_serves_them_when_it_is_told_to(redis_url: str, prefix: str) -> None:
    """Otherwise the path is the app's own."""
    async with serving(redis_url=redis_url, prefix=prefix) as served:
        assert (await exchange(served.port, request("GET", PATH))).status == 404
    async with serving(redis_url=redis_url, prefix=prefix, sdk=True) as served:
        assert (await exchange(served.port, request("GET", PATH))).status == 426


def test_one_feed_of_an_app_serves_them() -> None:
    """The SDKs have one path."""
    app = Sanic("two-feeds", configure_logging=False)
    Mux(app, redis_url="redis://localhost", sdk=True)
    with pytest.raises(InvalidSetting, match="serves SDK clients already"):
        Mux(app, redis_url="redis://localhost", path="/other", prefix="other:", sdk=True)


@pytest.mark.parametrize("is_on", [False, True])
def test_mux_serve_serves_them_unless_it_is_told_not_to(is_on: bool) -> None:
    """--no-sdk leaves the path to nobody."""
    app = create_app(Settings(redis_url="redis://localhost", sdk=is_on))
    assert any(route.path == PATH.removeprefix("/") for route in app.router.routes) == is_on
