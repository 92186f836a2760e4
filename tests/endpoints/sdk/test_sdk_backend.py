"""What a backend does to SDK clients, by the HTTP API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from time import time
from typing import Any

import httpx
import pytest

from mux.presence.act import Act
from tests.endpoints.sdk.speaking import connected
from tests.support.servers import PATIENCE_SECONDS, Serving, serving, until
from tests.support.tokens import AUDIENCE, SECRET, secret_token

KEY = "a-key-of-the-api-0123456789"


@pytest.fixture
async def backed(redis_url: str, prefix: str) -> AsyncIterator[Serving]:
    """A feed with an API."""
    settings: dict[str, Any] = {"token_key": SECRET, "token_audience": AUDIENCE, "api_key": (KEY,)}
    async with serving(redis_url=redis_url, prefix=prefix, sdk=True, **settings) as feed:
        recovery = feed.mux._core._recovery
        await until(lambda: recovery is not None and recovery.order.is_placed)
        yield feed


async def call(feed: Serving, method: str, **body: Any) -> Any:
    """Have a backend do something; return the whole answer."""
    async with httpx.AsyncClient(timeout=PATIENCE_SECONDS, headers={"X-API-Key": KEY}) as http:
        return (await http.post(f"http://127.0.0.1:{feed.port}/api/{method}", json=body)).json()


async def test_a_backend_lets_a_client_into_a_channel_and_out(backed: Serving) -> None:
    """It is told so before anything of the channel, and stays connected; another user hears nothing."""
    async with (
        connected(backed, secret_token("ada")) as (ada, told),
        connected(backed, secret_token("bob")) as (bob, _),
    ):
        asked = {"user": "ada", "channel": "a", "data": {"x": "\n"}, "expire_at": int(time()) + 60}
        assert await call(backed, "subscribe", **asked) == {"result": {}}
        push = (await ada.next())["push"]
        assert (push["channel"], push["subscribe"]["data"], push["subscribe"]["recoverable"]) == (
            "a",
            {"x": "\n"},
            True,
        )
        await call(backed, "publish", channel="a", data=1)
        assert (await ada.next())["push"]["pub"]["data"] == 1
        assert await call(backed, "subscribe", **asked) == {"result": {}}, "it is there already"
        assert await call(backed, "unsubscribe", user="ada", channel="a", client=told["client"]) == {"result": {}}
        assert await ada.next() == {"push": {"channel": "a", "unsubscribe": {"code": 2000, "reason": "unsubscribed"}}}
        await call(backed, "publish", channel="a", data=2)
        assert await ada.ask("unsubscribe", channel="a") == {}
        assert await bob.ask("unsubscribe", channel="a") == {}


async def test_a_subscription_of_a_backend_ends_with_its_connection(backed: Serving) -> None:
    """So that the client asks for what it may do now."""
    ends = int(time()) + 60
    async with connected(backed, secret_token("ada")) as (ada, _):
        await call(backed, "subscribe", user="ada", channel="a", expire_at=ends)
        await ada.next()
        backed.mux._core.sdk.subscriptions.terms.tick(ends + 60)
        assert await ada.closed() == 3006


async def test_a_backend_renews_and_ends_connections(backed: Serving) -> None:
    """Also of a client that is in no channel."""
    async with connected(backed, secret_token("ada")) as (ada, told):
        await call(backed, "refresh", user="ada", expire_at=int(time()) + 7200)
        refresh = (await ada.next())["push"]["refresh"]
        assert (refresh["expires"], 7100 < refresh["ttl"] <= 7200) == (True, True)
        await call(backed, "refresh", user="ada", client=told["client"], expired=True)
        assert await ada.closed() == 3005
    async with connected(backed, secret_token("ada")) as (ada, _):
        await call(backed, "disconnect", user="ada")
        assert await ada.closed() == 3503
    async with connected(backed, secret_token("ada")) as (ada, _):
        await call(backed, "disconnect", user="ada", disconnect={"code": 4321, "reason": "bye"})
        assert await ada.closed() == 4321
    async with connected(backed, secret_token("ada")) as (ada, _):
        assert (await backed.mux.disconnect(subject="ada")).clients == 1
        assert await ada.closed() == 3503


async def test_nobody_without_a_key_lets_a_client_into_a_channel(backed: Serving) -> None:
    """Whoever may publish in Redis can forge an act, and has no key for its proof."""
    acts = backed.mux._core.acts
    act = Act(act="subscribe", subject="ada", channel="a")
    assert act.proven(KEY).is_proven(("other", KEY))
    for forged in (
        act,
        act.proven("guessed"),
        replace(act.proven(KEY), channel="b"),
        replace(act.proven(KEY), subject="bob"),
        replace(act.proven(KEY), at=time() + 90),
    ):
        assert not forged.is_proven((KEY,))
    async with connected(backed, secret_token("ada")) as (ada, _):
        answer = await acts._answer({"act": "subscribe", **{name: getattr(act, name) for name in act.__slots__}})
        assert answer is None
        assert await ada.ask("unsubscribe", channel="a") == {}


async def test_what_cannot_be_said_of_a_subscription_is_refused(backed: Serving) -> None:
    """With the codes of the API."""
    for more, code in (
        ({"info": 1}, 108),
        ({"recover_since": {}}, 108),
        ({"data": "x" * 600}, 107),
        ({"channel": ""}, 107),
    ):
        answer = await call(backed, "subscribe", **{"user": "ada", "channel": "a", **more})
        assert answer["error"]["code"] == code, more
