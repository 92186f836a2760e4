"""What the commands show to be let in: headers, tokens, users of URLs; and whom they trust."""

from __future__ import annotations

import asyncio
import itertools
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from string import printable
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from sanic import Request, Sanic
from sanic.response import HTTPResponse, text

from mux.command.access import Access, parse_access
from mux.command.main import cli
from mux.command.publish import publish
from mux.command.server_url import parse_server_url
from mux.command.tail.followers import EventStreamFollower, WebSocketFollower
from mux.command.top.stats import FleetReader
from mux.errors import InvalidSetting, ServerUnreachable
from tests.support.servers import Serving, serving

_numbers = itertools.count()

SECRET = "swordfish-1"  # noqa: S105 - it opens what these tests close


@pytest.mark.parametrize(
    "header",
    [
        SECRET,
        f"Bearer {SECRET}",
        f": {SECRET}",
        f"Na me: {SECRET}",
        f"Näme: {SECRET}",
        f"X: {SECRET}\r\nY: z",
        f"X: {SECRET}\x00",
        f"X: {SECRET}ü",
        f"Host: {SECRET}",
        f"Content-Length: {SECRET}",
        f"SEC-WebSocket-Key: {SECRET}",
        f"upgrade:{SECRET}",
    ],
)
def test_a_header_that_cannot_be_is_one_sentence_without_it(header: str) -> None:
    """It may be a secret, wherever the mistake is."""
    with pytest.raises(InvalidSetting, match="header") as mistake:
        parse_access([header])
    assert SECRET not in str(mistake.value)


def test_headers_are_sent_as_they_are_given() -> None:
    """Blanks around a value are none of it; a header named Authorization takes the place of the token."""
    assert parse_access(["X-Key:  a: b\t", "Empty:"]).headers == {"X-Key": "a: b", "Empty": ""}
    assert parse_access(token=SECRET).headers == {"Authorization": f"Bearer {SECRET}"}
    assert parse_access(["authorization: Basic eA=="], token=SECRET).headers == {"authorization": "Basic eA=="}
    assert parse_access(token="").headers == {}
    with pytest.raises(InvalidSetting, match="twice"):
        parse_access(["Cookie: a", "cookie: b"])
    with pytest.raises(InvalidSetting, match="the token must be printable ASCII"):
        parse_access(token="ü")
    assert SECRET not in repr(parse_server_url("http://box", parse_access(token=SECRET)))


def test_a_file_that_is_none_of_certificates_is_one_sentence(tmp_path: Path) -> None:
    """What is wrong with it, and with a URL that has no use for it."""
    empty = tmp_path / "empty.pem"
    empty.write_text("no certificate\n")
    for ca, sentence in (
        (str(empty), "has no certificates in PEM"),
        (str(tmp_path / "none.pem"), "cannot be read: no such file"),
        (str(tmp_path), "--ca"),
        ("a\x00b", "cannot be read"),
    ):
        with pytest.raises(InvalidSetting, match=sentence):
            parse_access(ca=ca)
    good = str(tmp_path / "ca.pem")
    trustme.CA().cert_pem.write_to_path(good)
    with pytest.raises(InvalidSetting, match="--ca is for a server whose URL begins with https"):
        parse_server_url("http://box", parse_access(ca=good))


def test_user_and_password_of_a_url_are_sent_and_not_shown() -> None:
    """To every command alike, and percent-decoded."""
    address = parse_server_url("http://us%3Aer:p%40ss@box:8000/mux/")
    assert address.headers == {"Authorization": "Basic dXM6ZXI6cEBzcw=="}
    assert (address.url, address.netloc) == ("http://box:8000/mux", "box:8000")
    assert address.websocket_url("x") == "ws://box:8000/mux/feed/x"
    assert "p@ss" not in repr(address)


@given(
    password=st.text(st.sampled_from(printable), min_size=4, max_size=12).map(lambda text: f"{SECRET}{text}"),
    shape=st.sampled_from(
        [
            "http://user:{}@box:8000",
            "https://:{}@box",
            "http://{}@box:port",
            "user:{}@box:8000",
            "box:8000,password={}",
            "'http://user:{}@box'",
            "redis://user:{}@box",
            "http//user:{}@box",
            "http://user:{}@",
            "http://user:{}",
        ]
    ),
)
def test_no_sentence_about_a_url_has_its_password(password: str, shape: str) -> None:
    """Whatever is in it, and however the rest is mistyped: it is sent, or nothing is said of it."""
    try:
        said = repr(parse_server_url(shape.format(password)))
    except InvalidSetting as mistake:
        said = str(mistake)
    assert SECRET not in said


