"""/stats and /channels over HTTP: who may ask, what may be asked, and what the answers are like."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import tempfile
from pathlib import Path

import orjson
import pytest
from sanic import Sanic

from mux.inspect.report import RATED
from mux.serve import ops_listener
from mux.serve.application import create_app
from mux.serve.listening import listening_socket
from mux.settings.settings import Settings
from tests.support.nginx import NGINX, USUAL_RECIPE, nginx, reachable
from tests.support.requests import exchange, request
from tests.support.servers import PATIENCE_SECONDS, TOKEN, mux_serve, raw_client, run_mux, running, serving


async def ask(
    port: int, path: str, *headers: str, method: str = "GET", host: str = "localhost", token: str | None = TOKEN
) -> tuple[int, str, bytes]:
    """Return status, head and body of an answer."""
    if token is not None:
        headers = (f"Authorization: Bearer {token}", *headers)
    answer = await exchange(port, request(method, path, "Connection: close", *headers, host=host))
    return answer.status, answer.head.lower(), answer.body


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
        assert feed.mux._core.hub.refused["query"] == 1


async def test_too_many_inquiries_are_told_when_to_ask_again(
    redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As everybody who is answered with 503; it was left out here."""
    monkeypatch.setattr("mux.inspect.inspector.MAX_INQUIRIES", 0)
    async with serving(redis_url=redis_url, prefix=prefix, ops=True) as feed:
        status, head, body = await ask(feed.port, "/stats")
        assert (status, body) == (503, b"too much is being asked at the same time; try again\n")
        assert "retry-after: 2" in head
        assert feed.mux._core.hub.refused["inquiries"] == 1


NUMBERS = ("/stats", "/channels", "/metrics")


async def test_the_numbers_want_the_token(redis_url: str, prefix: str) -> None:
    """Of whoever is on this machine as well, in the header and nowhere else; health does not."""
    async with serving(redis_url=redis_url, prefix=prefix, ops=True) as feed:
        for path in NUMBERS:
            for headers in ((), ("Authorization: Bearer wrong-horse",), (f"Authorization: Basic {TOKEN}",)):
                status, head, body = await ask(feed.port, path, *headers, token=None)
                assert (status, b"Bearer <token>" in body) == (403, True)
                assert "cache-control: no-store" in head
            assert (await ask(feed.port, f"{path}?token={TOKEN}", token=None))[0] == 403
            assert (await ask(feed.port, path, "X-Forwarded-For: 10.0.0.1", host="mux.example.com"))[0] == 200
        assert feed.mux._core.hub.refused["inspection"] == 12
        assert (await ask(feed.port, "/healthz", token=None))[0] == 200
        assert (await ask(feed.port, "/readyz", token=None))[0] in (200, 503)  # it may be copying the journal


async def test_an_app_without_a_token_shows_no_numbers(redis_url: str, prefix: str) -> None:
    """It fails shut, and the sentence says what to set; health is answered."""
    async with serving(redis_url=redis_url, prefix=prefix, ops=True, inspect_token=None) as feed:
        for path in NUMBERS:
            status, _, body = await ask(feed.port, path)
            assert (status, b"set inspect_token" in body) == (403, True)
        assert (await ask(feed.port, "/readyz", token=None))[0] in (200, 503)  # it may be copying the journal


BARE = "server { listen 127.0.0.1:{listen}; location / { proxy_pass http://127.0.0.1:{port}; } }"


@pytest.mark.skipif(NGINX is None, reason="no nginx on this machine")
async def test_the_world_behind_nginx_gets_no_numbers(
    redis_url: str, prefix: str, free_port: int, tmp_path: Path
) -> None:
    """A proxy that adds nothing looks like this machine; /stats and /channels once answered everybody behind it."""
    with mux_serve("--redis-url", redis_url, "--prefix", prefix, env={"MUX_INSPECT_TOKEN": ""}) as server:
        found = re.search(r"#token=(\S+) in a browser", server.welcome)
        assert found is not None
        for block in (USUAL_RECIPE, BARE):
            with nginx(block, free_port, server.port, tmp_path):
                await reachable(free_port)
                for path in NUMBERS:
                    for host in ("localhost", "127.0.0.1", "feed.example.com"):
                        assert (await ask(free_port, path, host=host, token=None))[0] == 403
                    assert (await ask(free_port, path, token=found[1]))[0] == 200


async def test_the_token_that_is_drawn_is_found_on_this_machine(redis_url: str, prefix: str, tmp_path: Path) -> None:
    """By mux top, in a file for this user alone; workers share it, and it is gone with the server."""
    environment = {"MUX_INSPECT_TOKEN": "", "XDG_RUNTIME_DIR": str(tmp_path)}
    options = ("--redis-url", redis_url, "--prefix", prefix, "--workers", "2")
    with mux_serve(*options, env=environment) as server:
        url = f"http://127.0.0.1:{server.port}"
        (file,) = (tmp_path / "mux").iterdir()
        assert f"Open {url}/#token={file.read_text()} in a browser" in server.welcome
        for _ in range(4):
            assert (await ask(server.port, "/metrics", token=file.read_text()))[0] == 200
        shown = await asyncio.to_thread(run_mux, "top", "--once", "--json", "--url", url, env=environment)
        assert (shown.returncode, shown.stderr) == (0, "")
        assert orjson.loads(shown.stdout)["stats"]["processes"]
        status, said = await asyncio.to_thread(server.stop)
        assert status == 0
        assert "token" not in said
        assert list((tmp_path / "mux").iterdir()) == []


