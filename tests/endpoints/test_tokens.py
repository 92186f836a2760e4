"""What a token lets a client do, by every way in, and where no token is ever seen."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from sanic import Request, Sanic
from sanic.response import HTTPResponse

from tests.doorstep.conftest import Serve, Served, serve
from tests.support.key_server import key_server
from tests.support.requests import Answer, exchange, opened, request
from tests.support.servers import AUTHORIZATION, PATIENCE_SECONDS, handshake, raw_client, receive, serving, until
from tests.support.tokens import AUDIENCE, SECRET, key_file, secret_token, token, wrong_tokens

__all__ = ["serve"]

STREAM = "Accept: text/event-stream"
JSON = "Accept: application/json"
PAGE = "Origin: https://app.example.com"

Way = Callable[[str, str | None], bytes]
"""Makes a request for a channel with a token."""


def _fields(token: str | None, *, place: str) -> tuple[str, ...]:
    return () if token is None else (place.format(token),)


def _target(channel: str, token: str | None) -> str:
    return channel if token is None else f"{channel}?token={token}"


BEARER = "Authorization: Bearer {}"
PAIR = "Sec-WebSocket-Protocol: bearer, {}"
COOKIE = "Cookie: a=b; session={}"

WAYS: dict[str, tuple[int, Way]] = {
    "WebSocket, field": (101, lambda channel, t: handshake(80, channel, *_fields(t, place=BEARER))),
    "WebSocket, pair": (101, lambda channel, t: handshake(80, channel, *_fields(t, place=PAIR))),
    "WebSocket, query": (101, lambda channel, t: handshake(80, _target(channel, t))),
    "WebSocket, cookie": (101, lambda channel, t: handshake(80, channel, PAGE, *_fields(t, place=COOKIE))),
    "stream, field": (200, lambda channel, t: request("GET", f"/feed/{channel}", STREAM, *_fields(t, place=BEARER))),
    "stream, query": (200, lambda channel, t: request("GET", f"/feed/{_target(channel, t)}", STREAM)),
    "stream, cookie": (
        200,
        lambda channel, t: request("GET", f"/feed/{channel}", STREAM, PAGE, *_fields(t, place=COOKIE)),
    ),
    "JSON, field": (200, lambda channel, t: request("GET", f"/feed/{channel}", JSON, *_fields(t, place=BEARER))),
    "JSON, query": (200, lambda channel, t: request("GET", f"/feed/{_target(channel, t)}", JSON)),
    "POST, field": (
        204,
        lambda channel, t: request("POST", f"/feed/{channel}", *_fields(t, place=BEARER), body=b"hi"),
    ),
    "POST, query": (204, lambda channel, t: request("POST", f"/feed/{_target(channel, t)}", body=b"hi")),
}
"""Every way in, with the status of the answer to who may come in."""


class Table:
    """A server that knows one key, and what is captured of it.

    Every request comes from an address of its own: only so many signatures are checked for each.
    """

    def __init__(self, served: Served) -> None:
        self.served = served
        self.tokens: list[str] = []
        self.refused: dict[str, int] = {}
        self._requests = 0

    async def ask(self, way: Way, channel: str, token: str | None) -> Answer:
        """Send a request with a token, and take note of the token."""
        self._requests += 1
        asked = way(channel, token).replace(
            b"Host:", b"X-Real-IP: 10.0.%d.%d\r\nHost:" % divmod(self._requests, 256), 1
        )
        if token:
            self.tokens.append(token)
        before = dict(self.served.hub.refused)
        async with opened(self.served.port, asked) as (reader, head):
            status, *lines = head.split("\r\n")[:-2]
            fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            body = await reader.readexactly(int(fields.get("content-length", "0")))
        after = self.served.hub.refused
        self.refused = {reason: after[reason] - before.get(reason, 0) for reason in after}
        self.refused = {reason: count for reason, count in self.refused.items() if count}
        return Answer(int(status.split()[1]), fields, body, head)


@pytest.mark.parametrize("key", ["of a file", "at a URL"])
async def test_every_way_in_takes_tokens(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], key: str
) -> None:
    """The same answer by every way to each kind of token, one count, and no token in anything that is written."""
    caplog.set_level(logging.DEBUG)
    for name in ("mux", "sanic", "sanic.root", "sanic.error", "sanic.access", "sanic.server", "websockets"):
        caplog.set_level(logging.DEBUG, logger=name)
    options: dict[str, Any] = {
        "token_audience": AUDIENCE,
        "token_cookie": "session",
        "allowed_origin": ("https://app.example.com",),
    }
    wrong_ones = wrong_tokens("mine")
    async with AsyncExitStack() as stack:
        if key == "at a URL":
            options["token_jwks_url"] = (await stack.enter_async_context(key_server())).url
            wrong_ones["of an unknown key"] = token(kid="unknown", subscribe=("mine",), publish=("mine",))
        else:
            options["token_key"] = key_file(tmp_path)
        served = await stack.enter_async_context(serve(**options))
        served.app.config.REAL_IP_HEADER = "x-real-ip"
        table = Table(served)
        good = token(subscribe=("mine", "more.*"), publish=("mine", "more.*"))
        for name, (status, way) in WAYS.items():
            for channel in ("mine", "more.a"):
                answer = await table.ask(way, channel, good)
                assert (answer.status, table.refused) == (status, {}), name
            assert "pair" not in name or answer.headers["sec-websocket-protocol"] == "bearer"
            answer = await table.ask(way, "other", good)
            assert (answer.status, table.refused) == (403, {"forbidden": 1}), name
            assert b"other" in answer.body, name
            assert b"mine" not in answer.body, name
            for kind, wrong in [("none", None), *wrong_ones.items()]:
                for channel in ("mine", "other"):
                    answer = await table.ask(way, channel, wrong)
                    if kind == "garbage" and "query" in name:
                        assert (answer.status, table.refused) == (414, {"target": 1}), name
                        continue
                    assert (answer.status, table.refused) == (401, {"unauthorized": 1}), (name, kind)
                    assert answer.headers["www-authenticate"].startswith("Bearer"), (name, kind)
        await until(lambda: not len(served.hub))
        told = [await exchange(served.port, request("GET", path, AUTHORIZATION)) for path in ("/stats", "/metrics")]
    assert [answer.status for answer in told] == [200, 200]
    out, err = capfd.readouterr()
    written = "".join([caplog.text, *map(str, caplog.records), out, err, *(answer.body.decode() for answer in told)])
    for one in table.tokens:
        assert one not in written
        assert one[-40:] not in written


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([PAGE], 101),
        (["Origin: http://127.0.0.1:80"], 101),
        (["Sec-Fetch-Site: same-origin"], 101),
        ([], 401),
        (["Sec-Fetch-Site: none"], 401),
        (["Origin: https://evil.example.com"], 403),
    ],
)
async def test_a_cookie_counts_for_pages_that_may_connect(serve: Serve, fields: list[str], status: int) -> None:
    """Browsers add it to the requests of every page, so its page has to be known."""
    options: dict[str, Any] = {
        "token_key": SECRET,
        "token_audience": AUDIENCE,
        "token_cookie": "session",
        "user_subscribe": ("*",),
    }
    async with serve(**options, allowed_origin=("https://app.example.com",)) as served:
        cookie = f"Cookie: session={secret_token()}"
        assert (await exchange(served.port, handshake(80, "a", cookie, *fields))).status == status


async def test_a_cookie_does_not_count_for_any_page(serve: Serve) -> None:
    """Nor where pages of all hosts may connect, or those that hide their host: they would act for their users."""
    options: dict[str, Any] = {
        "token_key": SECRET,
        "token_audience": AUDIENCE,
        "token_cookie": "session",
        "user_subscribe": ("*",),
    }
    cookie = f"Cookie: session={secret_token()}"
    async with serve(**options, allowed_origin=("*", "null")) as served:
        for origin in ("https://evil.example.com", "null"):
            answer = await exchange(served.port, handshake(80, "a", cookie, f"Origin: {origin}"))
            assert answer.status == 401


async def test_several_tokens_are_refused(serve: Serve) -> None:
    """Each would do alone."""
    async with serve(token_key=SECRET, token_audience=AUDIENCE, user_subscribe=("*",)) as served:
        one = secret_token()
        for asked in (
            handshake(80, "a", BEARER.format(one), BEARER.format(one)),
            handshake(80, "a", BEARER.format(one), PAIR.format(one)),
            handshake(80, f"a?token={one}", BEARER.format(one)),
            handshake(80, f"a?token={one}&token={one}"),
            request("GET", f"/feed/a?token={one}", STREAM, BEARER.format(one)),
        ):
            answer = await exchange(served.port, asked)
            assert (answer.status, answer.body) == (401, b"a request has one token, in one place\n")
        assert served.hub.refused == {"unauthorized": 5}


@pytest.mark.parametrize("way", ["WebSocket, field", "stream, query"])
async def test_garbage_of_an_address_is_not_checked_without_end(serve: Serve, way: str) -> None:
    """So many in a second, each once whichever way it takes; others are let in meanwhile, and so is a known token."""
    async with serve(
        token_key=SECRET, token_audience=AUDIENCE, user_subscribe=("*",), max_token_checks_per_second=20
    ) as served:
        (mount,) = served.app.ctx.mux_feeds
        mount.core.feed.checks._authority._clock = lambda: 1000.0
        served.app.config.REAL_IP_HEADER = "x-real-ip"
        status, make = WAYS[way]

        async def ask(token: str, address: str) -> int:
            asked = make("a", token).replace(b"Host:", f"X-Real-IP: {address}\r\nHost:".encode(), 1)
            async with opened(served.port, asked) as (_, head):
                return int(head.split()[1])

        good = secret_token()
        assert await ask(good, "10.0.0.1") == status
        statuses = [await ask(f"garbage.{number}", "10.0.0.1") for number in range(25)]
        assert statuses == [401] * 20 + [429] * 5
        assert served.hub.refused == {"unauthorized": 20, "checks": 5}
        assert await ask(good, "10.0.0.1") == status
        assert await ask(secret_token("eve"), "10.0.0.2") == status


async def test_a_client_that_may_only_listen_is_closed_when_it_publishes(serve: Serve) -> None:
    """With 1008 and a sentence, and counted."""
    async with serve(token_key=SECRET, token_audience=AUDIENCE, user_subscribe=("*",)) as served:
        asked = handshake(80, "lobby", BEARER.format(secret_token())) + b"\x81\x82\x00\x00\x00\x00hi"
        async with opened(served.port, asked) as (reader, head):
            assert head.startswith("HTTP/1.1 101 ")
            frame = await reader.readexactly(4)
            assert frame[:1] + frame[2:] == b"\x88\x03\xf0"  # 1008
            assert b"publish" in await reader.readexactly(frame[1] - 2)
        assert served.hub.refused == {"forbidden": 1}


async def test_connections_end_with_their_tokens(serve: Serve) -> None:
    """A WebSocket with 4401, and an event stream with an event that a page can listen for; others stay."""
    async with serve(token_key=SECRET, token_audience=AUDIENCE, anyone_subscribe=("*",)) as served:
        now, ends = time.time(), BEARER.format(secret_token())
        async with (
            opened(served.port, handshake(80, "a", ends)) as (websocket, _),
            opened(served.port, request("GET", "/feed/a", STREAM, ends)) as (stream, _),
            opened(served.port, handshake(80, "a")) as (stays, _),
        ):
            await until(lambda: len(served.hub) == 3)
            (mount,) = served.app.ctx.mux_feeds
            mount.core.feed.members.tick(now + 3500)
            assert len(served.hub.open_connections()) == 3
            mount.core.feed.members.tick(now + 3700)
            async with asyncio.timeout(PATIENCE_SECONDS):
                assert await websocket.readexactly(17) == b"\x88\x0f\x11\x31token expired"
                ended = (await stream.read()).decode()
            assert "event: expired\ndata: token expired\n\n" in ended
            assert "retry: " in ended
            assert len(served.hub.open_connections()) == 1
            assert not stays.at_eof()


async def test_a_post_whose_token_ends_while_its_body_comes_is_refused(
    redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is published."""
    options: dict[str, Any] = {
        "token_key": SECRET,
        "token_audience": AUDIENCE,
        "anyone_subscribe": ("*",),
        "user_publish": ("*",),
    }
    async with serving(redis_url=redis_url, prefix=prefix, **options) as feed, raw_client(feed.port, "a") as listener:
        whole = request("POST", "/feed/a", BEARER.format(secret_token()), "Expect: 100-continue", body=b"hello")
        reader, writer = await asyncio.open_connection("127.0.0.1", feed.port)
        writer.write(whole[:-2])
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")  # it is decided, and read
            monkeypatch.setattr("mux.endpoints.request_checks.time", lambda: time.time() + 3700)
            writer.write(whole[-2:])
            assert b" 401 " in await reader.readuntil(b"\r\n")
        writer.transport.abort()
        monkeypatch.undo()
        assert (
            await exchange(feed.port, request("POST", "/feed/a", BEARER.format(secret_token()), body=b"x"))
        ).status == 204
        assert await listener.read(3) == b"\x81\x01x"


