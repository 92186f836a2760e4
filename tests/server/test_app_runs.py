"""An app with a Mux under clients for tests, which run it once per request, and where it cannot be."""

from __future__ import annotations

import asyncio
import itertools
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from sanic import Blueprint, Request, Sanic
from sanic.response import HTTPResponse, empty
from sanic_testing.reusable import ReusableClient
from sanic_testing.testing import SanicASGITestClient, SanicTestClient

from mux import InvalidSetting, Mux
from tests.support.servers import TOKEN

_numbers = itertools.count()

App = tuple[Any, Mux]
"""Any: sanic-testing's clients want a Sanic with exactly the default types."""


@pytest.fixture
def shop(redis_url: str, prefix: str) -> Iterator[App]:
    """Return an app with a Mux and a route that publishes."""
    app = Sanic(f"runs{next(_numbers)}", configure_logging=False)
    mux = Mux(app, redis_url=redis_url, prefix=prefix, ops=True, announce=False, drain_seconds=0, inspect_token=TOKEN)

    @app.post("/order")
    async def order(request: Request) -> HTTPResponse:
        await mux.publish("orders", request.body)
        return empty()

    yield app, mux
    Sanic.unregister_app(app)


def _client(app: Any) -> SanicTestClient:
    """Return a client that runs an app once per request, and whose own listener may take what Sanic deprecates.

    Each new app puts a filter for Sanic's deprecations before those of pytest, so this one comes after it.
    """
    words = r".*Passing the loop argument to listeners.* Your listener 'SanicTestClient\._run_request'"
    warnings.filterwarnings("ignore", words, DeprecationWarning)
    return SanicTestClient(app, port=None)


async def _hear_oneself(websocket: Any) -> None:
    """Send a message and wait for it, as any client of the feed may."""
    await websocket.send("hello")
    assert await asyncio.wait_for(websocket.recv(), 10) == "hello"


def test_every_run_of_an_app_is_a_new_beginning(shop: App) -> None:
    """sanic-testing starts and stops the app for each request: the last is served like the first."""
    app, mux = shop
    client = _client(app)
    hubs = set()
    for _ in range(2):
        _, ready = client.get("/readyz")
        assert ready is not None
        assert (ready.status, ready.json["failing"]) == (200, [])
        _, posted = client.post("/order", content=b"7")
        assert posted is not None
        assert posted.status == 204
        client.websocket("/feed/lobby", mimic=_hear_oneself)
        _, numbers = client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
        assert numbers is not None
        assert "mux_connections 0.0" in numbers.text
        _, stats = client.get("/channels", headers={"Authorization": f"Bearer {TOKEN}"})
        assert stats is not None
        hubs.add(mux._core.hub)
    assert len(hubs) == 2


def test_callbacks_stay_over_runs(shop: App) -> None:
    """What the app has asked to be told of, it is told in every run."""
    app, mux = shop
    gaps: list[object] = []
    mux.on_gap(gaps.append)

    async def cut(request: Request) -> HTTPResponse:
        before = len(gaps)
        connection = mux._core.broker._connection
        assert connection is not None
        connection.abort()
        async with asyncio.timeout(10):
            while len(gaps) == before:
                await asyncio.sleep(0.01)
        return empty()

    app.add_route(cut, "/cut")
    client = _client(app)
    for _ in range(2):
        _, answer = client.get("/cut")
        assert answer is not None
        assert answer.status == 204
    assert len(gaps) == 2


def test_a_reusable_client_runs_an_app_once_for_all_requests(shop: App, free_port: int) -> None:
    """The other client of sanic-testing with a socket."""
    client = ReusableClient(shop[0], port=free_port)
    with client:
        for _ in range(2):
            _, answer = client.post("/order", content=b"7")
            assert answer.status == 204
    client._loop.close()


async def test_an_asgi_client_for_tests_runs_the_app_and_has_no_feed(
    shop: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The app's own routes publish as ever; a feed needs a socket, and the answer says so."""
    monkeypatch.setattr(Sanic, "__call__", Sanic.__call__)  # the client replaces it; put back in the end
    app, _ = shop
    client = SanicASGITestClient(app)
    for _ in range(2):
        _, posted = await client.post("/order", content=b"7")
        assert posted is not None
        assert posted.status == 204
        _, refused = await client.get("/feed/lobby", headers={"Accept": "text/event-stream"})
        assert refused is not None
        assert refused.status == 501
        assert "needs a socket" in refused.text
    await client.aclose()


async def test_an_asgi_server_is_refused_in_a_sentence(redis_url: str, prefix: str) -> None:
    """It would be ready and serve nobody, for it does not let go of a socket."""
    app: Sanic[Any, Any] = Sanic(f"asgi{next(_numbers)}", configure_logging=False)
    mux = Mux(app, redis_url=redis_url, prefix=prefix)
    heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    said.put_nowait({"type": "lifespan.startup"})
    server = asyncio.create_task(app({"type": "lifespan"}, said.get, heard.put))
    answer = await heard.get()
    assert answer["type"] == "lifespan.startup.failed"
    assert "an ASGI server keeps its sockets" in answer["message"]
    assert not mux._core.broker.is_connected
    said.put_nowait({"type": "lifespan.shutdown"})
    await server
    Sanic.unregister_app(app)


def test_a_mux_in_the_wrong_place_is_refused_in_a_sentence(shop: App, redis_url: str) -> None:
    """On a Blueprint, on an app that has one already, and on an app that has started."""
    with pytest.raises(InvalidSetting, match="takes a Sanic app, not a Blueprint"):
        Mux(Blueprint("part"), redis_url=redis_url)  # type: ignore[arg-type]  # the mistake that is made
    app, _ = shop
    with pytest.raises(InvalidSetting, match="has a Mux already"):
        Mux(app, redis_url=redis_url)


@pytest.mark.parametrize("event", ["before_server_start", "after_server_start"])
def test_a_mux_made_in_a_listener_is_refused_in_a_sentence(redis_url: str, event: str) -> None:
    """By then the app takes no routes any more."""
    app: Any = Sanic(f"late{next(_numbers)}", configure_logging=False)
    refusals: list[str] = []

    async def late(app: Any) -> None:
        with pytest.raises(InvalidSetting, match="make the Mux where the app is made") as refused:
            Mux(app, redis_url=redis_url)
        refusals.append(str(refused.value))

    app.register_listener(late, event)
    _client(app).get("/", allow_none=True)
    assert refusals
    Sanic.unregister_app(app)
