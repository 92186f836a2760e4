"""What an app has to say about its feed: whom it lets in, what it changes, what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import time
from typing import Any

import httpx
import pytest
from sanic import Request, Sanic
from websockets.exceptions import ConnectionClosed, InvalidStatus

from mux import ClientMessage, Grant, InvalidSetting, Member, Mux
from mux.endpoints import calls as calls_module
from mux.serve.listening import listening_socket
from tests.support.event_streams import open_stream
from tests.support.servers import PATIENCE_SECONDS, Serving, receive, running, serving, until

SECRET = "a secret of thirty-two bytes, or more"  # noqa: S105 - of servers that live for a test


@pytest.fixture
async def other(redis_url: str, prefix: str, feed: Serving) -> AsyncIterator[Serving]:
    """Return another process of the same fleet."""
    async with serving(redis_url=redis_url, prefix=prefix) as one:
        fleets = [each.mux._core._fleet for each in (feed, one)]
        await until(lambda: all(len(fleet._census) == 1 for fleet in fleets))
        yield one


async def answered(feed: Serving, method: str, channel: str = "lobby", body: bytes = b"", **headers: str) -> Any:
    """Return the answer to a request."""
    async with httpx.AsyncClient(timeout=PATIENCE_SECONDS) as client:
        return await client.request(method, feed.url(channel, "http"), content=body, headers=headers)


async def status(feed: Serving, channel: str = "lobby") -> int:
    """Return the status with which a WebSocket is refused; 101 when it is not."""
    try:
        async with feed.connect(channel):
            return 101
    except InvalidStatus as error:
        return error.response.status_code


def failures(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged with a traceback."""
    return [record.message for record in caplog.records if record.exc_info]


async def test_an_app_says_who_may_do_what(feed: Serving) -> None:
    """By every way in, with the decoded channel; what it does not allow is not open."""
    asked: list[tuple[str, str, str]] = []

    @feed.mux.authorize
    def authorize(request: Request, channel: str, action: str) -> bool:
        asked.append((request.headers.get("x-user", ""), channel, action))
        return channel == "sh/op" or (channel == "news" and action == "subscribe")

    assert await status(feed, "secret") == 403
    assert asked == [("", "secret", "subscribe")]
    asked.clear()
    async with feed.connect("sh%2Fop", additional_headers={"x-user": "ann"}) as client:
        assert asked == [("ann", "sh/op", "subscribe"), ("ann", "sh/op", "publish")]
        assert (await answered(feed, "POST", "sh%2Fop", b"hi")).status_code == 204
        assert await receive(client, 1) == ["hi"]
    asked.clear()
    async with open_stream(feed.port, "news"):
        assert asked == [("", "news", "subscribe")]
    assert (await answered(feed, "GET", "news", accept="application/json")).status_code == 200
    refused = await answered(feed, "POST", "news", b"hi")
    assert (refused.status_code, refused.text) == (403, "this client may not publish to news\n")
    assert feed.mux._core.hub.refused["forbidden"] == 2


async def test_a_client_that_may_only_listen_is_closed_when_it_publishes(feed: Serving) -> None:
    """The app is asked about that when it joins, for there is no request later."""

    @feed.mux.authorize
    async def authorize(request: Request, channel: str, action: str) -> bool:
        await asyncio.sleep(0)
        return action == "subscribe"

    async with feed.connect() as client:
        await client.send("hi")
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(client.recv(), PATIENCE_SECONDS)
        assert client.close_code == 1008


@pytest.mark.parametrize("said", [False, None, 1, "yes", [True], object(), Grant(until=1.0)])
async def test_anything_but_true_or_a_grant_that_holds_is_no_yes(feed: Serving, said: Any) -> None:
    """A hook that forgets to return lets nobody in."""
    feed.mux.authorize(lambda request, channel, action: said)
    assert await status(feed) == 403
    assert (await answered(feed, "POST", body=b"hi")).status_code == 403


@pytest.mark.parametrize("is_async", [False, True])
async def test_an_exception_is_no_yes(feed: Serving, caplog: pytest.LogCaptureFixture, is_async: bool) -> None:
    """It is answered with 500 in words, counted, and logged with its traceback once."""
    if is_async:

        @feed.mux.authorize
        async def authorize_later(request: Request, channel: str, action: str) -> bool:
            raise ZeroDivisionError("the token was s3cret")

    else:

        @feed.mux.authorize
        def authorize(request: Request, channel: str, action: str) -> bool:
            raise ZeroDivisionError

    assert await status(feed) == 500
    answer = await answered(feed, "POST", body=b"hi")
    assert (answer.status_code, answer.text) == (500, "the app has failed; the log of the server says how\n")
    assert feed.mux._core.hub.refused["hook"] == 2
    assert failures(caplog) == ["a callback of authorize failed"]


