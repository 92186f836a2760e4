"""The take-over: what it leans on in Sanic, and what it leaves behind."""

from __future__ import annotations

import asyncio
import gc
import ssl
import tempfile
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import trustme
from sanic import Request, Sanic, headers
from sanic.http import Http
from sanic.response import text
from sanic.server.protocols.http_protocol import HttpProtocol
from websockets.asyncio.client import connect, unix_connect
from websockets.exceptions import InvalidStatus

from mux import Mux
from mux.endpoints.takeover import (
    PRIVATE_NAMES,
    PRIVATE_NAMES_OF_HEADERS,
    PRIVATE_NAMES_OF_REQUEST,
    PRIVATE_NAMES_OF_STREAM,
)
from tests.support.event_streams import request
from tests.support.servers import (
    BOTH_LOOPS,
    PATIENCE_SECONDS,
    Serving,
    handshake,
    raw_client,
    receive,
    running,
    serving,
    until,
)

pytestmark = BOTH_LOOPS

OPENINGS = pytest.mark.parametrize("opening", [handshake, request], ids=["websocket", "event-stream"])
"""What is taken over the same way, whichever kind of client asks."""


async def test_private_names_in_use_are_those_of_sanic() -> None:
    """Fails first when Sanic changes what the take-over leans on."""
    slots = {name for cls in HttpProtocol.__mro__ for name in getattr(cls, "__slots__", ())}
    assert set(PRIVATE_NAMES) <= slots
    assert {"request_handler", "conn_info"} <= slots
    assert set(PRIVATE_NAMES_OF_STREAM) <= set(Http.__slots__)
    assert set(PRIVATE_NAMES_OF_REQUEST) <= set(Request.__slots__)
    assert all(hasattr(headers, name) for name in PRIVATE_NAMES_OF_HEADERS)
    assert "_asgi_lifespan" in Sanic.__slots__


async def test_nothing_of_sanic_stays_with_an_open_connection(feed: Serving) -> None:
    """No task, request or protocol object outlives the handshake."""
    before = _alive()
    async with raw_client(feed.port):
        await until(lambda: len(feed.mux._core.hub) == 1)
        await until(lambda: _alive() <= before)
        names = [task.get_coro().__qualname__ for task in asyncio.all_tasks()]  # type: ignore[union-attr]
        assert not [name for name in names if "connection_task" in name]


def _alive() -> set[int]:
    """Return the identities of Sanic's objects for connections; other tests may have left some."""
    gc.collect()
    return {id(thing) for thing in gc.get_objects() if isinstance(thing, HttpProtocol | Request)}


async def test_nothing_of_a_client_waits_for_the_collector(feed: Serving) -> None:
    """It comes, speaks and goes, and all that was made for it goes by its reference count.

    A request once held a method of itself: 22 objects a client, which the collector spent a tenth of the handshake
    on. And mux.serve.collector sets aside whatever stays, which nothing that is a cycle may do by the thousand.
    """
    async with raw_client(feed.port):
        pass  # what is made once, is made
    await until(lambda: not len(feed.mux._core.hub))
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for goodbye in (b"", b"\x88\x82\x00\x00\x00\x00\x03\xe8"):
            async with raw_client(feed.port) as client:
                client.send(b"\x81\x82\x00\x00\x00\x00hi")
                assert await client.read(4) == b"\x81\x02hi"
                client.send(goodbye)
            await until(lambda: not len(feed.mux._core.hub))
        gc.collect()
        left = [type(thing) for thing in gc.garbage]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert [kind for kind in left if kind.__module__.partition(".")[0] in ("mux", "sanic", "websockets")] == []


@OPENINGS
async def test_client_that_is_gone_before_the_answer_leaves_nothing(
    feed: Serving, opening: Callable[[int], bytes]
) -> None:
    """A request whose sender has vanished meanwhile is answered by nobody and registered nowhere."""

    @feed.app.on_request
    async def vanish(request: Request) -> None:
        request.transport.abort()  # type: ignore[attr-defined]

    reader, writer = await asyncio.open_connection("127.0.0.1", feed.port)
    writer.write(opening(feed.port))
    with suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), PATIENCE_SECONDS) == b""
    writer.close()
    assert len(feed.mux._core.hub) == 0


@OPENINGS
async def test_socket_that_was_full_before_is_a_slow_consumers(
    redis_url: str, prefix: str, opening: Callable[[int], bytes]
) -> None:
    """What an app has sent before counts: the transport has told Sanic that it is full, and tells nobody else."""
    app: Sanic[Any, Any] = Sanic(f"full-{prefix[:-1]}", configure_logging=False)

    @app.on_request
    async def fill(request: Request) -> None:
        request.transport.write(b"x" * 20_000_000)  # type: ignore[attr-defined]

    async with serving(app=app, redis_url=redis_url, prefix=prefix, max_unwritable_seconds=0.1) as feed:
        _, writer = await asyncio.open_connection("127.0.0.1", feed.port)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(opening(feed.port))
        await until(lambda: feed.mux._core.hub.evicted)
        writer.transport.abort()
        assert feed.mux._core.hub.evicted.total() == 1


async def test_tls(redis_url: str, prefix: str) -> None:
    """The feed works under Sanic's own TLS, and ends there as it should."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with serving(redis_url=redis_url, prefix=prefix, ssl=context) as feed:
        async with connect(feed.url(scheme="wss"), ssl=trusting) as client:
            await client.send("x" * 60000)
            assert await receive(client, 1) == ["x" * 60000]
            await client.close(4000, "bye")
            assert client.close_code == 4000
        await until(lambda: len(feed.mux._core.hub) == 0)


async def test_unix_socket(redis_url: str, prefix: str) -> None:
    """The feed works on a unix socket."""
    # Not in pytest's directory: the path of a unix socket has at most 107 bytes.
    directory = tempfile.TemporaryDirectory()
    app: Sanic[Any, Any] = Sanic(f"unix-{prefix[:-1]}", configure_logging=False)
    Mux(app, redis_url=redis_url, prefix=prefix, announce=False)
    path = f"{directory.name}/mux.sock"
    async with running(app, unix=path), unix_connect(path, "ws://localhost/feed/lobby") as client:
        await client.send("hi")
        assert await receive(client, 1) == ["hi"]
    directory.cleanup()


async def test_middleware_of_the_app_sees_the_request_and_may_refuse_it(redis_url: str, prefix: str) -> None:
    """The feed is a route like any other: what the app does to requests, it does to these."""
    app: Sanic[Any, Any] = Sanic(f"middleware-{prefix[:-1]}", configure_logging=False)
    seen: list[str] = []

    @app.on_request
    async def guard(request: Request) -> Any:
        seen.append(request.path)
        return None if request.args.get("key") == "secret" else text("no", 401)

    @app.get("/hello")
    async def hello(request: Request) -> Any:
        return text("hello")

    async with serving(app=app, redis_url=redis_url, prefix=prefix) as feed:
        with pytest.raises(InvalidStatus) as refused:
            await feed.connect("lobby")
        assert refused.value.response.status_code == 401
        async with feed.connect("lobby?key=secret") as client:
            await client.send("hi")
            assert await receive(client, 1) == ["hi"]
    assert seen == ["/feed/lobby", "/feed/lobby"]
