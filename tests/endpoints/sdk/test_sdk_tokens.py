"""The tokens of SDK clients: whom they let in, where, and until when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from time import time
from typing import Any

import jwt
import pytest
from redis.asyncio import Redis

from mux import ClientMessage, Grant, Member, reasons
from mux.endpoints.sdk.served import CHANNELS_PER_TURN
from mux.endpoints.sdk.tokens import GRACE_SECONDS
from tests.endpoints.sdk.speaking import connected, opened
from tests.support.servers import Serving, serving, until
from tests.support.tokens import AUDIENCE, SECRET, claims, secret_token

SETTINGS: dict[str, Any] = {"token_key": SECRET, "token_audience": AUDIENCE}


@pytest.fixture
async def closed_feed(redis_url: str, prefix: str) -> AsyncIterator[Serving]:
    """A feed where nothing is open, and that has its place."""
    async with serving(redis_url=redis_url, prefix=prefix, sdk=True, **SETTINGS) as feed:
        recovery = feed.mux._core._recovery
        await until(lambda: recovery is not None and recovery.order.is_placed)
        yield feed


def bare(**others: Any) -> str:
    """Return a token of ada's that does not end."""
    said = {name: value for name, value in (claims() | others).items() if value is not None}
    return jwt.encode(said, SECRET, "HS256")


def tokens(**others: Any) -> dict[str, str | None]:
    """Return tokens by what is to be said of them."""
    now = int(time())
    return {
        "none": None,
        "garbage": "garbage",
        "signature": secret_token(**others)[:-4] + "AAAA",
        "expired": bare(exp=now - 5, **others),
        "early": bare(nbf=now + 20, **others),
        "over": bare(expire_at=now - 5, **others),
        "other": bare(sub="bob", **others),
        "number": bare(sub=7, **others),
        "times": bare(exp="soon", **others),
    }


async def outcomes(feed: Serving, method: str, wanted: dict[str, Any], **body: Any) -> dict[str, Any]:
    """Return what comes of a command with each token, each on a connection of its own."""
    found: dict[str, Any] = {}
    others = {"channel": "a"} if method in ("subscribe", "sub_refresh") else {}
    for name in wanted:
        token = {**tokens(**others), "channel": bare(channel="b")}[name]
        said = body if token is None else {**body, "token": token}
        async with opened(feed) as client:
            if method != "connect":
                await client.ask("connect", token=bare())
            if method == "sub_refresh":
                await client.ask("subscribe", channel="a", token=bare(channel="a"))
            found[name] = await client.outcome(method, **said)
    return found


CONNECT = {"none": 3501, "garbage": 3500, "signature": 3500, "expired": 109, "early": 109, "over": 109}
CONNECT |= {"number": 3500, "times": 3500, "channel": 3500}
SUBSCRIBE = {"none": 103, "garbage": 103, "signature": 103, "expired": 109, "early": 109, "over": 109, "other": 3500}
SUBSCRIBE |= {"number": 103, "channel": 3500}
REFRESH = {"none": 3501, "garbage": 3500, "signature": 3500, "expired": 3005, "early": 3005, "other": 3500}
REFRESH |= {"number": 3500, "channel": 3500}
SUB_REFRESH = {"none": 107, "garbage": 3500, "signature": 3500, "expired": 109, "other": 3500, "channel": 3500}


@pytest.mark.parametrize(
    ("method", "wanted", "body"),
    [
        ("connect", CONNECT, {}),
        ("subscribe", SUBSCRIBE, {"channel": "a"}),
        ("refresh", REFRESH, {}),
        ("sub_refresh", SUB_REFRESH, {"channel": "a"}),
    ],
)
async def test_what_comes_of_a_token_that_is_not_right(
    closed_feed: Serving, method: str, wanted: dict[str, int], body: dict[str, str]
) -> None:
    """As the protocol has it: an error that the SDK can live with, or a close."""
    assert await outcomes(closed_feed, method, wanted, **body) == wanted


async def test_what_ends_is_said_in_the_reply(closed_feed: Serving) -> None:
    """With the seconds after which the client comes with the next token; what does not end is not said to."""
    soon, later = int(time()) + 60, int(time()) + 7200
    async with connected(closed_feed, bare(exp=soon)) as (client, told):
        assert (told["expires"], 55 < told["ttl"] <= 60) == (True, True)
        reply = await client.ask("subscribe", channel="a", token=bare(exp=soon, channel="a"))
        assert (reply["expires"], 55 < reply["ttl"] <= 60, reply["recoverable"]) == (True, True, True)
        assert await client.ask("subscribe", channel="b", token=bare(exp=None, channel="b")) == {
            name: value for name, value in reply.items() if name not in ("expires", "ttl")
        }
        assert 7100 < (await client.ask("sub_refresh", channel="a", token=bare(exp=later, channel="a")))["ttl"] <= 7200
        assert await client.ask("sub_refresh", channel="a", token=bare(exp=None, channel="a")) == {}
        assert await client.ask("sub_refresh", channel="c", token=bare(channel="c")) == 103
        assert 7100 < (await client.ask("refresh", token=bare(exp=later)))["ttl"] <= 7200
        assert await client.ask("refresh", token=bare(exp=soon, expire_at=0)) == {}
        assert 7100 < (await client.ask("refresh", token=bare(exp=soon, expire_at=later)))["ttl"] <= 7200
    async with connected(closed_feed, bare(exp=None)) as (_, told):
        assert not {"expires", "ttl", "subs"} & set(told)


