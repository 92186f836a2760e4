"""`mux tail` over several channels and over Server-Sent Events, against mux itself."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

import pytest

from tests.command.pseudo_terminal import PseudoTerminal, mux, terminal
from tests.support.servers import Serving, serving, until
from tests.support.tokens import AUDIENCE, SECRET, secret_token


@pytest.fixture
async def url(feed: Serving) -> str:
    """Return where the server is."""
    return f"http://127.0.0.1:{feed.port}"


async def shows(shown: PseudoTerminal, *texts: str) -> str:
    """Wait until all of this is on the screen, while the server in this loop serves."""
    return await asyncio.to_thread(shown.until_shown, *texts)


@pytest.mark.parametrize("options", [[], ["--sse"]], ids=["WebSocket", "--sse"])
async def test_several_channels_have_names_and_colours(feed: Serving, url: str, options: list[str]) -> None:
    """A connection each; lines of one channel look alike, and those of two do not."""
    with terminal(*mux("tail", "lobby", "orders/eu", "lobby", "--url", url, *options)) as shown:
        await until(lambda: len(feed.mux._core.hub) == 2)
        await feed.mux.publish("lobby", "one\x1b[2Jtwo")
        await shows(shown, "two")
        await feed.mux.publish("orders/eu", b"\x00\xff")
        await shows(shown, "00 ff")
        await feed.mux.publish("lobby", "three")
        lines = (await shows(shown, "three")).split("\n")
        times = r"\d\d:\d\d:\d\d\.\d{3}  "
        assert re.fullmatch(times + r"lobby      one\\x1b\[2Jtwo", lines[0])
        assert re.fullmatch(times + r"orders/eu  \(2 bytes\) 00 ff", lines[1])
        assert re.fullmatch(times + r"lobby      three", lines[2])
        assert shown.colours("lobby") != shown.colours("orders/eu")
        assert shown.colours("one\\x1b") == {"default"}
        shown.type(b"\x03")
        assert await asyncio.to_thread(shown.ended) == 130
        assert shown.attributes == shown.attributes_before
    await until(lambda: len(feed.mux._core.hub) == 0)


async def test_one_channel_over_sse_looks_as_over_websocket(feed: Serving, url: str) -> None:
    """Lines that scripts know; when the server goes, its reason is said."""
    with terminal(*mux("tail", "lobby", "--sse", "--url", url), env={"NO_COLOR": "1"}) as shown:
        await until(lambda: len(feed.mux._core.hub) == 1)
        await feed.mux.publish("lobby", "grüße\nund")
        await shows(shown, "und")
        assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3}  grüße\\x0aund", shown.line("und"))
        await feed.mux.drain()
        assert await asyncio.to_thread(shown.ended) == 1
        assert re.search(r"mux: the server closed the connection: 1001", shown.text)
        assert b"\x1b[3" not in shown.said


@pytest.mark.parametrize("options", [[], ["--sse"]], ids=["WebSocket", "--sse"])
async def test_announcements_are_shown(redis_url: str, prefix: str, options: list[str]) -> None:
    """Its own as well, by either way."""
    async with serving(redis_url=redis_url, prefix=prefix, announce=True) as feed:
        with terminal(*mux("tail", "lobby", "--url", f"http://127.0.0.1:{feed.port}", *options)) as shown:
            await shows(shown, "has joined")
            async with feed.connect():
                pass
            await shows(shown, "has left")


async def test_the_end_of_one_channel_is_named(url: str) -> None:
    """A refusal of one ends all, and says which."""
    with terminal(*mux("tail", "lobby", "$reserved", "--url", url, "--no-color")) as shown:
        assert await asyncio.to_thread(shown.ended) == 1
        assert "mux: $reserved: the server refused: " in shown.text


@pytest.mark.parametrize("options", [[], ["--sse"]], ids=["WebSocket", "--sse"])
async def test_it_begins_with_messages_from_before(feed: Serving, url: str, options: list[str]) -> None:
    """So many of the last, those since a while ago, or those after a position; then what passes, and no heartbeat."""
    core = feed.mux._core
    assert core.past is not None
    for channel, wanted, expected in [
        ("a", "--last=2", ["two", "three"]),
        ("b", "--since=1h", ["one", "two", "three"]),
        ("c", "--since=", ["two", "three"]),
    ]:
        async with feed.connect(channel) as client:
            await feed.mux.publish(channel, "one")
            assert await client.recv() == "one"
        await until(lambda: len(core.hub) == 0)
        if wanted == "--since=":
            wanted += core.past.history.position(core._journal.last)
        await feed.mux.publish(channel, "two")
        await feed.mux.publish(channel, "three")
        with terminal(*mux("tail", channel, "--url", url, *options, wanted), env={"NO_COLOR": "1"}) as shown:
            await until(lambda: len(core.hub) == 1)
            await feed.mux.publish(channel, "the end")
            lines = (await shows(shown, "the end")).split("\n")
            assert [line.split("  ", 1)[1] for line in lines if line] == [*expected, "the end"]
            shown.type(b"\x03")
            assert await asyncio.to_thread(shown.ended) == 130
        await until(lambda: len(core.hub) == 0)


@pytest.mark.parametrize("options", [[], ["--sse"]], ids=["WebSocket", "--sse"])
async def test_what_cannot_be_resumed_is_one_sentence(url: str, options: list[str]) -> None:
    """A script is told by the status that messages are missing, and goes on with none of them unawares."""
    with terminal(*mux("tail", "lobby", "--url", url, "--since", "00000000000000000-1", *options)) as shown:
        assert await asyncio.to_thread(shown.ended) == 1
        assert "mux: not all messages since this position are known any more" in shown.text
        assert "close" not in shown.text


async def test_a_time_that_cannot_be_is_the_sentence_of_the_server(url: str) -> None:
    """It knows what a position looks like."""
    with terminal(*mux("tail", "lobby", "--url", url, "--since", "yesterday&last=3")) as shown:
        assert await asyncio.to_thread(shown.ended) == 1
        assert "mux: the server refused: `since` is a position that mux gave" in shown.text


@pytest.mark.parametrize("options", [[], ["--sse"]], ids=["WebSocket", "--sse"])
async def test_a_token_lets_it_in_until_it_ends(redis_url: str, prefix: str, options: list[str]) -> None:
    """From the environment; when it ends, that is said and is no message."""
    settings: dict[str, Any] = {"token_key": SECRET, "token_audience": AUDIENCE, "user_subscribe": ("*",)}
    async with serving(redis_url=redis_url, prefix=prefix, **settings) as feed:
        url = f"http://127.0.0.1:{feed.port}"
        token = secret_token()
        with terminal(*mux("tail", "lobby", "--url", url, *options), env={"MUX_TOKEN": token}) as shown:
            await until(lambda: len(feed.mux._core.hub) == 1)
            feed.mux._core.feed.members.tick(time.time() + 3700)
            assert await asyncio.to_thread(shown.ended) == 1
            assert "token expired" in shown.text
            assert shown.text.startswith("mux: the ")  # nothing before it is a message
            assert token not in shown.text
