"""Mux as a part of somebody's app."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from sanic import Request, Sanic
from sanic.response import empty, json
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

import mux
from mux import BrokerUnavailable, InvalidChannel, InvalidSetting, MessageTooLarge, Mux, Settings
from mux.serve.listening import listening_socket
from tests.broker.redis_processes import redis_process
from tests.support.servers import BOTH_LOOPS, PATIENCE_SECONDS, TOKEN, Serving, receive, running, serving, until


@pytest.mark.parametrize(
    ("message", "heard"),
    [
        ("hi", "hi"),
        (b"hi", b"hi"),
        (bytearray(b"hi"), b"hi"),
        (memoryview(b"hi"), b"hi"),
        ({"id": 7}, '{"id":7}'),
        ([1, None, "ü"], '[1,null,"ü"]'),
        (None, "null"),
    ],
)
async def test_publish_takes_text_bytes_and_anything_json_has(feed: Serving, message: object, heard: object) -> None:
    """Str is text, bytes are binary, anything else is its JSON as text."""
    async with feed.connect("orders") as client:
        await feed.mux.publish("orders", message)
        assert await receive(client, 1) == [heard]


async def test_publish_checks_what_it_is_given(feed: Serving) -> None:
    """The app gets an exception where a client would get a close code."""
    with pytest.raises(InvalidChannel):
        await feed.mux.publish("no spaces", "hi")
    with pytest.raises(MessageTooLarge, match="65537"):
        await feed.mux.publish("orders", "x" * 65537)
    for message in (object(), "\ud800", {"half": "\ud800"}):
        with pytest.raises(TypeError):
            await feed.mux.publish("orders", message)


async def test_publish_from_a_handler_of_the_app(redis_url: str, prefix: str) -> None:
    """The use that the library is for: a request comes in, and the feed hears of it."""
    app: Sanic[Any, Any] = Sanic(f"shop-{prefix[:-1]}", configure_logging=False)

    @app.post("/order")
    async def order(request: Request) -> Any:
        await serving_app.mux.publish("orders", request.json)
        return json({"ok": True})

    async with (
        serving(app=app, redis_url=redis_url, prefix=prefix) as serving_app,
        serving_app.connect("orders") as one,
    ):
        _, writer = await asyncio.open_connection("127.0.0.1", serving_app.port)
        writer.write(b'POST /order HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n{"id":7}')
        assert await receive(one, 1) == ['{"id":7}']
        writer.close()


@BOTH_LOOPS
async def test_an_app_may_be_served_by_the_protocol_that_faces_the_public(redis_url: str, prefix: str) -> None:
    """Requests are read strictly before Sanic sees them; middleware, feeds and the app's own WebSockets stay."""
    app: Sanic[Any, Any] = Sanic(f"public-{prefix[:-1]}", configure_logging=False)
    feed = Mux(app, redis_url=redis_url, prefix=prefix, announce=False)
    assert mux.http_protocol is feed.http_protocol

    @app.on_request
    async def guard(request: Request) -> Any:
        return empty(403) if feed.channel_of(request) == "closed" else None

    @app.websocket("/own")  # type: ignore[untyped-decorator]
    async def own(_: Request, ws: Any) -> None:
        await ws.send("of the app")

    async def post(channel: str, rest: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"POST /feed/{channel} HTTP/1.1\r\nHost: x\r\n".encode() + rest)
        writer.write_eof()
        async with asyncio.timeout(PATIENCE_SECONDS):
            answer = await reader.read()
        writer.close()
        return answer[9:12]

    with listening_socket("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        async with (
            running(app, sock=sock, protocol=feed.http_protocol),
            connect(f"ws://127.0.0.1:{port}/feed/lobby") as client,
            connect(f"ws://127.0.0.1:{port}/own") as other,
        ):
            assert await receive(other, 1) == ["of the app"]
            assert (
                await post("lobby", b"Transfer-Encoding: Chunked\r\n\r\n2\r\nhi\r\n0\r\nTrailer: x\r\n\r\n") == b"204"
            )
            assert await post("lobby", b"Content-Length : 2\r\n\r\nhi") == b"400"
            assert await post("clos%65d", b"Content-Length: 2\r\n\r\nhi") == b"403"
            with pytest.raises(InvalidStatus):
                await connect(f"ws://127.0.0.1:{port}/feed/%63losed")
            assert await receive(client, 1) == ["hi"]