async def test_a_connection_ends_when_no_other_token_comes(closed_feed: Serving) -> None:
    """After the seconds that the client has for it, and not before; another token lets it go on."""
    core, ends = closed_feed.mux._core, int(time()) + 60
    async with connected(closed_feed, bare(exp=ends)) as (client, _):
        core.feed.members.tick(ends + GRACE_SECONDS - 0.1)
        assert await client.ask("refresh", token=bare(exp=ends + 60)) != {}
        core.feed.members.tick(ends + GRACE_SECONDS + 1)
        assert await client.ask("unsubscribe", channel="x") == {}
        core.feed.members.tick(ends + 60 + GRACE_SECONDS)
        assert await client.closed() == 3005


async def test_a_subscription_ends_when_no_other_token_comes(closed_feed: Serving) -> None:
    """And alone; another token lets it go on."""
    terms, ends = closed_feed.mux._core.sdk.subscriptions.terms, int(time()) + 60
    async with connected(closed_feed, bare()) as (client, _):
        for name in ("a", "b", "left"):
            await client.ask("subscribe", channel=name, token=bare(exp=ends, channel=name))
        await client.ask("unsubscribe", channel="left")
        terms.tick(ends + GRACE_SECONDS - 0.1)
        await client.ask("sub_refresh", channel="b", token=bare(exp=ends + 60, channel="b"))
        terms.tick(ends + GRACE_SECONDS)
        over = {"unsubscribe": {"code": 2501, "reason": "subscription expired"}}
        assert await client.next() == {"push": {"channel": "a", **over}}
        await closed_feed.mux.publish("a", 1)
        await closed_feed.mux.publish("b", 2)
        assert (await client.next())["push"]["pub"]["data"] == 2
        terms.tick(ends + 60 + GRACE_SECONDS)
        assert await client.next() == {"push": {"channel": "b", **over}}
        assert not len(terms._expiry)


async def test_nothing_is_kept_of_a_client_that_was_evicted(closed_feed: Serving) -> None:
    """Its subscriptions would have ended much later."""
    core = closed_feed.mux._core
    async with connected(closed_feed, bare()) as (client, _):
        await client.ask("subscribe", channel="a", token=bare(channel="a"))
        (one,) = core.hub.open_connections()
        core.hub.evict(one, reasons.OVERFLOW)
        await until(lambda: not len(core.hub))
    terms = core.sdk.subscriptions.terms
    assert (terms._ends, len(terms._expiry)) == ({}, 0)


async def test_a_token_of_many_channels_needs_no_other(closed_feed: Serving) -> None:
    """What it grants counts for each; one of a subscription counts for it alone, and what it is in can be asked."""
    async with connected(closed_feed, secret_token(subscribe=("a.*",), publish=("b",))) as (client, _):
        assert (await client.ask("subscribe", channel="a.1"))["recoverable"]
        assert await client.ask("presence", channel="b") == 103
        assert (await client.ask("subscribe", channel="b", token=bare(channel="b")))["recoverable"]
        assert len((await client.ask("presence", channel="b"))["presence"]) == 1
        assert await client.ask("publish", channel="a.1", data=1) == 103


async def test_channels_of_a_token_are_subscribed_to_by_the_server(closed_feed: Serving, redis_url: str) -> None:
    """With what the token says of each, and where the client was; everything else is in order behind the reply."""
    token = bare(channels=["a", "b c", "d"], subs={"b": {"data": {"x": 1}}, "e": {}})
    mux = closed_feed.mux
    async with connected(closed_feed, token) as (client, told):
        assert set(told["subs"]) == {"a", "b", "d", "e"}, "no channel has a space in its name"
        assert told["subs"]["b"]["data"] == {"x": 1}
        assert all(sub["recoverable"] and sub["epoch"] for sub in told["subs"].values())
        await mux.publish("a", 1)
        push = (await client.next())["push"]
        assert (push["channel"], push["pub"]["data"]) == ("a", 1)
        assert await client.ask("subscribe", channel="a") == 105
    await mux.publish("a", 2)
    await mux.publish("d", 3)
    await until(lambda: not mux._core.hub.open_connections())
    known = {"recover": True, "epoch": told["subs"]["a"]["epoch"], "offset": push["pub"]["offset"]}
    async with opened(closed_feed) as client:
        told = await client.ask("connect", token=token, subs={"a": known, "d": known, "z": known})
        assert [sub["recovered"] for sub in (told["subs"]["a"], told["subs"]["d"])] == [True, True]
        assert [pub["data"] for name in "ad" for pub in told["subs"][name]["publications"]] == [2, 3]
        assert "publications" not in told["subs"]["b"]
        mux._core.sdk.subscriptions.offsets.doubt()
        assert await client.closed() == 3010