async def test_a_client_is_announced_as_its_subject(redis_url: str, prefix: str) -> None:
    """Where that is asked for; a client without a token has the name it has everywhere else."""
    options: dict[str, Any] = {
        "token_key": SECRET,
        "token_audience": AUDIENCE,
        "anyone_subscribe": ("*",),
        "announce": True,
    }
    async with (
        serving(redis_url=redis_url, prefix=prefix, announce_as="subject", **options) as feed,
        feed.connect("a") as anyone,
    ):
        assert len((await receive(anyone, 1))[0]) == len("Client 01234567-0123-4123-0123-0123456789ab has joined")
        ada = {"Authorization": f"Bearer {secret_token('ada@example.com')}"}
        async with feed.connect("a", additional_headers=ada):
            assert await receive(anyone, 1) == ["Client ada@example.com has joined"]
        assert await receive(anyone, 1) == ["Client ada@example.com has left"]
        odd = {"Authorization": f"Bearer {secret_token('a' + chr(10) + 'b' + chr(0x202E) + 'é' * 300)}"}
        async with feed.connect("a", additional_headers=odd):
            assert await receive(anyone, 1) == [f"Client a?b?{'é' * 251} has joined"]


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
async def test_a_token_in_a_query_is_in_no_log_of_an_app(
    redis_url: str, prefix: str, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    """Sanic logs the URL of a request that fails, and so may the app; also by a method that no channel takes."""
    app = Sanic("tokens-in-queries", configure_logging=False)

    @app.on_request
    async def fail(request: Request) -> HTTPResponse | None:
        raise RuntimeError(request.url)

    caplog.set_level(logging.DEBUG)
    options: dict[str, Any] = {"token_key": SECRET, "token_audience": AUDIENCE}
    async with serving(app=app, redis_url=redis_url, prefix=prefix, **options) as feed:
        answer = await exchange(feed.port, request(method, f"/feed/a?token={secret_token()}&x=1"))
    assert answer.status == 500
    assert "/feed/a?x=1" in caplog.text
    assert "token=" not in caplog.text


async def test_without_a_key_a_token_means_nothing(serve: Serve) -> None:
    """Everything is open, whatever a request has with it; an app may have tokens of its own."""
    async with serve() as served:
        for fields in ([], [BEARER.format("x")], [BEARER.format("x"), PAIR.format("y")]):
            assert (await exchange(served.port, handshake(80, "a?token=z", *fields))).status == 101
        assert not served.hub.refused
