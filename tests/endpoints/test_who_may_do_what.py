"""The examples of the page on who may do what, run as they stand there."""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.doorstep.conftest import Serve, Served, serve
from tests.support.pages import ROOT, blocks
from tests.support.requests import exchange, opened, request
from tests.support.servers import PATIENCE_SECONDS, handshake, run_mux

__all__ = ["serve"]

KEY = "5f" * 32
STREAM = "Accept: text/event-stream"
PAGE = ROOT / "mux/endpoints/README.md"


class Shell:
    """What a shell does with the commands of an example, beside one server."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.env = {"MUX_TOKEN_KEY": KEY, "MUX_URL": f"http://127.0.0.1:{served.port}"}

    async def run(self, line: str) -> str:
        """Run a command of mux, or keep what it prints in a variable; return what it prints."""
        kept = re.fullmatch(r"export (\w+)=\$\(mux (.*)\)", line)
        words = shlex.split(kept[2] if kept else line.removeprefix("mux "))
        done = await asyncio.to_thread(run_mux, *words, env=self.env)
        assert done.returncode == 0, done.stderr
        if kept:
            self.env[kept[1]] = done.stdout.strip()
        return done.stdout.strip()


@asynccontextmanager
async def example(serve: Serve, text: str, **settings: Any) -> AsyncIterator[tuple[Shell, list[str]]]:
    """Serve as the example with this text does, which begins so; gives a shell, and its other commands."""
    (block,) = [block for block in blocks(PAGE) if block.startswith("mux serve") and text in block]
    first, *rest = block.splitlines()
    words = iter(shlex.split(first)[2:])
    given: dict[str, Any] = {}
    for word in words:
        name, value = word.removeprefix("--").replace("-", "_"), next(words)
        given[name] = value if name == "announce_as" else (value,)
    async with serve(token_key=KEY, **given, **settings) as served:
        yield Shell(served), rest


def code(beginning: str) -> str:
    """Return the block of the page that begins so."""
    (block,) = [block for block in blocks(PAGE) if block.startswith(beginning)]
    return block


def bearer(token: str) -> str:
    """Return the field of a token."""
    return f"Authorization: Bearer {token}"


async def test_a_public_feed_with_one_backend_that_publishes(serve: Serve) -> None:
    """Everybody hears it, and nobody else speaks."""
    async with example(serve, "--anyone-subscribe") as (shell, commands):
        port = shell.served.port
        async with opened(port, request("GET", "/feed/news.today", STREAM)) as (reader, _):
            for command in commands:
                await shell.run(command)
            await reader.readuntil(b"data: It rains.\n")
        assert (await exchange(port, request("POST", "/feed/news.today", body=b"It snows."))).status == 401
        assert (await exchange(port, handshake(port, "other"))).status == 401


async def test_a_chat_of_logged_in_users(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is let in as who one is; who is not logged in is not."""
    monkeypatch.setenv("MUX_TOKEN_KEY", KEY)
    names: dict[str, Any] = {}
    exec(code("import jwt"), names)  # noqa: S102 - the page's own
    assert '["bearer", token]' in code("const chat")
    async with example(serve, "--announce-as", announce=True) as (shell, _):
        port = shell.served.port
        offer = f"Sec-WebSocket-Protocol: bearer, {names['token_for']('ada')}"
        asked = handshake(port, "chat.general", offer) + b"\x81\x82\x00\x00\x00\x00hi"
        async with opened(port, asked) as (reader, head), asyncio.timeout(PATIENCE_SECONDS):
            assert "Sec-WebSocket-Protocol: bearer\r\n" in head
            assert await reader.readexactly(23) == b"\x81\x15Client ada has joined"
            assert await reader.readexactly(4) == b"\x81\x02hi"
        assert (await exchange(port, handshake(port, "chat.general"))).status == 401


async def test_one_private_channel_for_each_user(serve: Serve) -> None:
    """A user hears what is for this user, and not what is for another."""
    async with example(serve, "user.{sub}") as (shell, commands):
        port = shell.served.port
        token = bearer(await shell.run("mux token --sub 42"))
        asked = request("GET", "/feed/user.42", STREAM, token)
        async with opened(port, asked) as (reader, head), asyncio.timeout(PATIENCE_SECONDS):
            assert head.startswith("HTTP/1.1 200 ")
            for command in commands:
                await shell.run(command)
            await reader.readuntil(b"data: Your parcel has arrived.\n")
        assert (await exchange(port, handshake(port, "user.43", token))).status == 403
        assert (await exchange(port, request("POST", "/feed/user.42", token, body=b"x"))).status == 403


async def test_partners_with_narrow_tokens(serve: Serve) -> None:
    """A partner reads what is the partner's, and writes into one channel."""
    async with example(serve, "--sub acme") as (shell, commands):
        port = shell.served.port
        (token,) = [bearer(await shell.run(command)) for command in commands]
        for asked, status in (
            (handshake(port, "orders.acme.17", token), 101),
            (handshake(port, "orders.other.17", token), 403),
            (request("POST", "/feed/orders.acme.in", token, body=b"{}"), 204),
            (request("POST", "/feed/orders.acme.17", token, body=b"{}"), 403),
            (handshake(port, "orders.acme.17"), 401),
        ):
            assert (await exchange(port, asked)).status == status