async def test_a_token_that_was_given_is_not_printed_nor_kept(redis_url: str, prefix: str, tmp_path: Path) -> None:
    """Whoever set it knows it."""
    with mux_serve("--redis-url", redis_url, "--prefix", prefix, env={"XDG_RUNTIME_DIR": str(tmp_path)}) as server:
        assert "token" not in server.welcome
        assert not (tmp_path / "mux").exists()


async def test_the_operators_routes_have_a_listener_of_their_own(redis_url: str, prefix: str, free_port: int) -> None:
    """On loopback it wants no token, but a Host of this machine; the public port has none of these routes any more."""
    options = ("--redis-url", redis_url, "--prefix", prefix, "--workers", "2", "--ops-port", str(free_port))
    with mux_serve(*options, env={"MUX_INSPECT_TOKEN": ""}) as server:
        assert f"Health and numbers: http://127.0.0.1:{free_port}\n" in server.welcome
        assert "token" not in server.welcome
        async with server.connect():
            for path in (*NUMBERS, "/healthz", "/readyz"):
                assert (await ask(server.port, path, token=None))[0] == 404
                status, _, _ = await ask(free_port, path, token=None)
                assert status == 200 or (status, path) == (503, "/readyz")  # it may be copying the journal
            assert (await ask(free_port, "/feed/lobby", token=None))[0] == 404
        for path in NUMBERS:
            assert (await ask(free_port, path, token=None, host="evil.com"))[0] == 403
        shown = await asyncio.to_thread(run_mux, "top", "--once", "--url", f"http://127.0.0.1:{free_port}")
        assert shown.returncode == 0
        assert (await asyncio.to_thread(server.stop))[0] == 0


@pytest.mark.parametrize(("host", "is_open"), [("127.0.0.1", True), ("0.0.0.0", False)])
async def test_a_listener_that_others_can_reach_wants_the_token(
    redis_url: str, prefix: str, host: str, is_open: bool
) -> None:
    """Health is open there as well."""
    settings = Settings(redis_url=redis_url, prefix=prefix, inspect_token=TOKEN, drain_seconds=0)
    with listening_socket("127.0.0.1", 0) as sock, listening_socket(host, 0) as ops_sock:
        app = create_app(settings, ops_sock=ops_sock)
        port = ops_sock.getsockname()[1]
        async with running(app, sock=sock), ops_listener.serving(app.ctx.ops_app, ops_sock, app.ctx.http_protocol):
            assert (await ask(port, "/healthz", token=None))[0] == 200
            assert (await ask(port, "/readyz", token=None))[0] in (200, 503)  # it may be copying the journal
            for path in NUMBERS:
                assert (await ask(port, path, token=None))[0] == (200 if is_open else 403)
                assert (await ask(port, path))[0] == 200
            # An upgrade is ignored: a client that offered one, and sent no more, was not answered.
            upgrade = ("Connection: Upgrade", "Upgrade: websocket", f"Authorization: Bearer {TOKEN}")
            assert (await exchange(port, request("GET", "/stats", *upgrade), ends=True)).status == 200
        Sanic.unregister_app(app.ctx.ops_app)


async def test_readiness_is_answered_while_the_server_drains(redis_url: str, prefix: str, free_port: int) -> None:
    """The listener of the operator ends after the clients have gone."""
    options = ("--redis-url", redis_url, "--prefix", prefix, "--ops-port", str(free_port), "--drain-seconds", "1")
    with mux_serve(*options) as server:
        async with raw_client(server.port):  # it does not answer the goodbye, so the drain waits for it
            server.process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(PATIENCE_SECONDS):
                while (status := (await ask(free_port, "/readyz", token=None))[0]) == 200:
                    await asyncio.sleep(0.01)
        assert status == 503
        assert (await asyncio.to_thread(server.process.wait, PATIENCE_SECONDS)) == 0


async def test_a_unix_socket_is_a_listener(redis_url: str, prefix: str) -> None:
    """For this user alone, and then without a token; one that was left is replaced, and it is gone with the server."""
    with tempfile.TemporaryDirectory() as directory:  # not pytest's: the path of a unix socket has at most 107 bytes
        path = Path(directory) / "ops.sock"
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(path))
        options = ("--redis-url", redis_url, "--prefix", prefix, "--ops-host", f"unix:{path}")
        with mux_serve(*options) as server:
            assert f"Health and numbers: unix:{path}\n" in server.welcome
            assert path.stat().st_mode & 0o777 == 0o600
            for target in (*NUMBERS, "/healthz"):
                assert (await exchange(path, request("GET", target))).status == 200
            second = await asyncio.to_thread(run_mux, "serve", "--port", "0", *options)
            assert second.returncode == 1
            assert second.stderr.startswith(f"mux: cannot listen on unix:{path}: ")
            assert (await exchange(path, request("GET", "/healthz"))).status == 200
            assert (await asyncio.to_thread(server.stop))[0] == 0
        assert not path.exists()


@pytest.mark.parametrize("options", [("--ops-host", "127.0.0.1"), ("--ops-host", "unix:/x", "--ops-port", "1")])
def test_a_listener_has_an_address_and_a_port_or_a_path(options: tuple[str, ...]) -> None:
    """Half of one, or both kinds, is a mistake."""
    done = run_mux("serve", *options)
    assert done.returncode == 2
    assert done.stderr == "mux: ops_host is unix:/path, or an address with an ops_port\n"


async def test_an_app_has_these_routes_only_when_it_asks(redis_url: str, prefix: str) -> None:
    """It asks with ops=True, and inspect=False takes them away again."""
    for ops, inspect in ((False, True), (True, False)):
        async with serving(redis_url=redis_url, prefix=prefix, ops=ops, inspect=inspect) as feed:
            for path in ("/stats", "/channels"):
                assert (await ask(feed.port, path))[0] == 404


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
