"""Who is let in at /feed/<channel>, over real sockets: hosts, pages, contents, and a guard of one's own."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from sanic import Request, Sanic
from sanic.response import HTTPResponse, text
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from mux.serve.listening import listening_socket
from tests.endpoints.test_event_stream_clients import documented_block
from tests.endpoints.test_feed import UPGRADE, http
from tests.support.event_streams import open_stream
from tests.support.nginx import NGINX, USUAL_RECIPE, nginx, reachable
from tests.support.requests import exchange
from tests.support.servers import PATIENCE_SECONDS, Serving, mux_serve, receive, serving, until

_numbers = itertools.count()

STREAM = "Accept: text/event-stream"


async def ask(port: int, *lines: str, body: bytes = b"") -> tuple[int, dict[str, str], str]:
    """Send a request as it stands; return status, headers and body of the answer."""
    answer = await exchange(port, "".join(f"{line}\r\n" for line in [*lines, ""]).encode() + body)
    return answer.status, answer.headers, answer.body.decode()


EVIL = "evil.example:{port}"

BY_ANY_WAY = [
    ("GET /feed/lobby HTTP/1.1", *UPGRADE),
    ("GET /feed/lobby HTTP/1.1", STREAM),
    ("GET /feed/lobby HTTP/1.1",),
    ("POST /feed/lobby HTTP/1.1", "Content-Length: 0"),
    ("OPTIONS /feed/lobby HTTP/1.1",),
    ("GET / HTTP/1.1",),
    ("GET /stats HTTP/1.1",),
    ("GET /channels HTTP/1.1",),
    ("GET /metrics HTTP/1.1",),
    ("GET /healthz HTTP/1.1",),
]


@pytest.fixture
async def site(redis_url: str, prefix: str) -> AsyncIterator[Serving]:
    """Return a feed with all its routes, on loopback."""
    async with serving(redis_url=redis_url, prefix=prefix, page=True, ops=True) as one:
        yield one


async def test_a_page_whose_name_was_made_to_point_here_gets_nothing(site: Serving) -> None:
    """DNS rebinding: its Origin equals its Host, and for a stream or the page there is no Origin at all."""
    host = f"Host: {EVIL.format(port=site.port)}"
    for request, *headers in BY_ANY_WAY:
        for origin in ([], [f"Origin: http://{EVIL.format(port=site.port)}"]):
            status, _, sentence = await ask(site.port, request, host, *headers, *origin)
            assert (status, sentence.count("--allowed-host")) == (421, 1), request
    assert site.mux._core.hub.refused["host"] == 2 * len(BY_ANY_WAY)
    assert len(site.mux._core.hub) == 0


async def test_mux_serve_holds_every_request_to_its_hosts(redis_url: str, prefix: str) -> None:
    """Handshakes that are known by sight, and what has no route; the guard of a name holds there as well."""
    options = (
        "--redis-url",
        redis_url,
        "--prefix",
        prefix,
        "--allowed-host",
        "feed.example.com",
        "--no-client-publish",
    )
    nowhere = [("GET /nothing HTTP/1.1",), ("PUT /feed/lobby HTTP/1.1", "Content-Length: 0")]
    with mux_serve(*options) as server:
        for request, *headers in [*BY_ANY_WAY, *nowhere]:
            status, _, sentence = await ask(server.port, request, f"Host: localhost:{server.port}", *headers)
            assert (status, sentence.count("--allowed-host")) == (421, 1), request
            assert (await ask(server.port, request, "Host: feed.example.com", *headers))[0] != 421
        own = ("Host: feed.example.com", *UPGRADE)
        assert (await ask(server.port, "GET /feed/%24mux HTTP/1.1", *own))[0] == 400
        assert (await ask(server.port, "GET /feed/lobby HTTP/1.1", *own, "Sec-Fetch-Site: cross-site"))[0] == 403
        _, answer, _ = await ask(server.port, "GET /feed/lobby HTTP/1.1", *own, "Sec-WebSocket-Protocol: a, b")
        assert answer["sec-websocket-protocol"] == "a"
        assert (await ask(server.port, "POST /feed/lobby HTTP/1.1", own[0], "Content-Length: 0"))[0] == 403


async def test_with_allowed_hosts_the_others_get_nothing(redis_url: str, prefix: str) -> None:
    """On every route; a listed one is served, here under a name that the default would refuse."""
    options: dict[str, Any] = {"allowed_host": ("feed.example.com",), "page": True, "ops": True}
    async with serving(redis_url=redis_url, prefix=prefix, **options) as site:
        for request, *headers in BY_ANY_WAY:
            status, _, sentence = await ask(site.port, request, f"Host: localhost:{site.port}", *headers)
            assert (status, sentence.count("--allowed-host")) == (421, 1), request
            own = f"feed.example.com:{site.port}"
            assert (await ask(site.port, request, f"Host: {own}", f"Origin: http://{own}", *headers))[0] != 421


BLOCKS = {
    "README": None,
    "usual recipe": USUAL_RECIPE,
    "named upstream": """
        upstream backend { server 127.0.0.1:{port}; }
        server {
            listen 127.0.0.1:{listen};
            location / {
                proxy_pass http://backend;
                proxy_http_version 1.1;
                proxy_set_header Upgrade $http_upgrade;
                proxy_set_header Connection "upgrade";
            }
        }""",
}


@pytest.mark.skipif(NGINX is None, reason="no nginx on this machine")
@pytest.mark.parametrize("kind", BLOCKS)
async def test_behind_nginx_names_are_served(redis_url: str, prefix: str, tmp_path: Path, kind: str) -> None:
    """Host passed on, or that of the upstream: mux on loopback serves what a browser asks for under a public name."""
    block = BLOCKS[kind] or documented_block()
    page = "http://chat.example.com"
    allowed = () if kind == "README" else (page,)
    async with serving(redis_url=redis_url, prefix=prefix, page=True, allowed_origin=allowed) as site:
        with listening_socket("127.0.0.1", 0) as sock:  # while mux listens, so that the two differ
            free_port = sock.getsockname()[1]
        with nginx(block, free_port, site.port, tmp_path):
            await reachable(free_port)
            for host in ("chat.example.com", f"chat.example.com:{free_port}"):
                origin = page if allowed else f"http://{host}"
                for request, *headers in BY_ANY_WAY[:6]:
                    expected = 200 if STREAM in headers else {"G": 101, "P": 204, "O": 204}[request[0]]
                    if len(headers) == 0 and request[0] == "G":
                        expected = 426 if "feed" in request else 200
                    status, _, _ = await ask(free_port, request, f"Host: {host}", f"Origin: {origin}", *headers)
                    assert status == expected, (request, host)


@pytest.mark.skipif(NGINX is None, reason="no nginx on this machine")
async def test_an_answer_to_a_plain_get_passes_http_2(feed: Serving, free_port: int, tmp_path: Path) -> None:
    """An Upgrade header in it was a protocol error at clients of nginx that speak HTTP/2."""
    block = documented_block().replace("{listen};", "{listen} http2;")
    with nginx(block, free_port, feed.port, tmp_path):
        await reachable(free_port)
        url = f"http://127.0.0.1:{free_port}/feed/lobby"
        command = ["curl", "-sS", "--http2-prior-knowledge", "-w", "%{http_version} %{http_code}", url]
        done = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert "WebSocket" in done.stdout
    assert done.stdout.endswith("2 426")


@pytest.mark.parametrize("headers", [[], ["Upgrade: websocket", "Sec-WebSocket-Version: 13"], ["Upgrade: h2c"]])
async def test_no_answer_has_an_upgrade_that_its_connection_does_not_list(feed: Serving, headers: list[str]) -> None:
    """What stands in Upgrade is for the next hop alone (RFC 9110, section 7.8)."""
    status, answer, _ = await ask(feed.port, "GET /feed/lobby HTTP/1.1", f"Host: 127.0.0.1:{feed.port}", *headers)
    assert status == 426
    assert "upgrade" not in answer or "upgrade" in answer["connection"].lower()


async def test_a_body_that_would_arrive_as_something_else_is_refused(feed: Serving) -> None:
    """It is not read, and the sentence says how to send it."""
    async with feed.connect() as client:
        for header in ("Content-Encoding: gzip", "Content-Type: text/plain; charset=utf-16"):
            status, sentence = await http(feed, "POST", "/feed/lobby", b"\x1f\x8b\x08", [header])
            assert (status, "send it" in sentence) == (415, True)
        assert (await http(feed, "POST", "/feed/lobby", b"hi", ["Content-Type: text/plain; charset=UTF-8"]))[0] == 204
        assert await receive(client, 1) == ["hi"]
    assert feed.mux._core.hub.refused["content"] == 2


@pytest.mark.parametrize("offered", [["chat"], ["graphql-ws", "chat"], []])
async def test_a_client_that_offers_subprotocols_gets_its_first(feed: Serving, offered: list[str]) -> None:
    """As browsers want it; for an empty list Python's websockets sends an empty header."""
    async with connect(feed.url(), subprotocols=offered) as client:  # type: ignore[arg-type]  # Subprotocol is str
        assert client.subprotocol == (offered[0] if offered else None)
        await client.send("hi")
        assert await receive(client, 1) == ["hi"]


