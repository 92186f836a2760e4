"""/stats and /channels over HTTP: who may ask, what may be asked, and what the answers are like."""

from __future__ import annotations

import asyncio
import tempfile
from typing import Any

import orjson
import pytest
from sanic import Sanic

from mux import Mux
from mux.fleet.report import RATED
from tests.servers import PATIENCE_SECONDS, mux_serve, run_mux, running, serving

SECRET = "correct-horse-battery"  # noqa: S105 - of a test


async def ask(
    port: int, path: str, *headers: str, method: str = "GET", host: str = "localhost"
) -> tuple[int, str, bytes]:
    """Return status, head and body of an answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *headers, "", ""]
    writer.write("\r\n".join(lines).encode())
    async with asyncio.timeout(PATIENCE_SECONDS):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return int(head.split(b" ", 2)[1]), head.decode().lower(), body


async def test_the_shape_of_stats(redis_url: str, prefix: str) -> None:
    """Every key of one process, the same in the total without who it is; never kept by a cache nor shown to pages."""
    async with serving(redis_url=redis_url, prefix=prefix, ops=True, allowed_origin=("*",)) as feed:
        async with feed.connect():
            status, head, body = await ask(feed.port, "/stats", "Origin: https://evil.com")
        assert status == 200
        assert "content-type: application/json" in head
        assert "cache-control: no-store" in head
        assert "access-control" not in head
        stats = orjson.loads(body)
        assert stats.keys() == {"processes", "total", "missing", "took_seconds"}
        (process,) = stats["processes"]
        assert process["connections"] == stats["total"]["connections"] == 1
        assert {f"{name}_per_second" for name in RATED} < process.keys()
        assert process.keys() - stats["total"].keys() == {"id", "host", "pid", "version"}
        assert stats["total"].keys() - process.keys() == {"processes"}
        assert stats["missing"] == []


async def test_the_shape_of_channels(redis_url: str, prefix: str) -> None:
    """And HEAD is as good as GET."""
    async with serving(redis_url=redis_url, prefix=prefix, ops=True) as feed, feed.connect("a"), feed.connect("b"):
        status, _, body = await ask(feed.port, "/channels?limit=1&sort=subscribers")
        found = orjson.loads(body)
        assert status == 200
        assert found.pop("took_seconds") < PATIENCE_SECONDS
        row = {"name": "a", "subscribers": 1, "messages_per_second": 0.0}
        assert found == {"channels": [row], "complete": False, "missing": []}
        status, _, body = await ask(feed.port, "/channels?prefix=b")
        found = orjson.loads(body)
        assert ([one["name"] for one in found["channels"]], found["complete"]) == (["b"], True)
        for path in ("/stats", "/channels"):
            status, head, body = await ask(feed.port, path, method="HEAD")
            assert (status, body) == (200, b"")
            assert "application/json" in head


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("limit=0", "limit must be a number from 1 to 1000"),
        ("limit=1001", "limit must be a number from 1 to 1000"),
        ("limit=", "limit must be a number from 1 to 1000"),
        ("limit=%C2%B2", "limit must be a number from 1 to 1000"),
        ("limit=1&limit=2", "limit is given more than once"),
        ("sort=size", "sort must be subscribers or rate"),
        ("prefix=%20", "prefix must be the beginning of a channel's name: up to 255 printable ASCII characters"),
        (
            "prefix=" + "a" * 256,
            "prefix must be the beginning of a channel's name: up to 255 printable ASCII characters",
        ),
        ("after=x", "unknown parameter 'after'; there are prefix, sort and limit"),
        ("token=x", "unknown parameter 'token'; there are prefix, sort and limit"),
    ],
)
async def test_a_parameter_that_cannot_be_is_one_sentence(
    redis_url: str, prefix: str, query: str, sentence: str
) -> None:
    """400, and it is counted."""
    async with serving(redis_url=redis_url, prefix=prefix, ops=True) as feed:
        status, _, body = await ask(feed.port, f"/channels?{query}")
        assert (status, body.decode()) == (400, f"{sentence}\n")
        assert feed.mux.hub.refused["query"] == 1


async def test_without_a_token_this_machine_alone_may_ask(redis_url: str, prefix: str) -> None:
    """Not a page of another site by DNS rebinding, nor who comes through a proxy."""
    async with serving(redis_url=redis_url, prefix=prefix, ops=True) as feed:
        for path in ("/stats", "/channels"):
            assert (await ask(feed.port, path))[0] == 200
            for status, head, body in (
                await ask(feed.port, path, host="evil.com"),
                await ask(feed.port, path, "X-Forwarded-For: 127.0.0.1"),
                await ask(feed.port, path, "X-Real-IP: 127.0.0.1"),
            ):
                assert status == 403
                assert b"--inspect-token" in body
                assert "cache-control: no-store" in head
        assert feed.mux.hub.refused["inspection"] == 6


async def test_with_a_token_everybody_needs_it(redis_url: str, prefix: str) -> None:
    """Whoever is on this machine as well, and behind any proxy; in the header and nowhere else."""
    async with serving(redis_url=redis_url, prefix=prefix, ops=True, inspect_token=SECRET) as feed:
        for headers in ((), ("Authorization: Bearer wrong-horse",), (f"Authorization: Basic {SECRET}",)):
            assert (await ask(feed.port, "/stats", *headers))[0] == 403
        assert (await ask(feed.port, f"/stats?token={SECRET}"))[0] == 403
        right = f"Authorization: Bearer {SECRET}"
        assert (await ask(feed.port, "/stats", right, "X-Forwarded-For: 10.0.0.1", host="mux.example.com"))[0] == 200


async def test_an_app_has_these_routes_only_when_it_asks(redis_url: str, prefix: str) -> None:
    """It asks with ops=True, and inspect=False takes them away again."""
    for ops, inspect in ((False, True), (True, False)):
        async with serving(redis_url=redis_url, prefix=prefix, ops=ops, inspect=inspect) as feed:
            for path in ("/stats", "/channels"):
                assert (await ask(feed.port, path))[0] == 404


async def test_over_a_unix_socket(redis_url: str, prefix: str) -> None:
    """Whoever may open the socket is on this machine."""
    app: Sanic[Any, Any] = Sanic(f"unix-{prefix[:-1]}", configure_logging=False)
    Mux(app, redis_url=redis_url, prefix=prefix, ops=True)
    # Not in pytest's directory: the path of a unix socket has at most 107 bytes.
    directory = tempfile.TemporaryDirectory()
    path = f"{directory.name}/mux.sock"
    async with running(app, unix=path):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET /stats HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        writer.close()
    directory.cleanup()


async def test_every_worker_answers_for_all(redis_url: str, prefix: str) -> None:
    """One port, two processes: whoever takes the request tells both."""
    with mux_serve("--redis-url", redis_url, "--prefix", prefix, "--workers", "2") as server:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                stats = orjson.loads((await ask(server.port, "/stats"))[2])
                if stats["total"]["processes"] == 2:
                    break
        assert len({one["pid"] for one in stats["processes"]}) == 2


def test_no_inspect_is_an_option_and_a_token_is_never_said(redis_url: str, prefix: str) -> None:
    """A token that is too short is refused without being repeated."""
    done = run_mux("serve", "--port", "0", "--redis-url", redis_url, "--inspect-token", "abc1234")
    assert done.returncode == 2
    assert done.stderr == "mux: inspect_token must be at least 8 printable ASCII characters without space\n"