async def test_a_hook_that_does_not_answer_is_no_yes(redis_url: str, prefix: str) -> None:
    """It has as long as a handshake."""
    async with serving(redis_url=redis_url, prefix=prefix, handshake_seconds=0.5) as feed:

        @feed.mux.authorize
        async def authorize(request: Request, channel: str, action: str) -> bool:
            return await asyncio.Event().wait()

        assert await status(feed) == 500


async def test_what_goes_wrong_twice_is_told_once_a_minute(
    feed: Serving, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another type of exception is told as well, and the number of the others afterwards."""
    now = 0.0
    monkeypatch.setattr(calls_module, "monotonic", lambda: now)
    errors: list[type[Exception]] = [KeyError, KeyError, ValueError, KeyError]

    @feed.mux.authorize
    def authorize(request: Request, channel: str, action: str) -> bool:
        raise errors.pop()

    for _ in range(3):
        await status(feed)
    assert len(failures(caplog)) == 2
    now = calls_module.LOG_SECONDS + 1
    await status(feed)
    assert len(failures(caplog)) == 3
    assert any("1 times more in a minute" in record.message for record in caplog.records)


async def test_a_grant_has_a_subject_and_an_end(feed: Serving, other: Serving) -> None:
    """By the subject the app finds and ends the client, from any process; at its end it is closed."""

    @feed.mux.authorize
    def authorize(request: Request, channel: str, action: str) -> Grant:
        return Grant(until=time() + (60 if channel == "lobby" else 1), subject=request.args.get("user"))

    async with feed.connect("lobby?user=ann") as client, feed.connect("soon?user=bob") as short:
        people = await other.mux.presence("lobby")
        assert list(people.clients.values()) == ["ann"]
        outcome = await other.mux.disconnect(subject="ann")
        assert outcome.clients == 1
        for one, code in ((client, 4403), (short, 4401)):
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(one.recv(), PATIENCE_SECONDS)
            assert one.close_code == code


@pytest.mark.parametrize("grant", [{"until": float("nan")}, {"until": "soon"}, {"subject": 42}, {"subject": "\ud800"}])
def test_a_grant_that_cannot_be_raises(grant: dict[str, Any]) -> None:
    """In the hook, which then has failed."""
    with pytest.raises((TypeError, ValueError)):
        Grant(**grant)


async def test_an_app_makes_tokens_and_narrows_what_they_grant(redis_url: str, prefix: str) -> None:
    """Both must allow what a client wants."""
    async with serving(redis_url=redis_url, prefix=prefix, token_key=SECRET) as feed:
        token = feed.mux.token(subject="ann", subscribe=["news", "user:{sub}"], publish=["news"], seconds=60)
        bearer = {"Authorization": f"Bearer {token}"}
        async with feed.connect("user:ann", additional_headers=bearer):
            assert list((await feed.mux.presence("user:ann")).clients.values()) == ["ann"]
        assert await status(feed, "news") == 401
        feed.mux.authorize(lambda request, channel, action: channel != "news")
        assert (await answered(feed, "POST", "news", b"hi", **bearer)).status_code == 403
        assert (await answered(feed, "POST", "other", b"hi", **bearer)).status_code == 403
        async with feed.connect("user:ann", additional_headers=bearer) as client:
            assert list((await feed.mux.presence("user:ann")).clients.values()) == ["ann"]
            await client.send("may not")
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(client.recv(), PATIENCE_SECONDS)


async def test_a_token_needs_a_key(feed: Serving) -> None:
    """Which says how it is made."""
    with pytest.raises(InvalidSetting, match="token_key is missing"):
        feed.mux.token(subscribe=["*"], seconds=60)


async def test_patterns_are_given_as_a_list(redis_url: str, prefix: str) -> None:
    """A str is a list of its characters, each of them a pattern."""
    async with serving(redis_url=redis_url, prefix=prefix, token_key=SECRET) as feed:
        with pytest.raises(InvalidSetting, match="lists"):
            feed.mux.token(subscribe="orders.*", seconds=60)


async def test_an_app_changes_and_drops_what_clients_publish(feed: Serving) -> None:
    """By WebSocket and POST; what the app publishes itself is not shown to it."""
    shown: list[ClientMessage] = []

    @feed.mux.on_message
    def on_message(message: ClientMessage) -> str | bytes | None:
        shown.append(message)
        if message.data == "drop":
            return None
        return message.data.upper()

    async with feed.connect() as client:
        await client.send("one")
        await client.send("drop")
        await client.send(b"two")
        assert await receive(client, 2) == ["ONE", b"TWO"]
        assert (await answered(feed, "POST", body=b"drop")).status_code == 204
        assert (await answered(feed, "POST", body=b"three")).status_code == 204
        assert await receive(client, 1) == ["THREE"]
        await feed.mux.publish("lobby", "quiet")
        assert await receive(client, 1) == ["quiet"]
    assert [message.data for message in shown] == ["one", "drop", b"two", "drop", "three"]
    assert {message.channel for message in shown} == {"lobby"}


@pytest.mark.parametrize("said", [7, "x" * 70_000, "\ud800", ZeroDivisionError()])
async def test_a_message_hook_that_fails_publishes_nothing(
    feed: Serving, caplog: pytest.LogCaptureFixture, said: Any
) -> None:
    """A POST is answered with 500, and a WebSocket closed with 1011."""

    @feed.mux.on_message
    def on_message(message: ClientMessage) -> Any:
        if isinstance(said, Exception):
            raise said
        return said

    assert (await answered(feed, "POST", body=b"hi")).status_code == 500
    async with feed.connect() as client:
        await client.send("hi")
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(client.recv(), PATIENCE_SECONDS)
        assert client.close_code == 1011
    assert feed.mux._core.hub.refused["hook"] == 2
    assert failures(caplog) == ["a callback of on_message failed"]


async def test_an_app_is_told_who_joins_and_leaves(feed: Serving) -> None:
    """Functions and coroutines alike; the name is the one that presence tells."""
    told: list[tuple[str, Member]] = []
    feed.mux.on_join(lambda member: told.append(("joined", member)))

    @feed.mux.on_leave
    async def on_leave(member: Member) -> None:
        await asyncio.sleep(0)
        told.append(("left", member))

    async with feed.connect("a"), open_stream(feed.port, "b"):
        names = {**(await feed.mux.presence("a")).clients, **(await feed.mux.presence("b")).clients}
        assert {member.name for _, member in told} == names.keys()
    await until(lambda: len(told) == 4)
    assert sorted((did, member.channel) for did, member in told) == [
        ("joined", "a"),
        ("joined", "b"),
        ("left", "a"),
        ("left", "b"),
    ]
    assert {member.name for did, member in told if did == "left"} == names.keys()


async def test_a_hook_that_fails_does_not_stop_a_client(feed: Serving, caplog: pytest.LogCaptureFixture) -> None:
    """The others are called, and the client has joined."""
    told: list[Member] = []

    @feed.mux.on_join
    def fail(member: Member) -> None:
        raise ZeroDivisionError

    @feed.mux.on_join
    async def fail_later(member: Member) -> None:
        raise ZeroDivisionError

    feed.mux.on_join(told.append)
    async with feed.connect() as client:
        await client.send("hi")
        assert await receive(client, 1) == ["hi"]
    assert len(told) == 1
    assert failures(caplog) == ["a callback of on_join failed"] * 2
    assert feed.mux._core.hub.refused["hook"] == 2


async def test_calls_that_do_not_end_are_bounded_and_end_with_the_app(
    redis_url: str, prefix: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One more is not begun."""
    monkeypatch.setattr(calls_module, "MAX_TASKS", 2)
    monkeypatch.setattr(calls_module, "LAST_SECONDS", 0.1)
    ended: list[str] = []
    async with serving(redis_url=redis_url, prefix=prefix, drain_seconds=0) as feed:

        @feed.mux.on_join
        async def wait_for_ever(member: Member) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(member.name)

        async with feed.connect(), feed.connect(), feed.connect():
            await until(lambda: failures(caplog))
    assert len(ended) == 2
    assert "2 calls are under way" in caplog.text


@asynccontextmanager
async def made_by_hand(redis_url: str, prefix: str, **listen: Any) -> AsyncIterator[Serving]:
    """Serve an app whose hooks are there before it runs, as in a module of an app."""
    app: Sanic[Any, Any] = Sanic(f"hooks-{prefix[:-1]}", configure_logging=False)
    mux = Mux(app, redis_url=redis_url, prefix=prefix, announce=False)

    @mux.authorize
    def authorize(request: Request, channel: str, action: str) -> bool:
        return channel == "open"

    @mux.on_message
    def on_message(message: ClientMessage) -> str | bytes | None:
        return f"{message.data!r}"

    with listening_socket("127.0.0.1", 0) as sock:
        async with running(app, sock=sock, **listen):
            yield Serving(app, mux, sock.getsockname()[1])


@pytest.mark.parametrize("listen", [{}, {"protocol": Mux.http_protocol}], ids=["sanic", "doorstep"])
async def test_hooks_are_there_before_the_app_runs(redis_url: str, prefix: str, listen: dict[str, Any]) -> None:
    """From the first request on, whoever reads it."""
    async with made_by_hand(redis_url, prefix, **listen) as feed:
        assert await status(feed, "shut") == 403
        async with feed.connect("open") as client:
            await client.send("hi")
            assert await receive(client, 1) == ["'hi'"]


async def test_a_feed_has_one_hook_of_each_kind_that_decides(feed: Serving) -> None:
    """And no on_message that waits."""
    feed.mux.authorize(lambda request, channel, action: True)
    with pytest.raises(InvalidSetting, match="already"):
        feed.mux.authorize(lambda request, channel, action: True)

    async def on_message(message: ClientMessage) -> str:
        return ""

    with pytest.raises(InvalidSetting, match="async"):
        feed.mux.on_message(on_message)  # type: ignore[arg-type]  # the mistake
    feed.mux.on_message(lambda message: message.data)
    with pytest.raises(InvalidSetting, match="already"):
        feed.mux.on_message(lambda message: message.data)