@pytest.fixture
async def closed(redis_url: str, prefix: str, tmp_path: Path) -> AsyncIterator[Serving]:
    """Return a feed with TLS that wants a token and a header, of an app; its authority is in ca.pem."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    app: Sanic[Any, Any] = Sanic(f"closed-{next(_numbers)}", configure_logging=False)

    @app.on_request
    async def guard(request: Request) -> HTTPResponse | None:
        seen = (request.headers.get("authorization"), request.headers.get("x-team"))
        return None if seen == (f"Bearer {SECRET}", "blue") else text("who are you?\n", 401)

    options: dict[str, Any] = {"ops": True, "announce": True, "inspect_token": SECRET}
    async with serving(app=app, ssl=context, redis_url=redis_url, prefix=prefix, **options) as one:
        yield one


async def test_every_client_shows_what_it_was_given(closed: Serving, tmp_path: Path) -> None:
    """Both kinds of feed, publish and the numbers, to a server whose authority only --ca knows."""
    url = f"https://127.0.0.1:{closed.port}"
    access = parse_access(["X-Team: blue"], ca=str(tmp_path / "ca.pem"), token=SECRET)

    def first(kind: type[EventStreamFollower | WebSocketFollower], shown: Access) -> object:
        follower = kind(parse_server_url(url, shown), "lobby")
        messages = follower.messages()
        try:
            return next(messages)
        finally:
            messages.close()  # type: ignore[attr-defined]  # it is a generator

    def count(shown: Access) -> int:
        with closing(FleetReader(parse_server_url(url, shown))) as inspector:
            return len(inspector.look().processes)

    for kind in (EventStreamFollower, WebSocketFollower):
        # Its own arrival, or the end of the one before.
        assert re.search("has (joined|left)", str(await asyncio.to_thread(first, kind, access)))
    assert await asyncio.to_thread(publish, url, "lobby", [b"one", b"two"], access) == 2
    assert await asyncio.to_thread(count, access) == 1
    for shown, sentence in (
        (Access(access.headers), "the certificate of .* is not trusted: .*--ca"),
        (Access({}, access.trusted), r"who are you\?"),
    ):
        for ask in (
            lambda shown=shown: first(EventStreamFollower, shown),
            lambda shown=shown: first(WebSocketFollower, shown),
            lambda shown=shown: publish(url, "lobby", [b"one"], shown),
            lambda shown=shown: count(shown),
        ):
            with pytest.raises(ServerUnreachable, match=sentence):
                await asyncio.to_thread(ask)


COMMANDS = [["publish", "lobby", "hi"], ["top", "--once", "--json"], ["tail", "lobby"], ["tail", "lobby", "--sse"]]


async def test_the_commands_take_them_all(
    closed: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The token from the environment, where no other user of the machine reads it."""
    url = f"https://127.0.0.1:{closed.port}"
    monkeypatch.setenv("MUX_TOKEN", SECRET)
    options = ["--url", url, "--header", "X-Team: blue", "--ca", str(tmp_path / "ca.pem")]
    for command in COMMANDS[:2]:
        await asyncio.to_thread(cli, [*command, *options], standalone_mode=False)
    assert '"processes"' in capsys.readouterr().out
    for command in COMMANDS:
        with pytest.raises(InvalidSetting) as mistake:
            cli([*command, "--url", url, "--header", SECRET], standalone_mode=False)
        assert SECRET not in str(mistake.value)
        with pytest.raises(ServerUnreachable, match="is not trusted"):
            await asyncio.to_thread(cli, [*command, "--url", url], standalone_mode=False)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_url_with_a_password_is_shown_without_it(free_port: int, command: list[str]) -> None:
    """When nobody answers there, by every command."""
    with pytest.raises(ServerUnreachable) as refusal:
        cli([*command, "--url", f"http://user:{SECRET}@127.0.0.1:{free_port}"], standalone_mode=False)
    assert SECRET not in str(refusal.value)
    assert f"no mux answers at http://127.0.0.1:{free_port}" in str(refusal.value)