async def test_two_feeds_of_one_app_know_nothing_of_each_other(redis_url: str, prefix: str) -> None:
    """Each has a path, Redis channels, clients and callbacks of its own; a guard asks the one it guards."""
    app: Sanic[Any, Any] = Sanic(f"two-{prefix[:-1]}", configure_logging=False)
    options: Any = {"redis_url": redis_url, "announce": False, "drain_seconds": 0, "inspect_token": TOKEN}
    one = Mux(app, prefix=prefix, ops=True, page=True, path="/one/feed", **options)
    two = Mux(app, Settings(prefix=f"2{prefix}", **options), path="/two")
    guarded: list[tuple[str | None, str | None, str]] = []

    @app.on_request
    async def guard(request: Request) -> None:
        guarded.append((one.channel_of(request), two.channel_of(request), request.match_info.get("channel", "")))

    with listening_socket("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        async with running(app, sock=sock), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            async with (
                connect(f"ws://127.0.0.1:{port}/one/feed/lob%62y") as first,
                connect(f"ws://127.0.0.1:{port}/two/lobby") as second,
            ):
                assert guarded == [("lobby", None, "lobby"), (None, "lobby", "lobby")]
                await first.send("one")
                assert (await http.post("/two/lobby", content=b"two")).status_code == 204
                await one.publish("lobby", "1")
                await two.publish("lobby", "2")
                assert await receive(first, 2) == ["one", "1"]
                assert await receive(second, 2) == ["two", "2"]
                assert (await http.get("/feed/lobby")).status_code == 404
                assert 'name="mux-path" content="one/feed"' in (await http.get("/")).text
                numbers = (await http.get("/stats", headers={"Authorization": f"Bearer {TOKEN}"})).json()
                assert numbers["total"]["connections"] == 1
                closed = [asyncio.create_task(client.wait_closed()) for client in (first, second)]
                await asyncio.gather(one.drain(), two.drain(), *closed)
            assert {first.close_code, second.close_code} == {1001}


@pytest.mark.parametrize("path", ["", "/", "feed", "/feed/", "/<feed>", "//feed", "/a b"])
def test_a_path_that_cannot_be_one_is_refused_in_a_sentence(path: str) -> None:
    """A slash at its end would be doubled, and angle brackets mean something to Sanic."""
    app: Sanic[Any, Any] = Sanic("path", configure_logging=False)
    try:
        with pytest.raises(InvalidSetting, match=r"it must be like '/feed'"):
            Mux(app, redis_url="redis://h", path=path)
    finally:
        Sanic.unregister_app(app)


@pytest.mark.parametrize("other", [{"path": "/feed", "prefix": "b:"}, {"path": "/b", "prefix": "a:"}])
def test_two_feeds_that_would_be_one_are_refused_in_a_sentence(other: dict[str, Any]) -> None:
    """Two on one path cannot both be asked, and two on the same Redis channels are one feed with two connections."""
    app: Sanic[Any, Any] = Sanic("same", configure_logging=False)
    try:
        Mux(app, redis_url="redis://h", prefix="a:")
        with pytest.raises(InvalidSetting, match=r"has a Mux already .* of its own"):
            Mux(app, redis_url="redis://h", **other)
    finally:
        Sanic.unregister_app(app)


@BOTH_LOOPS
async def test_app_starts_without_redis_and_publishes_when_it_is_there(free_port: int, tmp_path: Path) -> None:
    """A Redis that is late, or away, does not keep an app from starting, nor from publishing later."""
    redis_url = f"redis://127.0.0.1:{free_port}"
    async with serving(redis_url=redis_url, max_held_seconds=0) as feed, feed.connect("orders") as client:
        with pytest.raises(BrokerUnavailable):
            await feed.mux.publish("orders", "too early")
        with pytest.raises(BrokerUnavailable, match="was not sent"):
            await feed.mux.publish("orders", "now or not at all", timeout=0)
        with redis_process(tmp_path, free_port):
            await until(lambda: feed.mux._core.broker.is_connected)
            await feed.mux.publish("orders", "hi")
            assert await receive(client, 1) == ["hi"]


async def test_settings_come_from_one_place() -> None:
    """Either a Settings or its fields, and a Redis in any case."""
    app: Sanic[Any, Any] = Sanic("settings", configure_logging=False)
    try:
        with pytest.raises(InvalidSetting, match="redis_url"):
            Mux(app)
        with pytest.raises(InvalidSetting, match="not both"):
            Mux(app, Settings(redis_url="redis://h"), port=1)
        with pytest.raises(InvalidSetting, match="unknown setting 'colour'"):
            Mux(app, redis_url="redis://h", colour="red")
    finally:
        Sanic.unregister_app(app)


@BOTH_LOOPS
async def test_nothing_is_left_running_after_the_app_has_stopped(redis_url: str, prefix: str) -> None:
    """Every task and timer has an owner that ends it."""
    before = asyncio.all_tasks()
    async with serving(redis_url=redis_url, prefix=prefix) as feed, feed.connect():
        pass
    assert asyncio.all_tasks() == before
    assert feed.mux._core._timer is None
    await feed.mux._core.aclose()