async def test_a_preflight_lists_what_clients_of_streams_send(redis_url: str, prefix: str) -> None:
    """A library that sets headers is a page's as well as EventSource."""
    async with serving(redis_url=redis_url, prefix=prefix, allowed_origin=("null",)) as feed:
        lines = [f"Host: 127.0.0.1:{feed.port}", "Origin: null", "Access-Control-Request-Method: POST"]
        status, headers, _ = await ask(feed.port, "OPTIONS /feed/lobby HTTP/1.1", *lines)
        assert (status, headers["access-control-allow-origin"]) == (204, "null")
        assert "POST" in headers["access-control-allow-methods"]
        listed = {name.strip().lower() for name in headers["access-control-allow-headers"].split(",")}
        assert {"cache-control", "last-event-id", "content-type", "authorization"} <= listed


@pytest.mark.parametrize("headers", [[STREAM], UPGRADE], ids=["stream", "WebSocket"])
async def test_a_page_of_another_site_does_not_join_in_secret(feed: Serving, headers: list[str]) -> None:
    """What is asked for as an image has no Origin, but its browser says that it is another site's."""
    host = f"Host: 127.0.0.1:{feed.port}"
    for site, expected in (("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)):
        status, _, _ = await ask(feed.port, "GET /feed/lobby HTTP/1.1", host, f"Sec-Fetch-Site: {site}", *headers)
        assert status == (101 if expected == 200 and headers is UPGRADE else expected)
    assert (await ask(feed.port, "GET /feed/lobby HTTP/1.1", host, "Sec-Fetch-Site: cross-site"))[0] == 426


async def test_where_only_the_backend_publishes_clients_are_told(redis_url: str, prefix: str) -> None:
    """A POST gets 403 and a client's first message 1008; who listens hears the backend and nobody else."""
    async with (
        serving(redis_url=redis_url, prefix=prefix, client_publish=False) as feed,
        feed.connect() as listener,
        open_stream(feed.port) as stream,
    ):
        for message in ("text", b"binary", ["frag", "ments"], ""):
            async with feed.connect() as talker:
                await talker.send(message)
                with pytest.raises(ConnectionClosed) as closed:
                    await talker.recv()
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "this feed is read-only")
        assert await http(feed, "POST", "/feed/lobby", b"hi") == (403, "this feed is read-only\n")
        assert feed.mux._core.hub.refused["read_only"] == 5
        _, headers, _ = await ask(feed.port, "OPTIONS /feed/lobby HTTP/1.1", f"Host: 127.0.0.1:{feed.port}")
        assert "POST" not in headers["allow"] + headers["access-control-allow-methods"]
        await feed.mux.publish("lobby", "from the backend")
        assert await receive(listener, 1) == ["from the backend"]
        assert [event.data for event in await stream.events(1)] == ["from the backend"]
    await until(lambda: len(feed.mux._core.hub) == 0)


@pytest.fixture
async def guarded(redis_url: str, prefix: str) -> AsyncIterator[Serving]:
    """Return an app with the documented guard, which keeps channels of users from all but these users."""
    app: Sanic[Any, Any] = Sanic(f"guarded-{next(_numbers)}", configure_logging=False)
    scope: dict[str, Any] = {"app": app, "text": text, "user_of": lambda request: request.headers.get("user")}
    page = Path(__file__).parents[2] / "mux/endpoints/README.md"
    block = page.read_text().partition("**A guard**")[2].partition("\n\n")[2].partition("\n\n`request")[0]
    exec(dedent(block), scope)  # noqa: S102 - it is what people copy

    @app.on_request
    async def look(request: Request) -> None:
        channel = scope["mux"].channel_of(request)
        if channel is not None:
            assert request.match_info["channel"] == channel == request.ctx.early

    @app.signal("http.routing.after")
    async def early(request: Request, **_: Any) -> None:
        request.ctx.early = scope["mux"].channel_of(request)

    @app.get("/other/<channel:path>")
    async def other(request: Request, channel: str) -> HTTPResponse:
        return text(str(scope["mux"].channel_of(request)))

    async with serving(app=app, redis_url=redis_url, prefix=prefix) as one:
        scope["mux"] = one.mux
        yield one


ATTACKS = ["user:2", "user%3A2", "user%3a2", "%75ser:2", "%75%73%65%72%3A%32", "user:2/", "user:2%2F", "user:%2F2"]
ELSEWHERE = ["user%253A2", "user%25%33A2", "user%", "/user:2", "%2Fuser:2", "./user:2", "x/../user:2", "User:2", "user"]
WILDCARDS = ["use*", "user:*", "*", "us%2A", "use%2a?last=1"]
IMPOSSIBLE = ["", "%24user:2", "%20user:2", "user:2%00", "%EF%BC%B5ser:2", "user\xa0:2", "user%FF:2"]


@pytest.mark.parametrize("name", ATTACKS)
async def test_a_guard_sees_the_very_name_that_is_used(guarded: Serving, name: str) -> None:
    """However it is written in the path, by whatever way; the user's own way in is the same."""
    for attack in (UPGRADE, [STREAM], []):
        assert (await http(guarded, "GET", f"/feed/{name}", b"", attack))[0] == 403
    assert (await http(guarded, "POST", f"/feed/{name}", b"hi"))[0] == 403
    async with guarded.connect("user%3A2", additional_headers={"user": "2"}) as owner:
        await guarded.mux.publish("user:2", "private")
        assert await receive(owner, 1) == ["private"]


@pytest.mark.parametrize("name", ELSEWHERE)
async def test_a_name_that_passes_a_guard_is_another_channel(guarded: Serving, name: str) -> None:
    """Decoded once and never again: nothing of a guarded channel is heard there."""
    async with guarded.connect(name) as spy:
        (client,) = guarded.mux._core.hub.open_connections()
        (channel,) = guarded.mux._core.hub.router.channels(client)
        assert not channel.partition(b":")[2].startswith(b"user:")
        await guarded.mux.publish("user:2", "private")
        await spy.send("end")
        assert await receive(spy, 1) == ["end"]


@pytest.mark.parametrize("name", WILDCARDS)
async def test_no_wildcard_passes_a_guard(guarded: Serving, name: str) -> None:
    """An app that does not say that it serves many channels at once has a guard that knows single ones."""
    assert (await http(guarded, "GET", f"/feed/{name}", b"", [STREAM]))[0] in (400, 403)


@pytest.mark.parametrize("name", IMPOSSIBLE)
async def test_a_name_that_cannot_be_is_refused_behind_a_guard(guarded: Serving, name: str) -> None:
    """The guard is told of no channel, and mux refuses the name."""
    with pytest.raises(InvalidStatus) as refused:
        await guarded.connect(name)
    assert refused.value.response.status_code == 400


async def test_a_route_of_the_app_is_no_channel(guarded: Serving) -> None:
    """Although its parameter has the same name."""
    assert await http(guarded, "GET", "/other/user:2") == (200, "None")