async def test_nothing_comes_before_the_reply_to_connect(closed_feed: Serving, redis_url: str, prefix: str) -> None:
    """While the last of many channels is looked up, there are messages on the first."""
    mux, names = closed_feed.mux, [f"c{number}" for number in range(2 * CHANNELS_PER_TURN + 1)]
    async with connected(closed_feed, bare(channels=names)) as (_, told):
        known = {"recover": True, "epoch": told["subs"]["c0"]["epoch"], "offset": told["subs"]["c0"].get("offset", 0)}
    await mux.publish("c0", 0)
    is_over = False

    async def publish() -> int:
        count = 0
        async with Redis.from_url(redis_url) as redis:
            while not is_over:
                count += 1
                await redis.publish(f"{prefix}c0", str(count))
        return count

    task = asyncio.create_task(publish())
    for _ in range(10):
        async with opened(closed_feed) as client:
            told = await client.ask("connect", token=bare(channels=names), subs=dict.fromkeys(names, known))
            heard = [pub["data"] for pub in told["subs"]["c0"]["publications"]]
            while len(heard) < 50 or heard[-1] < heard[0] + 50:
                heard.append((await client.next())["push"]["pub"]["data"])
            assert heard == list(range(len(heard)))
    is_over = True
    await task


async def test_an_app_is_asked_whatever_a_token_says(closed_feed: Serving) -> None:
    """For channels of its own subscriptions and for those that the server begins."""
    asked: list[tuple[str, str]] = []

    @closed_feed.mux.authorize
    def authorize(request: object, channel: str, action: str) -> bool:
        asked.append((channel, action))
        return channel != "secret"

    async with connected(closed_feed, bare(channels=["a", "secret"])) as (client, told):
        assert set(told["subs"]) == {"a"}
        assert await client.ask("subscribe", channel="secret", token=bare(channel="secret")) == 103
        assert (await client.ask("subscribe", channel="b", token=bare(channel="b")))["recoverable"]
    assert asked == [(name, "subscribe") for name in ("a", "secret", "secret", "b")]


async def test_what_the_app_has_said_of_a_client_outlives_its_tokens(closed_feed: Serving) -> None:
    """It is there until then, whatever token it comes with."""
    ends = time() + 600

    @closed_feed.mux.authorize
    def authorize(request: object, channel: str, action: str) -> Grant:
        return Grant(until=ends, subject="of the app")

    core = closed_feed.mux._core
    async with connected(closed_feed, bare(sub=None, mux={"subscribe": ["a"]})) as (client, _):
        assert (await client.ask("subscribe", channel="a"))["recoverable"]
        assert (await client.ask("refresh", token=bare(sub=None)))["expires"]
        (one,) = core.hub.open_connections()
        assert one.grants is not None
        assert (one.grants.subject, one.grants.until) == ("of the app", ends)
        assert await client.outcome("refresh", token=bare(sub="ada")) == 3500


async def test_hooks_are_called_for_every_channel_of_a_socket(closed_feed: Serving) -> None:
    """With the id that the client knows, and who it is; a wildcard is joined and left by its own name."""
    mux, seen = closed_feed.mux, list[tuple[str, str, str | None]]()

    @mux.on_join
    def joined(member: Member) -> None:
        seen.append((member.channel, member.name, member.subject))

    @mux.on_leave
    def left(member: Member) -> None:
        seen.append((f"-{member.channel}", member.name, member.subject))

    @mux.on_message
    def message(said: ClientMessage) -> str:
        return f'"{said.subject} in {said.channel}"'

    token = secret_token("ada", subscribe=("*",), publish=("*",), channels=["served"])
    async with connected(closed_feed, token) as (client, told):
        for name in ("a", "b", "a*"):
            await client.ask("subscribe", channel=name)
        await client.ask("unsubscribe", channel="a")
        await client.ask("unsubscribe", channel="a*")
        async with connected(closed_feed, token) as (other, _):
            assert await other.ask("publish", channel="b", data=1) == {}
        assert (await client.next())["push"]["pub"]["data"] == "ada in b"
    me = told["client"]
    await until(lambda: ("-served", me, "ada") in seen and ("-b", me, "ada") in seen)
    mine = [channel for channel, name, subject in seen if (name, subject) == (me, "ada")]
    assert mine[:6] == ["served", "a", "b", "a*", "-a", "-a*"]
    assert set(mine[6:]) == {"-served", "-b"}
