"""The API in somebody's own app, under Sanic's own protocol and under that for the public."""

from __future__ import annotations

import httpx
import pytest
from sanic import Sanic
from sanic.request import Request
from sanic.response import HTTPResponse, text

from mux import InvalidSetting, Mux
from mux.backend.routes import MAX_BODY_BYTES
from tests.backend.conftest import KEY
from tests.support.servers import serving


async def test_a_key_in_the_query_is_hidden(redis_url: str, prefix: str) -> None:
    """The app's middleware, and whoever logs, sees none of it; the app's own routes beside it stay."""
    app = Sanic("with-api", configure_logging=False)
    seen: list[str] = []

    @app.on_request
    async def look(request: Request) -> None:
        seen.append(request.url)

    async with (
        serving(app=app, redis_url=redis_url, prefix=prefix, api_key=(KEY,)) as feed,
        httpx.AsyncClient() as client,
    ):
        url = f"http://127.0.0.1:{feed.port}/api/publish?a=b&api_key={KEY}"
        answer = await client.post(url, content=b'{"channel": "a", "data": 1}')
        assert answer.json()["result"].keys() <= {"offset", "epoch"}
        assert seen == [f"http://127.0.0.1:{feed.port}/api/publish?a=b"]
        large = await client.post(url, content=b" " * (MAX_BODY_BYTES + 1))
        assert large.status_code == 413
        nobody = await client.post(url.partition("?")[0], content=b"{}")
        assert (nobody.status_code, nobody.content) == (401, b"")
        await client.post(url, content=b"{}")
        assert feed.mux._core.hub.refused == {"api_key": 1, "api_command": 1, "too_large": 1}


async def test_a_key_in_the_query_is_hidden_by_every_method(redis_url: str, prefix: str) -> None:
    """A GET is for no route, and was logged with the key; what the app serves there itself is left to it."""
    app = Sanic("with-api-and-others", configure_logging=False)
    seen: list[str] = []

    @app.on_request
    async def look(request: Request) -> None:
        seen.append(request.url.rpartition("/")[2])

    @app.get("/api/own/<name:str>")
    async def own(request: Request, name: str) -> HTTPResponse:
        return text(str(request.args.get("api_key")))

    async with (
        serving(app=app, redis_url=redis_url, prefix=prefix, api_key=(KEY,)) as feed,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{feed.port}/api") as client,
    ):
        assert (await client.get(f"/info?api_key={KEY}")).status_code == 405
        assert (await client.post(f"/a/b?api_key={KEY}")).status_code == 404
        assert (await client.get("/own/a?api_key=mine")).text == "mine"
    assert seen == ["info", "b", "a?api_key=mine"]


def test_an_app_has_one_api(redis_url: str) -> None:
    """Two feeds of an app would both be at /api."""
    app = Sanic("with-two-apis", configure_logging=False)
    Mux(app, redis_url=redis_url, api_key=(KEY,))
    with pytest.raises(InvalidSetting, match="one Mux of an app"):
        Mux(app, redis_url=redis_url, prefix="b:", path="/b", api_key=(KEY,))
    Sanic.unregister_app(app)


@pytest.mark.parametrize("key", ["", "elevenchars", "twelve chars", "zwölfzeichen"])
def test_a_key_that_cannot_be(redis_url: str, key: str) -> None:
    """It is not repeated, for it is a secret."""
    with pytest.raises(InvalidSetting, match="at least 12 printable ASCII characters") as refused:
        Mux(Sanic("with-a-key", configure_logging=False), redis_url=redis_url, api_key=(KEY, key))
    assert not key or key not in str(refused.value)
    Sanic.unregister_app(Sanic.get_app("with-a-key"))
